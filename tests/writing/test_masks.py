"""Masks in shards: an optional feature, checked by verify, unseen by readers who do not ask."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import dfdc_prep
from dfdc_prep.errors import ShardError
from dfdc_prep.writing.tfrecord import encode_example, frame_record, parse_example, read_records
from dfdc_prep.writing.writer import write_sums
from manifests.arrow import MANIFEST_SCHEMA
from tests.crop_sets import make_faces


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A faces folder whose fakes have masks."""
    folder = make_faces(tmp_path / "faces", families=6)
    rows = pq.read_table(folder / "balanced.parquet").to_pylist()
    for number, row in enumerate(row for row in rows if row["label"] == "FAKE"):
        row["mask"] = row["path"].removesuffix(".png") + ".mask.png"
        mask = np.zeros((224, 224), np.uint8)
        mask[50:150, number : number + 100] = 255
        Image.fromarray(mask).save(folder / row["mask"])
        row["mask_sha256"] = hashlib.sha256((folder / row["mask"]).read_bytes()).hexdigest()
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), folder / "balanced.parquet")
    return folder


@pytest.fixture
def shards(faces: Path, tmp_path: Path) -> Path:
    dfdc_prep.shard(faces, tmp_path / "shards")
    return tmp_path / "shards"


def records(shards: Path) -> list[dict[str, list[object]]]:
    files = sorted(shards.glob("*.tfrecord-*"))
    return [dict(parse_example(record)) for file in files for record in read_records(file)]  # type: ignore[arg-type]


def test_fakes_carry_their_mask(faces: Path, shards: Path) -> None:
    masks = {
        row["path"]: row["mask"] for row in pq.read_table(faces / "balanced.parquet").to_pylist()
    }
    for record in records(shards):
        (path,) = record["path"]
        mask = masks[path.decode()]  # type: ignore[attr-defined]
        assert record.get("mask", [None]) == [mask and (faces / mask).read_bytes()]
    assert dfdc_prep.verify(shards).ok


def test_other_readers_never_see_masks(shards: Path) -> None:
    builder = tfds.builder_from_directory(str(shards))
    assert "mask" not in builder.info.features
    labels = [int(label) for _, label in builder.as_dataset(split="train", as_supervised=True)]
    assert sorted(set(labels)) == [0, 1]


def test_masks_change_nothing_else(faces: Path, shards: Path, tmp_path: Path) -> None:
    table = pq.read_table(faces / "balanced.parquet")
    for name in ("mask", "mask_sha256"):
        nulls = pa.nulls(table.num_rows, pa.string())
        table = table.set_column(table.column_names.index(name), MANIFEST_SCHEMA.field(name), nulls)
    pq.write_table(table, faces / "balanced.parquet")
    dfdc_prep.shard(faces, tmp_path / "plain")
    masked = {tuple(record["path"]): record for record in records(shards)}
    for record in records(tmp_path / "plain"):
        with_mask = masked[tuple(record["path"])]
        assert {name: with_mask[name] for name in with_mask if name != "mask"} == record


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda record: record.pop("mask"), "lacks the mask crops/"),
        (lambda record: record.update(mask=record["image"]), "its mask is PNG RGB"),
        (lambda record: record.update(mask=b"none"), "its mask is no image"),
    ],
)
def test_verify_finds_a_changed_mask(shards: Path, change: object, fault: str) -> None:
    (file,) = shards.glob("*-train.*")
    found = [parse_example(record) for record in read_records(file)]
    examples = [{name: values[0] for name, values in record.items()} for record in found]
    change(next(example for example in examples if "mask" in example))  # type: ignore[operator]
    file.write_bytes(b"".join(frame_record(encode_example(each)) for each in examples))  # type: ignore[arg-type]
    (shards / "SHA256SUMS").unlink()
    write_sums(shards, {})
    assert fault in str(dfdc_prep.verify(shards))


def test_a_mask_that_was_altered_is_refused(faces: Path, tmp_path: Path) -> None:
    mask = next(faces.rglob("*.mask.png"))
    Image.fromarray(np.full((224, 224), 9, np.uint8)).save(mask)
    with pytest.raises(ShardError, match=r"mask\.png to have the manifest's SHA-256"):
        dfdc_prep.shard(faces, tmp_path / "shards")
    mask.unlink()
    with pytest.raises(ShardError, match=r"expected to read the crop .*mask\.png"):
        dfdc_prep.shard(faces, tmp_path / "shards")


def test_masks_are_not_imported_as_crops(faces: Path, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    shutil.copytree(faces / "crops", crops)
    rows = pq.read_table(faces / "balanced.parquet").to_pylist()
    lines = [f"{row['path'].removeprefix('crops/')},{row['label']}" for row in rows]
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *lines]))
    result = dfdc_prep.import_crops(crops, tmp_path / "table.csv", tmp_path / "imported")
    assert result.failed == 0


def test_folders_with_and_without_masks_are_mixed(faces: Path, tmp_path: Path) -> None:
    other = make_faces(tmp_path / "other", families=6)
    dfdc_prep.shard([faces, other], tmp_path / "both")
    assert dfdc_prep.verify(tmp_path / "both").ok
    found = [record for record in records(tmp_path / "both") if "mask" in record]
    assert found
    assert all(record["path"][0].startswith(b"faces/") for record in found)  # type: ignore[attr-defined]
