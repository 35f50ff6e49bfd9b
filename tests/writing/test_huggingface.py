"""Parquet files of `export huggingface`, opened by `datasets.load_dataset`."""

import hashlib
import io
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dfdc_prep
from manifests.arrow import MANIFEST_SCHEMA
from tests.crop_sets import make_crops, make_faces


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return make_faces(tmp_path / "faces", families=20)


def test_load_dataset_opens_splits_features_and_images(faces: Path, tmp_path: Path) -> None:
    out = dfdc_prep.export_huggingface(faces, tmp_path / "out", shards=2).out
    found = datasets.load_dataset(str(out))
    assert {name: len(split) for name, split in found.items()} == {
        "train": 22,
        "validation": 10,
        "test": 8,
    }
    features = found["train"].features
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == ["REAL", "FAKE"]
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    for split in found:
        of_split = [row for row in rows if row["split"] == split]
        for sample, row in zip(found[split], of_split, strict=True):
            with Image.open(faces / row["path"]) as crop:
                assert np.array_equal(np.asarray(sample["image"]), np.asarray(crop))
            assert sample["label"] == int(row["label"] == "FAKE")
            assert (sample["video"], sample["family"]) == (row["video"], row["family"])


def test_bytes_are_those_of_the_crops(faces: Path, tmp_path: Path) -> None:
    out = dfdc_prep.export_huggingface(faces, tmp_path / "out").out
    rows = pq.read_table(out / "train-00000-of-00001.parquet").to_pylist()
    for row in rows:
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
        assert Image.open(io.BytesIO(row["image"]["bytes"])).size == (224, 224)


def test_a_single_file_and_a_stream_have_decoded_images(faces: Path, tmp_path: Path) -> None:
    out = dfdc_prep.export_huggingface(faces, tmp_path / "out", test_only=True).out
    file = str(out / "test-00000-of-00001.parquet")
    single = datasets.load_dataset("parquet", data_files=file, split="train")
    assert isinstance(single[0]["image"], Image.Image)
    stream = datasets.load_dataset(str(out), split="test", streaming=True)
    assert next(iter(stream))["image"].size == (224, 224)


def test_masks_are_images_where_there_are_any(faces: Path, tmp_path: Path) -> None:
    rows = pq.read_table(faces / "balanced.parquet").to_pylist()
    mask = np.zeros((224, 224), np.uint8)
    Image.fromarray(mask).save(faces / "mask.png")
    sha256 = hashlib.sha256((faces / "mask.png").read_bytes()).hexdigest()
    for row in rows:
        if row["label"] == "FAKE":
            row |= {"mask": "mask.png", "mask_sha256": sha256}
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), faces / "balanced.parquet")
    out = dfdc_prep.export_huggingface(faces, tmp_path / "out").out
    for sample in datasets.load_dataset(str(out), split="train"):
        assert (sample["mask"] is not None) == bool(sample["label"])


def test_names_in_the_card_are_harmless(tmp_path: Path) -> None:
    crops = [{"video": f"{at}.mp4", "dataset": "a`\n---\nb: [<script>"} for at in range(2)]
    faces = make_crops(tmp_path / "faces", crops)
    out = dfdc_prep.export_huggingface(faces, tmp_path / "out", test_only=True).out
    assert "Data sets: `a --- b: [<script>`." in (out / "README.md").read_text()
    assert len(datasets.load_dataset(str(out), split="test")) == 2
