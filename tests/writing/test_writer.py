"""Shards: reproducible bytes, complete output or none, only crops of the manifest."""

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dfdc_prep.errors import DfdcPrepError, OptionsDiffer, OutputError, ShardError
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords, parse_example, read_records
from dfdc_prep.writing.writer import write_crops
from manifests.files import atomic_folder
from manifests.splitting.split import SplitPlan
from tests.crop_sets import make_faces

PLAN = SplitPlan.parse("56/24/20")
OPTIONS = (TFRecords(3), CropSelection(PLAN))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("shards") / "faces", families=25)


@pytest.fixture
def own_faces(tmp_path: Path) -> Path:
    """A faces folder that a test may damage."""
    return make_faces(tmp_path / "faces", families=5)


def sums(shards: Path) -> str:
    return (shards / "SHA256SUMS").read_text()


def replace_column(faces: Path, name: str, values: list[str]) -> None:
    table = pq.read_table(faces / "balanced.parquet")
    index = table.column_names.index(name)
    table = table.set_column(index, table.schema.field(index), pa.array(values))
    pq.write_table(table, faces / "balanced.parquet")


def test_records_follow_the_manifest_and_crops_are_copied_unchanged(
    faces: Path, tmp_path: Path
) -> None:
    report = write_crops(faces, tmp_path / "shards", *OPTIONS)
    assert report.shards == {"train": 3, "validation": 1, "test": 1}
    rows = pq.read_table(tmp_path / "shards" / "manifest.parquet").to_pylist()
    shards = dict.fromkeys(row["shard"] for row in rows)
    found = [
        parse_example(record)
        for shard in shards
        for record in read_records(tmp_path / "shards" / shard)
    ]
    assert [face["path"] for face in found] == [[row["path"].encode()] for row in rows]
    for face, row in zip(found, rows, strict=True):
        assert face["image"] == [(faces / row["path"]).read_bytes()]
        assert face["label"] == [int(row["label"] == "FAKE")]


def test_another_seed_is_another_order(faces: Path, tmp_path: Path) -> None:
    write_crops(faces, tmp_path / "a", *OPTIONS)
    plan = SplitPlan.parse("56/24/20", seed=43)
    write_crops(faces, tmp_path / "b", TFRecords(3), CropSelection(plan))
    assert sums(tmp_path / "a") != sums(tmp_path / "b")


def test_jpeg_only_where_it_is_asked_for(faces: Path, tmp_path: Path) -> None:
    output = TFRecords(image_format="jpeg", quality=95)
    write_crops(faces, tmp_path / "shards", output, CropSelection(PLAN))
    (shard,) = (tmp_path / "shards").glob("*-test.tfrecord-*")
    image = parse_example(next(read_records(shard)))["image"][0]
    assert isinstance(image, bytes)
    assert image[:2] == b"\xff\xd8"
    assert len(image) < 40_000


def test_a_jpeg_crop_is_never_encoded_twice(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=5, suffix="jpg")
    write_crops(
        faces, tmp_path / "shards", TFRecords(image_format="jpeg", quality=10), CropSelection(PLAN)
    )
    (shard,) = (tmp_path / "shards").glob("*-test.tfrecord-*")
    found = parse_example(next(read_records(shard)))
    path = found["path"][0]
    assert isinstance(path, bytes)
    assert found["image"] == [(faces / path.decode()).read_bytes()]


@pytest.mark.parametrize("harm", ["altered", "missing", "cut off", "small", "text"])
def test_an_unfit_crop_is_named_and_nothing_is_left(own_faces: Path, harm: str) -> None:
    table = pq.read_table(own_faces / "balanced.parquet")
    path = table["path"][3].as_py()
    crop = own_faces / path
    if harm == "missing":
        crop.unlink()
    elif harm == "altered":
        data = bytearray(crop.read_bytes())
        data[-40] ^= 1
        crop.write_bytes(data)
    elif harm == "cut off":
        crop.write_bytes(crop.read_bytes()[:-100])
    else:
        if harm == "small":
            Image.new("RGB", (200, 224)).save(crop)
        else:
            crop.write_text("no image")
        hashes = table["sha256"].to_pylist()
        hashes[3] = hashlib.sha256(crop.read_bytes()).hexdigest()
        replace_column(own_faces, "sha256", hashes)
    with pytest.raises(ShardError, match=path):
        write_crops(own_faces, own_faces.parent / "shards", *OPTIONS)
    assert os.listdir(own_faces.parent) == ["faces"]


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "a/../../x", "", "a\0b", "link/x"]
)
def test_a_path_that_leads_elsewhere_is_refused(own_faces: Path, path: str) -> None:
    secret = own_faces.parent / "secret"
    secret.mkdir()
    (secret / "x").write_text("secret")
    (own_faces / "link").symlink_to(secret)
    replace_column(own_faces, "path", [path] + ["crops/x.png"] * 9)
    with pytest.raises(ShardError, match="leads elsewhere"):
        write_crops(own_faces, own_faces.parent / "shards", *OPTIONS)


def test_the_same_command_twice_says_that_it_exists(faces: Path, tmp_path: Path) -> None:
    write_crops(faces, tmp_path / "shards", *OPTIONS)
    before = (tmp_path / "shards" / "SHA256SUMS").stat().st_mtime_ns
    again = write_crops(faces, tmp_path / "shards", *OPTIONS)
    assert again.already_exists
    assert "already exists" in again.text()
    assert (tmp_path / "shards" / "SHA256SUMS").stat().st_mtime_ns == before


def test_the_lock_of_a_run_killed_at_its_very_end_is_cleared(faces: Path, tmp_path: Path) -> None:
    write_crops(faces, tmp_path / "shards", *OPTIONS)
    (tmp_path / ".shards.lock").write_text("process 1 on nowhere")
    assert write_crops(faces, tmp_path / "shards", *OPTIONS).already_exists
    assert os.listdir(tmp_path) == ["shards"]


def test_other_options_are_refused_by_name_until_overwrite(faces: Path, tmp_path: Path) -> None:
    write_crops(faces, tmp_path / "shards", *OPTIONS)
    before = sums(tmp_path / "shards")
    with pytest.raises(OptionsDiffer, match=r"image_format and quality.*--overwrite"):
        write_crops(faces, tmp_path / "shards", TFRecords(3, "jpeg"), CropSelection(PLAN))
    assert sums(tmp_path / "shards") == before
    write_crops(
        faces, tmp_path / "shards", TFRecords(3, "jpeg"), CropSelection(PLAN), overwrite=True
    )
    assert sums(tmp_path / "shards") != before
    assert os.listdir(tmp_path) == ["shards"]


def test_a_folder_of_something_else_is_never_replaced(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("four years")
    with pytest.raises(OptionsDiffer, match="found something else"):
        write_crops(faces, tmp_path, TFRecords(), CropSelection(PLAN), overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "four years"


def test_two_runs_at_once_do_not_mix(faces: Path, tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "shards") as folder:
        (folder / "mine").touch()
        with pytest.raises(OutputError, match=f"process {os.getpid()} on"):
            write_crops(faces, tmp_path / "shards", *OPTIONS)
    assert os.listdir(tmp_path / "shards") == ["mine"]


def test_without_a_balanced_manifest_the_message_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DfdcPrepError, match="run dfdc-prep balance first"):
        write_crops(tmp_path, tmp_path / "shards", *OPTIONS)


def test_values_that_an_import_lacks_are_minus_one(own_faces: Path, tmp_path: Path) -> None:
    table = pq.read_table(own_faces / "balanced.parquet")
    for name in ("frame", "face"):
        index = table.column_names.index(name)
        nulls = pa.nulls(table.num_rows, pa.int32())
        table = table.set_column(index, table.schema.field(index), nulls)
    pq.write_table(table, own_faces / "balanced.parquet")
    write_crops(own_faces, tmp_path / "shards", *OPTIONS)
    (shard,) = (tmp_path / "shards").glob("*-test.tfrecord-*")
    found = parse_example(next(read_records(shard)))
    assert (found["frame"], found["face"]) == ([-1], [-1])
