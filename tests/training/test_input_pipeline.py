"""The input pipeline: which images it reads, in which order, and its errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.errors import TrainingError
from manifests.splitting.split import SplitPlan
from tests.crop_sets import make_faces
from training.data import input_pipeline
from training.data.input_pipeline import decode_split, make_dataset, report_read_errors
from training.data.shards import Shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 crops to train on in four shards, 12 to validate, 10 to test."""
    folder = tmp_path_factory.mktemp("stream")
    options = (TFRecords(4), CropSelection(SplitPlan.parse("56/24/20")))
    write_crops(make_faces(folder / "faces", families=25), folder / "shards", *options)
    return folder / "shards"


@pytest.fixture
def shards(folder: Path) -> Shards:
    return Shards(folder)


def prints(data: tf.data.Dataset) -> list[bytes]:
    """Each image's bytes, in order."""
    return [image.tobytes() for images, _ in data for image in images.numpy()]


def crops(shards: Shards, split: str) -> list[np.ndarray]:
    """The pixels of a split's crops in the order of the manifest."""
    table = pq.read_table(shards.manifest, filters=[("split", "=", split)])
    faces = shards.folder.parent / "faces"
    return [np.asarray(Image.open(faces / path)) for path in table["path"].to_pylist()]


def test_evaluation_gives_every_crop_in_the_order_of_the_manifest(shards: Shards) -> None:
    data = make_dataset(shards, "train", 16)
    assert prints(data) == [crop.tobytes() for crop in crops(shards, "train")]
    labels = np.concatenate([labels for _, labels in data.as_numpy_iterator()])
    table = pq.read_table(shards.manifest, filters=[("split", "=", "train")])
    assert labels.dtype == np.float32
    assert labels.tolist() == [float(label == "FAKE") for label in table["label"].to_pylist()]


def test_a_batch_is_uint8_rgb(shards: Shards) -> None:
    images, labels = next(iter(make_dataset(shards, "test", 4)))
    assert (images.dtype, images.shape) == (tf.uint8, (4, 224, 224, 3))
    assert (labels.dtype, labels.shape) == (tf.float32, (4,))


def test_training_drops_the_remainder_and_repeats_no_crop(shards: Shards) -> None:
    data = make_dataset(shards, "train", 16, seed=42)
    assert data.element_spec[0].shape == (16, 224, 224, 3)
    seen = prints(data)
    assert len(seen) == len(set(seen)) == 16
    assert set(seen) <= {crop.tobytes() for crop in crops(shards, "train")}


def test_the_seed_determines_the_order_of_each_epoch(shards: Shards) -> None:
    def epochs(seed: int) -> list[list[bytes]]:
        data = make_dataset(shards, "train", 4, seed=seed)
        return [prints(data), prints(data)]

    first = epochs(1)
    assert first == epochs(1)
    assert first[0] != first[1]
    assert first != epochs(2)
    assert sorted(first[0]) == sorted(first[1])


def test_training_reads_every_crop_once(shards: Shards) -> None:
    data = make_dataset(shards, "train", 4, seed=42)
    assert sorted(prints(data)) == sorted(crop.tobytes() for crop in crops(shards, "train"))


def test_repeat_goes_on_after_an_epoch(shards: Shards) -> None:
    data = make_dataset(shards, "test", 10, seed=42, repeat=True)
    images = [sorted(image.tobytes() for image in batch.numpy()) for batch, _ in data.take(3)]
    assert images[0] == images[1] == images[2]


def test_count_records_of_a_split(shards: Shards) -> None:
    assert [shards.count(name) for name in ("train", "validation", "test")] == [28, 12, 10]


def test_an_invalid_shards_folder_is_an_error_message(shards: Shards, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="run dfdc-prep shard"):
        Shards(tmp_path / "none")
    with pytest.raises(TrainingError, match=r"a split 'holdout'.*found train, validation, test"):
        make_dataset(shards, "holdout", 4)
    broken = Path(shutil.copytree(shards.folder, tmp_path / "shards"))
    next(broken.glob("*-train.*")).unlink()
    with pytest.raises(TrainingError, match="expected the shard dfdc_faces-train"):
        Shards(broken)
    endless = '{"name": "x", "splits": [{"name": "train", "shardLengths": [1e999]}]}'
    for text in ('{"splits": 3}', endless):
        (broken / "dataset_info.json").write_text(text)
        with pytest.raises(TrainingError, match=r"no valid dataset_info\.json"):
            Shards(broken)


def test_a_split_without_shards_is_missing(shards: Shards, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shards.folder, tmp_path / "shards"))
    info = json.loads((copy / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = []
    (copy / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(TrainingError, match=r"a split 'train'.*found validation, test; write"):
        make_dataset(Shards(copy), "train", 4)


def test_a_damaged_record_is_an_error_message(shards: Shards, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shards.folder, tmp_path / "shards"))
    file = Shards(copy).files("test")[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(TrainingError, match="dfdc-prep verify"), report_read_errors(Shards(copy)):
        list(make_dataset(Shards(copy), "test", 4))


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_decoded_crops_come_in_the_same_order(shards: Shards, tmp_path: Path, where: str) -> None:
    decoded = decode_split(shards, "train", where, tmp_path)
    for options in ({}, {"seed": 42}, {"repeat": True, "seed": 5}):
        read = make_dataset(shards, "train", 8, **options).take(9)
        kept = make_dataset(shards, "train", 8, decoded=decoded, **options).take(9)
        assert kept.element_spec == read.element_spec
        for of_kept, of_read in zip(kept, read, strict=True):
            assert (of_kept[0].numpy() == of_read[0].numpy()).all()
            assert of_kept[1].numpy().tolist() == of_read[1].numpy().tolist()
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_no_room_for_decoded_crops(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert decode_split(shards, "train", "none", tmp_path) is None
    monkeypatch.setattr(input_pipeline, "_available_memory", lambda: 1_000_000)
    with pytest.raises(TrainingError, match="use --cache disk"):
        decode_split(shards, "train", "memory", tmp_path)
    with pytest.raises(TrainingError, match="free disk space, or leave out --cache"):
        decode_split(shards, "train", "disk", tmp_path / "missing")
