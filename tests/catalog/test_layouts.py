"""Every layout gives the label, family, people, method and split that its names and lists tell."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdc_prep.catalog.clips import Catalog, SourceOptions, count_families
from dfdc_prep.catalog.reader import LAYOUTS, read_catalog
from dfdc_prep.errors import DfdcPrepError, SourceError
from manifests.relatives import FamilyCounts
from tests.catalog import trees

Make = Callable[[Path], Path]


def rows(catalog: Catalog) -> list[tuple[object, ...]]:
    """Part, video, label, family, method, identity, face identity and split of every clip."""
    found = [(clip, clip.provenance) for clip in catalog.clips]
    return [
        (
            c.part,
            c.video,
            c.label,
            c.family,
            p.method,
            p.identity,
            p.face_identity,
            p.official_split,
        )
        for c, p in found
    ]


def test_it_is_said_how_families_are_known(tmp_path: Path) -> None:
    forensics = read_catalog(trees.make_faceforensics(tmp_path / "ff"))
    celeb = read_catalog(trees.make_celeb_df(tmp_path / "celeb"))
    for catalog in (forensics, celeb):
        counts = count_families(catalog.clips)
        assert (counts.known, counts.unknown) == (0, 0)
        assert counts.names == sum(clip.label == "FAKE" for clip in catalog.clips)


@pytest.mark.parametrize(
    ("csv", "family", "counts"),
    [
        ("a/o.mp4,REAL,\na/f.mp4,FAKE,O.avi\na/g.mp4,FAKE,\n", "o.mp4", (1, 0, 1)),
        ("a/183.mp4,REAL,\nb/183_253.mp4,FAKE,\n", "183.mp4", (0, 1, 0)),
        ("a/id0_0001.mp4,REAL,\nb/id0_id1_0001.mp4,FAKE,\n", "id0_0001.mp4", (0, 1, 0)),
    ],
)
def test_families_of_a_table_of_clips(
    tmp_path: Path, csv: str, family: str, counts: tuple[int, int, int]
) -> None:
    for name in (line.split(",")[0] for line in csv.splitlines()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    table = tmp_path / "clips.csv"
    table.write_text(f"path,label,original\n{csv}")
    catalog = read_catalog(tmp_path, options=SourceOptions(layout="table", table=table))
    assert count_families(catalog.clips) == FamilyCounts(*counts)
    known = [clip.family for clip in catalog.clips if clip.family_source != "unknown"]
    assert known == [family, family]


def test_faceforensics(tmp_path: Path) -> None:
    catalog = read_catalog(trees.make_faceforensics(tmp_path))
    pair = ("000", "003", "train")
    fake = "01_02__hugging_happy__YVGY8LOK.mp4"
    actor, method = "01__hugging_happy.mp4", "DeepFakeDetection"
    assert rows(catalog) == [
        (method, fake, "FAKE", actor, method, "01", "02", None),
        ("Deepfakes", "000_003.mp4", "FAKE", "000.mp4", "Deepfakes", *pair),
        ("FaceShifter", "003_000.mp4", "FAKE", "003.mp4", "FaceShifter", "003", "000", "train"),
        ("NeuralTextures", "000_003.mp4", "FAKE", "000.mp4", "NeuralTextures", *pair),
        ("actors", actor, "REAL", actor, None, "01", None, None),
        ("youtube", "000.mp4", "REAL", "000.mp4", None, "000", None, "train"),
        ("youtube", "003.mp4", "REAL", "003.mp4", None, "003", None, "train"),
    ]  # fmt: skip
    expected = {"layout": "faceforensics", "dataset": "faceforensics++", "compression": "c23"}
    assert catalog.options == expected


def test_mask_videos_of_faceforensics_are_found_where_asked_for(tmp_path: Path) -> None:
    root = trees.make_faceforensics(tmp_path)
    name = "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4"
    trees.make_tree(root, {name: True}, None, None)
    assert not any(clip.mask_video for clip in read_catalog(root).clips)
    catalog = read_catalog(root, options=SourceOptions(masks=True))
    found = {clip.part: clip.mask_video for clip in catalog.clips if clip.mask_video}
    assert {part: (mask.path, mask.size) for part, mask in found.items()} == {
        "Deepfakes": (str(root / name), 1)
    }
    assert "mask videos of 1 of 4 FAKE clips" in catalog.notes


def test_celeb_df(tmp_path: Path) -> None:
    catalog = read_catalog(trees.make_celeb_df(tmp_path))
    made = "Celeb-synthesis"
    assert rows(catalog) == [
        ("Celeb-real", "id0_0000.mp4", "REAL", "id0_0000.mp4", None, "id0", None, "train"),
        ("Celeb-real", "id1_0007.mp4", "REAL", "id1_0007.mp4", None, "id1", None, "test"),
        (made, "id0_id1_0000.mp4", "FAKE", "id0_0000.mp4", made, "id0", "id1", "test"),
        (made, "id1_id0_0007.mp4", "FAKE", "id1_0007.mp4", made, "id1", "id0", "train"),
        ("YouTube-real", "00170.mp4", "REAL", "00170.mp4", None, None, None, "test"),
    ]
    assert catalog.options["dataset"] == "celeb-df-v2"


def test_dfdc_preview(tmp_path: Path) -> None:
    original, fake = "1003254_A_001.mp4", "1255229_1003254_A_001.mp4"
    people = ("1003254", "1255229", "test")
    assert rows(read_catalog(trees.make_preview(tmp_path))) == [
        ("method_A", fake, "FAKE", original, "method_A", *people),
        ("method_B", fake, "FAKE", original, "method_B", *people),
        ("original_videos", original, "REAL", original, None, "1003254", None, "test"),
    ]


@pytest.mark.parametrize("listed", ["1_A_001", "2_A_001", None])
def test_the_person_filmed_in_the_preview_is_the_one_whose_clip_is_listed(
    tmp_path: Path, listed: str | None
) -> None:
    entries = {"method_A/2/2_A/1_2_A_001.mp4": {"label": "fake", "set": "train"}}
    if listed:
        entries[f"original_videos/{listed[0]}/{listed}.mp4"] = {"label": "real", "set": "train"}
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    fake = read_catalog(tmp_path).clips[0]
    target = listed[0] if listed else "2"  # else the one whose folder it is
    other = "1" if target == "2" else "2"
    assert (fake.family, fake.provenance.identity) == (f"{target}_A_001.mp4", target)
    assert fake.provenance.face_identity == other


def test_dfdc_flat_names_the_clips_that_are_missing(tmp_path: Path) -> None:
    catalog = read_catalog(trees.make_flat(tmp_path / "test"))
    assert rows(catalog) == [
        ("test", "aaa.mp4", "REAL", "aaa.mp4", None, None, None, None),
        ("test", "bbb.mp4", "FAKE", "bbb.mp4", None, None, None, None),
        ("test", "ccc.mp4", "FAKE", "ccc.mp4", None, None, None, None),
    ]
    assert [clip.size for clip in catalog.clips] == [1, 1, None]


def test_dfdc_flat_reads_the_flags_of_a_metadata_json(tmp_path: Path) -> None:
    trees.make_tree(tmp_path, {"aaa.mp4": False, "bbb.mp4": True}, None, None)
    entries = {"aaa.mp4": {"is_fake": 0}, "bbb.mp4": {"is_fake": True, "original": "aaa.mp4"}}
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    catalog = read_catalog(tmp_path)
    assert catalog.options["layout"] == "dfdc-flat"
    assert [(clip.label, clip.family) for clip in catalog.clips] == [
        ("REAL", "aaa.mp4"),
        ("FAKE", "aaa.mp4"),
    ]


def test_a_metadata_json_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metadata.json")
    with pytest.raises(SourceError, match="expected"):
        read_catalog(tmp_path)


def test_a_table(tmp_path: Path) -> None:
    trees.make_table(tmp_path)
    catalog = read_catalog(tmp_path, options=SourceOptions(table=tmp_path / "clips.csv"))
    assert rows(catalog) == [
        ("swapped_x", "a.mp4", "FAKE", "a.mp4", "roop", "ann", "bob", "validation"),
        ("wild", "a.mp4", "REAL", "a.mp4", None, "ann", None, "train"),
    ]
    assert {clip.provenance.dataset for clip in catalog.clips} == {"wild"}
    named = SourceOptions(table=tmp_path / "clips.csv", dataset="mine")
    assert read_catalog(tmp_path, options=named).clips[0].provenance.dataset == "mine"


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (trees.make_faceforensics, "faceforensics"),
        (trees.make_celeb_df, "celeb-df"),
        (trees.make_preview, "dfdc-preview"),
        (trees.make_flat, "dfdc-flat"),
    ],
)
def test_a_layout_is_found_one_folder_down_and_a_wrong_one_is_an_error(
    make: Make, layout: str, tmp_path: Path
) -> None:
    make(tmp_path / "unpacked")
    assert read_catalog(tmp_path).options["layout"] == layout
    assert read_catalog(tmp_path, options=SourceOptions(layout)).options["layout"] == layout
    for other in set(LAYOUTS) - {layout, "folders"}:
        with pytest.raises(SourceError, match=r"^expected .*; "):
            read_catalog(tmp_path / "unpacked", options=SourceOptions(other))


def test_two_data_sets_below_a_source_are_an_error(tmp_path: Path) -> None:
    trees.make_celeb_df(tmp_path / "a")
    trees.make_preview(tmp_path / "b")
    with pytest.raises(SourceError, match=r"one data set below .*celeb-df in .*dfdc-preview in"):
        read_catalog(tmp_path)


def test_a_test_set_beside_the_parts_of_dfdc_is_left_out_with_a_note(tmp_path: Path) -> None:
    trees.make_flat(tmp_path / "test")
    trees.make_tree(tmp_path / "part", {"a.mp4": False}, None, None)
    (tmp_path / "part" / "metadata.json").write_text('{"a.mp4": {"label": "REAL"}}')
    catalog = read_catalog(tmp_path)
    assert [clip.part for clip in catalog.clips] == ["part"]
    assert catalog.notes == (f"left out, give its own folder: dfdc-flat in {tmp_path / 'test'}",)


def test_a_compression_must_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    trees.make_faceforensics(tmp_path)
    trees.make_tree(tmp_path, {"original_sequences/youtube/c40/videos/000.mp4": False}, None, None)
    with pytest.raises(SourceError, match="found c23, c40; choose one with --compression"):
        read_catalog(tmp_path)
    with pytest.raises(SourceError, match=r"--compression raw below .*, found c23, c40"):
        read_catalog(tmp_path, options=SourceOptions(compression="raw"))
    catalog = read_catalog(tmp_path, options=SourceOptions(compression="c40"))
    assert [clip.video for clip in catalog.clips] == ["000.mp4"]
    assert "manipulated_sequences/Deepfakes left out: no c40, it has c23" in catalog.notes
    flat = trees.make_flat(tmp_path / "flat")
    with pytest.raises(SourceError, match="only with the layout faceforensics"):
        read_catalog(flat, options=SourceOptions(compression="c23"))


def test_half_trees_are_read_with_a_note(tmp_path: Path) -> None:
    trees.make_tree(tmp_path, {"Celeb-synthesis/id0_id1_0000.mp4": True}, None, None)
    catalog = read_catalog(tmp_path)
    assert [clip.family for clip in catalog.clips] == ["id0_0000.mp4"]
    assert [note.partition(" in ")[0] for note in catalog.notes] == [
        "no folder Celeb-real", "no folder YouTube-real", f"no {trees.TEST_LIST}",
    ]  # fmt: skip


def test_names_of_another_kind_are_left_out_with_a_note(tmp_path: Path) -> None:
    trees.make_faceforensics(tmp_path)
    folder = "manipulated_sequences/Deepfakes/c23/videos"
    trees.make_tree(tmp_path, {f"{folder}/mine.mp4": True, f"{folder}/a.txt": True}, None, None)
    catalog = read_catalog(tmp_path)
    assert catalog.unnamed == ("Deepfakes/mine.mp4",)
    assert "left out: Deepfakes/mine.mp4" in catalog.notes[-1]


def test_the_other_shape_of_celeb_df_and_its_missing_tests(tmp_path: Path) -> None:
    names = ["Celeb-real/videos/id0_0000.mp4", "Youtube-real/videos/00170.mp4"]
    trees.make_tree(tmp_path, dict.fromkeys(names, False), None, None)
    lines = "1 YouTube-real/00170.mp4\r\n1 Celeb-real/id0_0009.mp4\r\n"
    (tmp_path / trees.TEST_LIST).write_text(lines)
    catalog = read_catalog(tmp_path)
    assert [(clip.video, clip.size) for clip in catalog.clips] == [
        ("id0_0000.mp4", 1), ("id0_0009.mp4", None), ("00170.mp4", 1),
    ]  # fmt: skip
    assert all(os.path.exists(clip.path) for clip in catalog.clips if clip.size)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 YouTube-real/00170.mp4", "in line 1 of"),
        ("1 Celeb-synthesis/id0_id1_0000.mp4", "in line 1 of"),
        ("YouTube-real/00170.mp4", "in line 1 of"),
        ("1 YouTube-real/../../x.mp4", "expected plain file names"),
        ("1 /etc/passwd", "expected relative paths"),
        ("\udcff", "expected text in UTF-8"),
    ],
)
def test_lines_of_a_test_list_that_are_wrong(tmp_path: Path, line: str, message: str) -> None:
    trees.make_celeb_df(tmp_path)
    (tmp_path / trees.TEST_LIST).write_bytes(line.encode(errors="surrogateescape"))
    with pytest.raises(SourceError, match=message):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    "pairs", ['[["000"]]', '{"a": 1}', "[[1, 2]]", "{", '[["001", "000"]]', "\x00"]
)
def test_split_lists_that_are_wrong(tmp_path: Path, pairs: str) -> None:
    trees.make_faceforensics(tmp_path)
    (tmp_path / "test.json").write_text(pairs)
    with pytest.raises(SourceError, match=r"download the lists? again"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"method_A/x.mp4": {"label": "real"}}, "expected real clips in original_videos"),
        ({"method_A/x.mp4": {"label": 3}}, "expected a label real or fake"),
        ({"method_A/../x.mp4": {"label": "fake"}}, "expected plain file names"),
        ({"/method_A/x.mp4": {"label": "fake"}}, "expected plain file names"),
        ({"a/x.mp4": {"label": "fake"}, "a/b/x.mp4": {"label": "fake"}}, "every clip once"),
        ([], "no object with clips"),
    ],
)
def test_preview_indexes_that_are_wrong(tmp_path: Path, entries: object, message: str) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    with pytest.raises(SourceError, match=message):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected the columns path, label"),
        (b"path,label\n", "expected rows"),
        (b"name,label\na.mp4,0\n", "add path"),
        (b"path,label,label\na.mp4,0,1\n", "label twice"),
        (b"path,label\na.mp4,maybe\n", "expected a label REAL or FAKE"),
        (b"path,label\na.mp4\n", "expected 2 values in line 2"),
        (b"path,label\nwild/a.mp4,0\nwild/a.mp4,0\n", "every clip once"),
        (b"path,label\n../a.mp4,0\n", "expected plain file names"),
        (b"path,label\n/etc/passwd,0\n", "expected plain file names"),
        (b"path,label\nnone.mp4,0\n", "found none of them"),
        (b"path,label,split\nwild/a.mp4,0,holdout\n", "train, validation or test as split"),
        (b"path,label,method\nwild/a.mp4,1,\x1b[31m\n", "expected printable text"),
        (b'path,label\n"a.mp4,0\n', "expected a CSV"),
        (b"\x00\x01\xff\xfe", "expected a CSV in UTF-8"),
        (b"path,label\n" + b"x" * 200_000 + b",0\n", "expected a CSV"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: bytes, message: str) -> None:
    trees.make_table(tmp_path)
    (tmp_path / "clips.csv").write_bytes(text)
    with pytest.raises(SourceError, match=message):
        read_catalog(tmp_path, options=SourceOptions(table=tmp_path / "clips.csv"))


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder"):
        read_catalog(tmp_path / "none")
    with pytest.raises(SourceError, match="found no --table"):
        read_catalog(tmp_path, options=SourceOptions("table"))
    with pytest.raises(SourceError, match="only with --layout table"):
        read_catalog(tmp_path, options=SourceOptions("dfdc", table=tmp_path / "clips.csv"))
    with pytest.raises(SourceError, match="expected a file at"):
        read_catalog(tmp_path, options=SourceOptions(table=tmp_path / "none.csv"))


cells = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["a.mp4", "b/a.mp4", "REAL", "fake", "0", "1", "train", '"', "..", ""]
)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(table=st.lists(st.lists(cells, min_size=1, max_size=4), max_size=5))
def test_any_table_gives_a_catalog_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    trees.make_tree(folder, {"a.mp4": False, "b/a.mp4": False}, None, None)
    text = "\n".join([",".join(["path", "label", "original", "split"]), *map(",".join, table)])
    (folder / "clips.csv").write_bytes(text.encode(errors="replace"))
    sentence, clips = "", ()
    try:
        clips = read_catalog(folder, options=SourceOptions(table=folder / "clips.csv")).clips
    except DfdcPrepError as error:
        sentence = str(error)
    assert bool(clips) or sentence.startswith("expected ")
    assert "\n" not in sentence
    assert len({(clip.part, clip.folder) for clip in clips}) == len(clips)
    assert all(os.path.realpath(clip.path).startswith(str(folder)) for clip in clips)
