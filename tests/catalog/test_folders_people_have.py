"""Trees and tables as people have them: what is read of each, or the sentence with the way on."""

import json
from pathlib import Path

import pytest
from PIL import Image

from dfdc_prep.catalog.clips import Catalog, SourceOptions
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.errors import SourceError
from tests.catalog.trees import make_tree

#: Label, family, method and person filmed of each clip, by part/video.
Expected = dict[str, tuple[str, str, str | None, str | None]]


def make(root: Path, *names: str) -> Path:
    """Make files of one byte; a name that ends in a slash is a folder of two frames."""
    make_tree(root, {name: False for name in names if not name.endswith("/")}, None, None)
    for name in names:
        if name.endswith("/"):
            (root / name).mkdir(parents=True)
            for number in (0, 12):
                Image.new("RGB", (4, 4)).save(root / name / f"{number:03}.png")
    return root


def found(catalog: Catalog) -> Expected:
    return {
        f"{clip.part}/{clip.video}": (
            *(clip.label, clip.family),
            *(clip.provenance.method, clip.provenance.identity),
        )
        for clip in catalog.clips
    }


def read(root: Path, **options: str | Path) -> Expected:
    return found(read_catalog(root, options=SourceOptions(**options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        ("real", "fake"), ("REAL", "FAKE"), ("original", "manipulated"), ("originals", "deepfakes"),
        ("genuine", "forged"), ("pristine", "synthesis"), ("authentic", "deepfake"),
        ("youtube-real", "celeb-synthesis-fake"), ("0_real", "1_fake"),
        ("real_videos", "fake_videos"),
    ],
)  # fmt: skip
def test_real_and_fake_in_every_usual_spelling(tmp_path: Path, real: str, fake: str) -> None:
    make(tmp_path, f"{real}/a.mp4", f"{fake}/b.mp4", f"{fake}/deep/c.mov")
    assert read(tmp_path) == {
        f"{real}/a.mp4": ("REAL", "a.mp4", None, None),
        f"{fake}/b.mp4": ("FAKE", "b.mp4", None, None),
        f"{fake}_deep/c.mov": ("FAKE", "c.mov", None, None),
    }


@pytest.mark.parametrize("shape", ["{split}/{label}/{clip}", "{label}/{split}/{clip}"])
def test_splits_above_or_below_the_labels(tmp_path: Path, shape: str) -> None:
    rows = [("train", "real", "a.mp4"), ("val", "fake", "b.mp4"), ("Test", "fake", "c.mp4")]
    make(tmp_path, *(shape.format(split=split, label=name, clip=c) for split, name, c in rows))
    catalog = read_catalog(tmp_path)
    known = {c.video: (c.label, c.provenance.official_split) for c in catalog.clips}
    assert known == {
        "a.mp4": ("REAL", "train"), "b.mp4": ("FAKE", "validation"), "c.mp4": ("FAKE", "test"),
    }  # fmt: skip
    assert catalog.notes[0].startswith("labels read from the names of folders: ")


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("fake/real_actors", "FAKE"), ("fake/real-time", "FAKE"), ("fake/original_audio", "FAKE"),
        ("real/altered_lighting", "REAL"), ("real/synthetic_audio", "REAL"),
        ("fake/Real3DPortrait", "FAKE"), ("Real3DPortrait", "FAKE"), ("heygen/real/x", "REAL"),
        ("set/original/fake", None), ("real/simswap", None), ("not_fake", None),
        ("fake/real", None),
        ("original_dataset/extra", None), ("deepfake-detection-challenge/train", None),
        ("real_world_data", None), ("realistic_fakes", None), ("real_vs_fake", None),
    ],
)  # fmt: skip
def test_words_that_turn_a_label_round_give_none(
    tmp_path: Path, folder: str, label: str | None
) -> None:
    make(tmp_path, "a/real/1.mp4", "a/fake/2.mp4", f"{folder}/c.mp4")
    catalog = read_catalog(tmp_path)
    labels = {clip.video: clip.label for clip in catalog.clips}
    assert labels == {"1.mp4": "REAL", "2.mp4": "FAKE"} | ({"c.mp4": label} if label else {})
    assert catalog.unnamed == (() if label else (f"{folder}/c.mp4",))
    assert ("1 clip left out" in catalog.notes[-1]) == (label is None)


def test_a_set_named_by_a_label_has_both(tmp_path: Path) -> None:
    make(tmp_path, "deepfakes/train/real/1.mp4", "deepfakes/train/fake/2.mp4")
    assert {row[0] for row in read(tmp_path).values()} == {"REAL", "FAKE"}
    lone = make(tmp_path / "other", "deepfakes/a.mp4", "deepfakes/b.mp4")
    assert {row[0] for row in read(lone).values()} == {"UNKNOWN"}


def test_what_belongs_to_clips_is_none(tmp_path: Path) -> None:
    make(tmp_path, "real/c/", "real/c/mask/", "real/.thumbs/", "real/@eaDir/", "fake/masks/")
    make(tmp_path, "fake/d.mp4", "train/real/1/x.mp4", "train_real/1/y.mp4")
    (tmp_path / "real" / "c" / "thumb.png").write_bytes(b"x")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "real" / "itself.mp4").symlink_to("itself.mp4")
    catalog = read_catalog(tmp_path)
    assert {(c.part, c.video, c.provenance.official_split) for c in catalog.clips} == {
        ("fake", "d.mp4", None), ("real", "c", None),
        ("train_real_1", "x.mp4", "train"), ("train_real_1", "y.mp4", None),
    }  # fmt: skip


def test_names_of_faceforensics_below_real_and_fake(tmp_path: Path) -> None:
    make(tmp_path, "real/183.mp4", "real/253.mp4", "fake/FaceSwap/183_253.mp4", "extra/x.mp4")
    catalog = read_catalog(tmp_path)
    assert found(catalog)["fake_FaceSwap/183_253.mp4"] == ("FAKE", "183.mp4", "FaceSwap", "183")
    assert found(catalog)["real/183.mp4"] == ("REAL", "183.mp4", None, "183")
    assert catalog.unnamed == ("extra/x.mp4",)
    assert "1 clip left out: extra/x.mp4" in catalog.notes[1]
    assert {clip.family_source for clip in catalog.clips} == {None, "names"}


@pytest.mark.parametrize("folder", ["", "deepfake_dataset/"])
def test_a_folder_without_labels(tmp_path: Path, folder: str) -> None:
    source = make(tmp_path / "mine", f"{folder}a.mp4", f"{folder}b.mp4", f"{folder}notes.txt")
    catalog = read_catalog(source)
    assert {(clip.label, clip.size) for clip in catalog.clips} == {("UNKNOWN", 1)}
    assert catalog.notes[0].startswith("2 clips without a label: no folder below")
    assert "need labels: give --table" in catalog.notes[0]


def test_names_that_cannot_be_kept_apart_or_shown(tmp_path: Path) -> None:
    make(tmp_path, "real/a.mp4", "fake/b\x1b[31m.mp4", "fake/c.mp4")
    catalog = read_catalog(tmp_path)
    assert [clip.video for clip in catalog.clips] == ["c.mp4", "a.mp4"]
    assert catalog.refused == ("fake/b\x1b[31m.mp4",)
    make(tmp_path, "real/1/a.mp4", "real_1/a.mp4")
    with pytest.raises(SourceError, match=r"every clip once in .*, found real_1/a\.mp4 2 times"):
        read_catalog(tmp_path)


def test_faceforensics_flat_as_on_kaggle(tmp_path: Path) -> None:
    root = make(
        tmp_path / "FaceForensics++_C23",
        *("original/000.mp4", "original/003.mp4", "Deepfakes/000_003.mp4"),
        *("Face2Face/003_000.mp4", "DeepFakeDetection/01_02__exit_phone_room__YVGY8LOK.mp4"),
    )
    (root / "csv").mkdir()
    table = root / "csv" / "FF++_Metadata.csv"
    names = ["original/000.mp4,REAL", "original/003.mp4,REAL", "Deepfakes/000_003.mp4,FAKE"]
    rows = [f"{n},{name},300" for n, name in enumerate(names)]
    table.write_text("\n".join([",File Path,Label,Frame Count", *rows]))
    for source in (root, tmp_path):
        assert read(source) == {
            "original/000.mp4": ("REAL", "000.mp4", None, "000"),
            "original/003.mp4": ("REAL", "003.mp4", None, "003"),
            "Deepfakes/000_003.mp4": ("FAKE", "000.mp4", "Deepfakes", "000"),
            "Face2Face/003_000.mp4": ("FAKE", "003.mp4", "Face2Face", "003"),
            "DeepFakeDetection/01_02__exit_phone_room__YVGY8LOK.mp4": (
                *("FAKE", "01__exit_phone_room.mp4", "DeepFakeDetection", "01"),
            ),
        }
    assert read_catalog(root).options["compression"] == "c23"
    by_table = read(root, table=table)
    assert {video: row[:2] for video, row in by_table.items()} == {
        "original/000.mp4": ("REAL", "000.mp4"),
        "original/003.mp4": ("REAL", "003.mp4"),
        "Deepfakes/000_003.mp4": ("FAKE", "000.mp4"),
    }


@pytest.mark.parametrize(
    ("level", "folder", "end"),
    [("c0", "videos", ".mp4"), ("raw", "images", "/"), ("c23", "frames", "/")],
)
def test_faceforensics_with_other_levels_and_frames(
    tmp_path: Path, level: str, folder: str, end: str
) -> None:
    make(
        tmp_path,
        f"original_sequences/youtube/{level}/{folder}/000{end}",
        f"manipulated_sequences/Deepfakes/{level}/{folder}/000_003{end}",
        f"manipulated_sequences/Deepfakes/{level}/masks/000_003/",
    )
    name = end.strip("/")
    assert read(tmp_path) == {
        f"youtube/000{name}": ("REAL", f"000{name}", None, "000"),
        f"Deepfakes/000_003{name}": ("FAKE", f"000{name}", "Deepfakes", "000"),
    }
    assert read_catalog(tmp_path).options["compression"] == level


def test_deepfakedetection_as_on_kaggle(tmp_path: Path) -> None:
    fake = "01_02__exit_phone_room__YVGY8LOK.mp4"
    made = "DFD_manipulated_sequences"
    make(tmp_path, "DFD_original sequences/01__exit_phone_room.mp4", f"{made}/{made}/{fake}")
    assert read(tmp_path) == {
        "DFD_original sequences/01__exit_phone_room.mp4": (
            *("REAL", "01__exit_phone_room.mp4", None, "01"),
        ),
        f"{made}/{fake}": ("FAKE", "01__exit_phone_room.mp4", "DeepFakeDetection", "01"),
    }


def test_celeb_df_3(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("Celeb-real/id1_0007.mp4", "YouTube-real/00170.mp4"),
        *("Celeb-synthesis/FaceSwap/GHOST/id1_id2_0007.mp4",),
        *("Celeb-synthesis/TalkingFace/EDTalk/id1_0007_test_id00001_ref.mp4",),
    )
    tests = ["1 YouTube-real/00170.mp4", "0 Celeb-synthesis/FaceSwap/GHOST/id1_id2_0007.mp4"]
    (tmp_path / "List_of_testing_videos.txt").write_text("\n".join(tests))
    swap, talking = "Celeb-synthesis_FaceSwap_GHOST", "Celeb-synthesis_TalkingFace_EDTalk"
    assert read(tmp_path) == {
        "Celeb-real/id1_0007.mp4": ("REAL", "id1_0007.mp4", None, "id1"),
        "YouTube-real/00170.mp4": ("REAL", "00170.mp4", None, None),
        f"{swap}/id1_id2_0007.mp4": ("FAKE", "id1_0007.mp4", "GHOST", "id1"),
        f"{talking}/id1_0007_test_id00001_ref.mp4": ("FAKE", "id1_0007.mp4", "EDTalk", "id1"),
    }
    catalog = read_catalog(tmp_path)
    assert catalog.options["dataset"] == "celeb-df-v3"
    splits = {clip.video: clip.provenance.official_split for clip in catalog.clips}
    assert (splits["id1_id2_0007.mp4"], splits["id1_0007.mp4"]) == ("test", "train")


@pytest.mark.parametrize("header", ["gender,path,", "gender,filename,path"])
def test_fakeavceleb(tmp_path: Path, header: str) -> None:
    kinds = ["RealVideo-RealAudio", "RealVideo-FakeAudio", "FakeVideo-FakeAudio"]
    person, name = "African/men/id00076", "00109_10_id00476_wavtolip.mp4"
    source = make(
        tmp_path / "FakeAVCeleb_v1.2",
        *(f"{kinds[0]}/{person}/00109.mp4", f"{kinds[0]}/Asian (East)/women/id00056/00109.mp4"),
        *(f"{kinds[1]}/{person}/00109_fake.mp4", f"{kinds[2]}/{person}/{name}"),
    )
    rows = [
        f"id00076,-,-,real,A,{kinds[0]},African,men,00109.mp4,FakeAVCeleb/{kinds[0]}/{person}",
        f"id00076,id00476,-,faceswap-wav2lip,D,{kinds[2]},African,men,{name},{kinds[2]}/{person}",
    ]
    columns = f"source,target1,target2,method,category,type,race,{header}"
    (source / "meta_data.csv").write_text("\n".join([columns, *rows]))
    catalog = read_catalog(source)
    original = "id00076_00109.mp4"
    assert found(catalog) == {
        f"{kinds[0]}/{original}": ("REAL", original, None, "id00076"),
        f"{kinds[0]}/id00056_00109.mp4": ("REAL", "id00056_00109.mp4", None, "id00056"),
        f"{kinds[2]}/id00076_{name}": ("FAKE", original, "faceswap-wav2lip", "id00076"),
    }
    assert any(note.startswith("RealVideo-FakeAudio left out: ") for note in catalog.notes)
    assert {clip.provenance.face_identity for clip in catalog.clips} == {None, "id00476"}
    (source / "meta_data.csv").unlink()
    assert found(read_catalog(source))[f"{kinds[2]}/id00076_{name}"][2] == "wavtolip"


def test_df40_and_frames_of_deepfakebench(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("blendface/ff/frames/000_003/", "blendface/ff/landmarks/000_003/"),
        *("simswap/cdf/frames/id0_id1_0000/", "heygen/fake/frames/x_1/", "heygen/real/frames/x/"),
    )
    catalog = read_catalog(tmp_path)
    assert found(catalog) == {
        "blendface_ff_frames/000_003": ("FAKE", "000_003", "blendface", None),
        "simswap_cdf_frames/id0_id1_0000": ("FAKE", "id0_id1_0000", "simswap", None),
        "heygen_fake_frames/x_1": ("FAKE", "x_1", "heygen", None),
        "heygen_real_frames/x": ("REAL", "x", None, None),
    }
    assert "folders of frames: 4 clips" in catalog.notes
    fakes = make(tmp_path / "fakes", "blendface/ff/frames/000_003/", "e4s/frames/010_005/")
    assert read(fakes) == {
        "blendface_ff_frames/000_003": ("FAKE", "000", "blendface", "000"),
        "e4s_frames/010_005": ("FAKE", "010", "e4s", "010"),
    }


def test_celeb_df_of_deepfakebench(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("Celeb-real/frames/id0_0000/", "Celeb-synthesis/frames/id0_id1_0000/"),
        *("Celeb-real/landmarks/id0_0000/", "YouTube-real/frames/00170/"),
    )
    listed = "1 YouTube-real/00170.mp4\n1 Celeb-real/id9_0001.mp4\n"
    (tmp_path / "List_of_testing_videos.txt").write_text(listed)
    catalog = read_catalog(tmp_path)
    assert [(c.video, c.family, c.size is None) for c in catalog.clips] == [
        ("id0_0000", "id0_0000", False), ("id9_0001.mp4", "id9_0001.mp4", True),
        ("id0_id1_0000", "id0_0000", False), ("00170", "00170", False),
    ]  # fmt: skip


def part(root: Path, name: str, *videos: str) -> Path:
    make(root / name, *videos)
    (root / name / "metadata.json").write_text(json.dumps({v: {"label": "REAL"} for v in videos}))
    return root


def test_the_challenge_as_kaggle_has_it(tmp_path: Path) -> None:
    source = part(tmp_path / "deepfake-detection-challenge", "train_sample_videos", "a.mp4")
    make(source, "test_videos/b.mp4", "test_videos/c.mp4")
    (source / "sample_submission.csv").write_text("filename,label\nb.mp4,0.5\n")
    catalog = read_catalog(source)
    assert {clip.video: clip.label for clip in catalog.clips} == {
        "a.mp4": "REAL", "b.mp4": "UNKNOWN", "c.mp4": "UNKNOWN",
    }  # fmt: skip
    assert catalog.notes == (
        f"no metadata.json in {source / 'test_videos'}, 2 clips without a label: balance, split "
        "and shard leave their crops out",
    )


def test_parts_without_metadata_zipped_and_twice(tmp_path: Path) -> None:
    source = part(tmp_path, "dfdc_train_part_0", "a.mp4", "b.mp4")
    part(tmp_path, "dfdc_train_part_0 (1)", "a.mp4", "b.mp4")
    make(source, "dfdc_train_part_1/c.mp4", "dfdc_train_part_2.zip", "more/part_3.zip")
    catalog = read_catalog(source)
    assert [clip.part for clip in catalog.clips] == ["dfdc_train_part_0"] * 2
    assert [note.replace(f"{tmp_path}/", "") for note in catalog.notes] == [
        "left out, the clips of dfdc_train_part_0 (1) are those of dfdc_train_part_0: a part twice",
        "no metadata.json in dfdc_train_part_1, 1 clip left out: download that of the part, or "
        "give the folder to extract alone, for crops without labels",
        "not read, still zipped: dfdc_train_part_2.zip, more/part_3.zip; unzip first",
    ]


def test_parts_of_the_same_names_but_other_clips_are_both_read(tmp_path: Path) -> None:
    source = part(part(tmp_path, "part_0", "1.mp4"), "part_1", "1.mp4")
    (source / "part_1" / "1.mp4").write_bytes(b"other")
    assert [clip.part for clip in read_catalog(source).clips] == ["part_0", "part_1"]


def test_a_link_to_itself_beside_a_part(tmp_path: Path) -> None:
    source = part(tmp_path, "part_0", "1.mp4")
    for folder in (source, source / "part_0"):
        (folder / "loop.mp4").symlink_to("loop.mp4")
    assert [clip.video for clip in read_catalog(source).clips] == ["1.mp4"]


def test_clips_beside_parts_are_named_and_tests_kept_apart(tmp_path: Path) -> None:
    source = part(tmp_path, "a/part_0", "1.mp4")
    make(source, "q.mp4", "extra/sub/r.mp4", "testimonials/t.mp4")
    catalog = read_catalog(source)
    assert [clip.video for clip in catalog.clips] == ["1.mp4"]
    places = [note.split(",")[0].removeprefix("no metadata.json in ") for note in catalog.notes]
    assert places == [str(source), str(source / "extra/sub"), str(source / "testimonials")]
    make(source, "x/test_videos/t.mp4", "y/test_videos/t.mp4")
    catalog = read_catalog(source)
    assert [clip.video for clip in catalog.clips] == ["1.mp4", "t.mp4"]
    assert any(note.startswith(f"no metadata.json in {source}/y/test_") for note in catalog.notes)


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["real/a.mp4", "set/Celeb-real/id0_0000.mp4", "b.mp4"],
         "left out beside set: the clips in real, the folder around it"),
        (["original/000.mp4", "Deepfakes/000_003.mp4", "SimSwap/000_003.mp4"],
         "folders whose clips are left out: SimSwap"),
        (["Celeb-real/id0_0000.mp4", "Celeb-synthesis/FaceSwap/id0_id1_0000.mp4"],
         "folders whose clips are left out: Celeb-synthesis/FaceSwap"),
        (["realvideo-realaudio/A/men/id1/1.mp4", "fakevideo-fakeaudio/1.mp4", "meta_data.csv"],
         "folders whose clips are left out: fakevideo-fakeaudio"),
    ],
)  # fmt: skip
def test_folders_that_a_layout_does_not_read_are_named(
    tmp_path: Path, names: list[str], note: str
) -> None:
    make(tmp_path, *names)
    if "meta_data.csv" in names:
        columns = "source,target1,target2,method,category,type,race,gender,path,"
        (tmp_path / "meta_data.csv").write_text(f"{columns}\n")
    assert note in read_catalog(tmp_path).notes


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["dfdc_train_part_0.zip"], r"found 1 \.zip; unzip the archives first, or give the folder"),
        (["real/1.jpg", "real/2.jpg", "x.csv"], r"found 2 \.jpg, 1 \.csv, the folders real; for "
         "crops that are already cut use dfdc-prep import; frames must lie in a folder for each"),
        (["a/b.txt", "c/d.txt"], r"found 2 \.txt, the folders a, c; give the folder that contains"),
        ([], "found an empty folder; give the folder that contains the clips, or a CSV"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_described(tmp_path: Path, names: list[str], sentence: str) -> None:
    with pytest.raises(SourceError, match=f"^expected a known data set or clips.*{sentence}"):
        read_catalog(make(tmp_path, *names))


def _rows(*rows: str, between: str = ",", header: str = "path,label") -> str:
    return "\n".join([header, *rows]).replace(",", between)


@pytest.mark.parametrize(
    "content",
    [
        _rows("a/x.mp4,REAL", "b/y.mp4,FAKE", between=";").encode(),
        _rows("a/x.mp4,REAL", "b/y.mp4,FAKE", between="\t").encode(),
        _rows("a/x.mp4,real", "b/y.mp4,fake").encode("utf-16"),
        _rows("a\\x.mp4,original", "b\\y.mp4,deepfake").encode(),
        _rows("a/x.mp4,False", "b/y.mp4,True", header="filename,label").encode(),
        _rows("ROOT/a/x.mp4,0", "ROOT/b/y.mp4,1", header="File Path,Label").encode(),
    ],
)
def test_tables_as_people_have_them(tmp_path: Path, content: bytes) -> None:
    source = make(tmp_path / "set", "a/x.mp4", "b/y.mp4")
    table = tmp_path / "clips.csv"
    table.write_bytes(content.replace(b"ROOT", str(source).encode()))
    assert read(source, table=table) == {
        "a/x.mp4": ("REAL", "x.mp4", None, None), "b/y.mp4": ("FAKE", "y.mp4", None, None),
    }  # fmt: skip


def test_a_table_whose_paths_are_elsewhere_says_so(tmp_path: Path) -> None:
    source = make(tmp_path / "set", "a.mp4")
    (tmp_path / "clips.csv").write_text("path,label\n/elsewhere/a.mp4,REAL\n")
    with pytest.raises(SourceError, match="expected plain file names of the clips"):
        read(source, table=tmp_path / "clips.csv")
