"""Tar files of `export webdataset`, read back by the real library and by tarfile."""

import gc
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds

import dfdc_prep
from tests.crop_sets import make_crops, make_faces

#: The library leaves files open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Close the library's files while their warnings are ignored."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("webdataset") / "faces", families=20)


@pytest.fixture(scope="module")
def out(faces: Path) -> Path:
    return dfdc_prep.export_webdataset(faces, faces.parent / "out", shards=2).out


def samples(out: Path, split: str) -> list[dict[str, Any]]:
    files = [str(path) for path in sorted(out.glob(f"dfdc_faces-{split}-*.tar"))]
    return list(wds.WebDataset(files, shardshuffle=False, empty_check=False))


def test_samples_are_the_crops_in_the_order_of_the_manifest(faces: Path, out: Path) -> None:
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    for split in ("train", "validation", "test"):
        of_split = [row for row in rows if row["split"] == split]
        found = samples(out, split)
        assert [sample["__key__"] for sample in found] == [
            f"{split}-{number:08d}" for number in range(len(of_split))
        ]
        for sample, row in zip(found, of_split, strict=True):
            assert sample["png"] == (faces / row["path"]).read_bytes()
            assert int(sample["cls"]) == int(row["label"] == "FAKE")
            values = json.loads(sample["json"])
            assert values["path"] == row["path"]
            assert values["family"] == row["family"]
            assert values["label"] == row["label"]


def test_the_library_decodes_images_and_labels(out: Path) -> None:
    files = str(out / "dfdc_faces-train-{000000..000001}.tar")
    data = wds.WebDataset(files, shardshuffle=False).decode("rgb8").to_tuple("png", "cls", "json")
    found = list(data)
    assert len(found) == 22
    for image, label, values in found:
        assert (image.shape, image.dtype) == ((224, 224, 3), np.uint8)
        assert label == int(values["label"] == "FAKE")


def test_tar_headers_say_nothing_of_this_machine(out: Path) -> None:
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
                assert member.mode == 0o644


def test_jpegs_are_called_jpg_and_crops_of_any_size_are_exported(tmp_path: Path) -> None:
    crops: list[dict[str, Any]] = [{"video": "a b.c.mp4", "side": 256, "time_s": float("nan")}]
    faces = make_crops(tmp_path / "faces", [*crops, {"video": "ж", "label": "FAKE", "side": 256}])
    out = dfdc_prep.export_webdataset(
        faces, tmp_path / "out", test_only=True, image_format="jpeg"
    ).out
    found = {json.loads(each["json"])["video"]: each for each in samples(out, "test")}
    assert set(found) == {"a b.c.mp4", "ж"}
    assert all(each["jpg"].startswith(b"\xff\xd8") for each in found.values())
    assert json.loads(found["a b.c.mp4"]["json"])["time_s"] is None
