import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage.data import astronaut

from dfdc_prep.errors import OptionsDiffer, OutputError, SourceError, TableError
from dfdc_prep.writing.importing import import_crops
from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.balancing.balance import BalanceOptions, balance
from manifests.tables.codes import clips_known
from manifests.tables.external import Reading
from manifests.tables.parquet import read_manifest, read_table
from tests.bare_tables import write

HEADER = "videoname,original_width,original_height,label,original\n"
ROWS = {
    "aa.mp4": "129,129,REAL,",
    "bb.mp4": "223,217,FAKE,aa.mp4",
    "cc.mp4": "90,90,FAKE,gone.mp4",
}


def make_crop(path: Path, size: int = 224) -> Path:
    """Write a part of the astronaut picture that depends on the file name."""
    x = int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % 200
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(astronaut()[:size, x : x + size]).save(path)
    return path


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """A folder in the layout of Kaggle's deepfake_faces: faces_224 and a table."""
    for video in ROWS:
        make_crop(tmp_path / "faces_224" / video.replace(".mp4", ".jpg"))
    write(tmp_path, HEADER + "".join(f"{video},{row}\n" for video, row in ROWS.items()))
    return tmp_path


def run(kaggle: Path, out: str = "faces", **options: bool) -> tuple[dict[str, int], Path]:
    report = import_crops(kaggle / "faces_224", kaggle / "table.csv", kaggle / out, **options)
    counts = {name: n for name, n in vars(report).items() if n and isinstance(n, int)}
    return counts, kaggle / out


def statuses(faces: Path) -> dict[str, tuple[str, str | None]]:
    log = read_table(faces / "clips.parquet", CLIP_LOG_SCHEMA, "import").to_pylist()
    return {row["video"]: (row["status"], row["error"]) for row in log}


@pytest.mark.parametrize("side", [160, 256, 299, 380])
def test_crops_of_another_size_are_scaled_if_asked(kaggle: Path, side: int) -> None:
    with Image.open(kaggle / "faces_224" / "aa.jpg") as image:
        image.resize((side, side)).save(kaggle / "faces_224" / "aa.jpg")
    counts, faces = run(kaggle, resize=True)
    assert counts == {"crops": 3, "clips": 3}
    crops = read_manifest(faces / "manifest.parquet").to_pylist()
    assert [row["path"].rpartition("/")[2] for row in crops] == ["aa.jpg.png", "bb.jpg", "cc.jpg"]
    for row in crops:
        with Image.open(faces / row["path"]) as image:
            assert image.size == (224, 224)
    with pytest.raises(OptionsDiffer):
        run(kaggle)
    with Image.open(kaggle / "faces_224" / "aa.jpg") as image:
        image.resize((side, side // 2)).save(kaggle / "faces_224" / "aa.jpg")
    assert run(kaggle, "other", resize=True)[0]["unreadable"] == 1


@pytest.mark.parametrize("first", ["aa.jpg", "aa.jpg.png"])
def test_a_scaled_crop_never_replaces_an_image_of_the_source(tmp_path: Path, first: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    Image.new("RGB", (260, 260), "red").save(source / "aa.jpg")
    Image.new("RGB", (224, 224), "blue").save(source / "aa.jpg.png")
    before = (source / "aa.jpg.png").read_bytes()
    names = sorted(["aa.jpg", "aa.jpg.png"], reverse=first != "aa.jpg")
    rows = [f"{name},{n}" for n, name in enumerate(names)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *rows]))
    reading = Reading(clips_from="name")
    table, faces = tmp_path / "table.csv", tmp_path / "faces"
    import_crops(source, table, faces, reading=reading, resize=True)
    assert (source / "aa.jpg.png").read_bytes() == before
    crops = read_manifest(tmp_path / "faces" / "manifest.parquet").to_pylist()
    assert {row["path"].rpartition("/")[2] for row in crops} == {"aa.jpg_.png", "aa.jpg.png"}


def test_absolute_paths_inside_the_folder_and_backslashes(kaggle: Path) -> None:
    crops = kaggle / "faces_224"
    rows = [f"{crops}/aa.jpg;REAL", "bb.jpg;original", "sub\\dd.jpg;deepfake"]
    make_crop(crops / "sub" / "dd.jpg")
    (kaggle / "table.csv").write_bytes("\n".join(["File Path;Label", *rows]).encode("utf-16"))
    counts, _ = run(kaggle)
    assert (counts["crops"], counts["unnamed"]) == (3, 1)


def test_kaggle_layout_becomes_a_faces_folder(kaggle: Path) -> None:
    counts, faces = run(kaggle)
    assert counts == {"crops": 3, "clips": 3}
    table = read_manifest(faces / "manifest.parquet").to_pylist()
    assert [(row["family"], row["w"], row["h"], row["crop_size"]) for row in table] == [
        ("aa.mp4", 129, 129, 129),
        ("aa.mp4", 223, 217, None),
        ("gone.mp4", 90, 90, 90),
    ]
    for row in table:
        source = kaggle / "faces_224" / row["video"].replace(".mp4", ".jpg")
        assert (faces / row["path"]).read_bytes() == source.read_bytes()
        assert hashlib.sha256(source.read_bytes()).hexdigest() == row["sha256"]
    assert (faces / "metadata.csv").read_text() == (kaggle / "table.csv").read_text()
    assert set(statuses(faces).values()) == {("ok", None)}
    assert json.loads((faces / "run.json").read_text())["command"] == "import"


def test_what_the_table_says_of_data_set_people_and_split_is_kept(kaggle: Path) -> None:
    given = {"dataset": "mine", "method": "roop", "identity": "ann", "face_identity": "bob"}
    given["official_split"] = "test"
    header, *lines = (kaggle / "table.csv").read_text().splitlines()
    extra = [f"{line},{','.join(given.values())}" for line in lines]
    (kaggle / "table.csv").write_text("\n".join([f"{header},{','.join(given)}", *extra]) + "\n")
    _, faces = run(kaggle)
    log = read_table(faces / "clips.parquet", CLIP_LOG_SCHEMA, "import").to_pylist()
    for row in [*read_manifest(faces / "manifest.parquet").to_pylist(), *log]:
        assert {name: row[name] for name in given} == given


def test_it_is_balanced_like_any_other(kaggle: Path) -> None:
    _, faces = run(kaggle)
    found = balance(read_manifest(faces / "manifest.parquet"), BalanceOptions())
    assert Counter(found.table["label"].to_pylist()) == {"REAL": 1, "FAKE": 1}


def test_every_fault_is_counted_and_named(kaggle: Path) -> None:
    crops = kaggle / "faces_224"
    (crops / "bb.jpg").write_bytes((crops / "bb.jpg").read_bytes()[:2000])
    (crops / "cc.jpg").unlink()
    make_crop(crops / "nobody.jpg")
    make_crop(crops / "small.jpg", size=100)
    with (kaggle / "table.csv").open("a") as table:
        table.write("small.mp4,1,1,REAL,\naa.mp4,1,1,FAKE,aa.mp4\n")
    counts, faces = run(kaggle)
    assert counts == {
        "crops": 1, "clips": 5, "without_image": 1, "unnamed": 1, "duplicates": 1, "unreadable": 2,
    }  # fmt: skip
    found = statuses(faces)
    assert found["aa.mp4"] == ("ok", "row 5 names aa.jpg again and was left out")
    status, error = found["bb.mp4"]
    assert status == "unreadable"
    assert error.startswith("expected 224x224 in bb.jpg, found a damaged image (")
    assert found["cc.mp4"] == ("missing", "no image has this name")
    assert found["nobody.jpg"] == ("missing", "no row names nobody.jpg")
    assert (
        found["small.mp4"][1] == "expected 224x224 in small.jpg, found 100x100 (--resize scales it)"
    )


def test_paths_and_several_crops_a_clip(kaggle: Path) -> None:
    for name in ("a_0.png", "a_1.png", "f_0.png"):
        make_crop(kaggle / "faces_224" / "deep" / name)
    rows = [
        "deep/a_0.png,a.mp4,0,,3",
        "faces_224/deep/a_1.png,a.mp4,0,,9",
        "deep/a_2.png,a.mp4,0,,12",
        "deep/f_0.png,f.mp4,1,a.mp4,3",
    ]
    write(kaggle, "\n".join(["path,video,label,original,frame", *rows]) + "\n")
    counts, faces = run(kaggle)
    assert counts == {"crops": 3, "clips": 5, "missing": 1, "unnamed": 3}
    table = read_manifest(faces / "manifest.parquet")
    assert table["frame"].to_pylist() == [3, 9, 3]
    assert set(table["family"].to_pylist()) == {"a.mp4"}
    assert statuses(faces)["a.mp4"] == ("truncated", "there is no image deep/a_2.png")


@pytest.mark.parametrize(
    "row", ["../x.jpg,a,REAL", "/etc/x.jpg,a,REAL", "a/../../x.jpg,a,REAL", "x.jpg,../a,REAL",
            "..\\x.jpg,a,REAL", "x.jpg,b\\a,REAL", "x.jpg,..,REAL", "x.jpg,b/a,REAL"]
)  # fmt: skip
def test_unsafe_names_are_refused(kaggle: Path, row: str) -> None:
    write(kaggle, f"path,video,label\n{row}\n")
    with pytest.raises(SourceError, match="names that stay inside their folder"):
        run(kaggle)
    assert not (kaggle / "faces").exists()


def test_the_same_again_gives_the_same_bytes_and_another_table_is_refused(kaggle: Path) -> None:
    _, faces = run(kaggle)
    before = {path.name: path.read_bytes() for path in faces.iterdir() if path.is_file()}
    run(kaggle)
    assert before == {path.name: path.read_bytes() for path in faces.iterdir() if path.is_file()}
    write(kaggle, HEADER + "aa.mp4,1,1,REAL,\n")
    with pytest.raises(OptionsDiffer, match="--overwrite"):
        run(kaggle)
    counts, _ = run(kaggle, overwrite=True)
    assert counts["crops"] == 1


def test_tables_derived_from_the_same_manifest_are_kept(kaggle: Path) -> None:
    _, faces = run(kaggle)
    chosen = [faces / "balanced.parquet", faces / "split.parquet"]
    for path in chosen:
        path.write_bytes(path.name.encode())
    run(kaggle)
    assert [path.read_bytes() for path in chosen] == [path.name.encode() for path in chosen]
    (kaggle / "faces_224" / "aa.jpg").unlink()
    with pytest.raises(OutputError, match=r"the manifest that .*balanced.parquet was made from"):
        run(kaggle)
    assert all(path.is_file() for path in chosen)
    assert (faces / "crops" / "imported" / "aa.jpg").is_file()
    run(kaggle, overwrite=True)
    assert not any(path.exists() for path in chosen)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_file_in_the_folder_is_never_removed(kaggle: Path, overwrite: bool) -> None:
    _, faces = run(kaggle)
    (faces / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"found thesis\.txt; move it"):
        run(kaggle, overwrite=overwrite)
    assert (faces / "thesis.txt").read_text() == "years of work"


def test_a_foreign_folder_is_left_alone(kaggle: Path) -> None:
    mine = kaggle / "faces" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(OutputError, match="found something else"):
        run(kaggle, overwrite=True)
    with pytest.raises(OutputError, match="outside the folder of crops"):
        run(kaggle, out="faces_224/out")
    assert mine.read_text() == "years of work"


def test_nothing_to_import_is_an_error(kaggle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "absent"):
        with pytest.raises(SourceError, match="found none; give"):
            import_crops(tmp_path / source, kaggle / "table.csv", tmp_path / "faces")
    write(kaggle, "videoname,label\nzz.mp4,REAL\n")
    with pytest.raises(SourceError, match="no row of the table names any of its images"):
        run(kaggle)
    with pytest.raises(TableError, match="found none"):
        import_crops(kaggle / "faces_224", kaggle / "absent.csv", kaggle / "faces")
    assert not (kaggle / "faces").exists()


def test_real_crops(shared: Path, tmp_path: Path) -> None:
    """The 167 real crops, labelled by their folders."""
    crops = shared / "data" / "crops"
    paths = sorted(path.relative_to(crops).as_posix() for path in crops.rglob("*.jpg"))
    lines = [f"{path},{path.split('/')[1]},{path.split('/')[2].split('_')[0]}" for path in paths]
    table = write(tmp_path, "\n".join(["path,label,video", *lines]) + "\n")
    report = import_crops(crops, table, tmp_path / "faces")
    assert (report.crops, report.clips, report.failed) == (167, 60, 0)
    assert len(np.unique(pq.read_table(tmp_path / "faces/manifest.parquet")["sha256"])) < 167


def test_frames_in_the_folders_of_their_clips(tmp_path: Path) -> None:
    paths = [
        f"{label}/{n:03}/{f}.png" for label in ("real", "fake") for n in range(2) for f in (0, 1)
    ]
    for path in paths:
        make_crop(tmp_path / "crops" / path)
    rows = (f"{path},{path.split('/')[0]}" for path in paths)
    table = write(tmp_path, "\n".join(["path,label", *rows]) + "\n")
    report = import_crops(tmp_path / "crops", table, tmp_path / "faces")
    assert report.clips == 4
    assert report.notes[0].startswith("4 clips, read by the folders of the images")
    manifest = read_manifest(tmp_path / "faces/manifest.parquet")
    clips = set(zip(*(manifest[name].to_pylist() for name in ("part", "video")), strict=True))
    assert clips == {(label, clip) for label in ("real", "fake") for clip in ("000", "001")}
    assert set(manifest["path"].to_pylist()) == {f"crops/imported/{path}" for path in paths}
    with pytest.raises(OptionsDiffer, match=r"other options \(clips_from\)"):
        import_crops(tmp_path / "crops", table, tmp_path / "faces", reading=Reading("name"))


def test_clips_that_are_not_known_stay_so(tmp_path: Path) -> None:
    paths = [f"{label}/{label}_{n}.png" for label in ("real", "fake") for n in range(3)]
    for path in paths:
        make_crop(tmp_path / "crops" / path)
    rows = (f"{path},{path.split('/')[0]}" for path in paths)
    table = write(tmp_path, "\n".join(["path,label", *rows]) + "\n")
    report = import_crops(tmp_path / "crops", table, tmp_path / "faces")
    assert report.clips is None
    assert "6 crops\n" in f"{report.text()}\n"
    manifest = read_manifest(tmp_path / "faces/manifest.parquet")
    assert not clips_known(manifest)
    balanced = balance(manifest, BalanceOptions())
    assert balanced.clips is balanced.originals is None
    assert not clips_known(balanced.table)


def test_images_of_one_name_are_found_by_part(tmp_path: Path) -> None:
    for method in ("Deepfakes", "FaceSwap"):
        make_crop(tmp_path / "crops" / method / "183_253.png")
    rows = ["183_253.mp4,FaceSwap,FAKE", "183_253.mp4,Deepfakes,FAKE"]
    table = write(tmp_path, "\n".join(["video,part,label", *rows]) + "\n")
    report = import_crops(tmp_path / "crops", table, tmp_path / "faces")
    assert (report.crops, report.clips, report.failed) == (2, 2, 0)
    manifest = read_manifest(tmp_path / "faces/manifest.parquet").to_pylist()
    assert all(f"/{row['part']}/183_253.png" in row["path"] for row in manifest)
