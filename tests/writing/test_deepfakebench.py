"""DeepfakeBench's layout, read back by the rules of its loader."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dfdc_prep
from dfdc_prep.errors import TableError
from dfdc_prep.writing.deepfakebench import ClipKey, choose_evenly, clip_folders, frame_names
from manifests.arrow import MANIFEST_SCHEMA
from tests.crop_sets import make_crops, make_faces

LABELS = {"DFDC_Real": 0, "DFDC_Fake": 1}


def read(out: Path, name: str, mode: str) -> Iterator[tuple[str, int, Path]]:
    """Yield clip, label and file of every frame, by the rules of the benchmark's loader."""
    file = out / "preprocessing" / "dataset_json" / f"{name}.json"
    groups = json.loads(file.read_text())[name]
    for group in groups.values():
        for entry in group[mode].values():
            frames = sorted(
                entry["frames"], key=lambda path: int(path.split("/")[-1].split(".")[0])
            )
            assert frames == entry["frames"]
            for frame in frames:
                assert frame.startswith("./")
                assert "\\" not in frame
                assert frame.count("frames") == 1
                assert frame.count(".png") == 1
                yield frame.split("/")[-2], LABELS[entry["label"]], out / frame


def counted(out: Path, name: str, mode: str) -> dict[int, int]:
    return dict(Counter(label for _, label, _ in read(out, name, mode)))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_loader_reads_every_split(tmp_path: Path, suffix: str) -> None:
    faces = make_faces(tmp_path / "faces", families=20, fakes=2, suffix=suffix)
    out = dfdc_prep.export_deepfakebench(faces, tmp_path / "out", name="mine").out
    assert counted(out, "mine", "train") == {0: 11, 1: 22}
    assert counted(out, "mine", "test") == {0: 4, 1: 8}
    assert counted(out, "mine_val", "test") == {0: 5, 1: 10}
    for _, _, file in read(out, "mine", "train"):
        assert cv2.imread(str(file)).shape == (224, 224, 3)


def test_png_crops_are_linked_and_jpegs_keep_their_pixels(tmp_path: Path) -> None:
    for suffix in ("png", "jpg"):
        faces = make_faces(tmp_path / suffix, families=5, suffix=suffix)
        out = dfdc_prep.export_deepfakebench(faces, tmp_path / f"out-{suffix}").out
        rows = pq.read_table(out / "manifest.parquet").to_pylist()
        for row in rows:
            crop, frame = faces / row["path"], out / row["exported_path"]
            assert os.path.samefile(crop, frame) == (suffix == "png")
            assert frame.read_bytes().startswith(b"\x89PNG")
            with Image.open(crop) as first, Image.open(frame) as second:
                assert np.array_equal(np.asarray(first), np.asarray(second))


def test_test_only(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=3)
    out = dfdc_prep.export_deepfakebench(faces, tmp_path / "out", test_only=True).out
    assert counted(out, "dfdc_faces", "train") == {}
    assert counted(out, "dfdc_faces", "test") == {0: 3, 1: 3}
    assert len(list((out / "preprocessing" / "dataset_json").iterdir())) == 1


HOSTILE = [
    ("part_0", "a b.mp4"),
    ("part_1", "a b.mp4"),
    ("part_0", "a.b.mp4"),
    ("part_0", "frames.mp4"),
    ("part_0", "frames.png.mp4"),
    ("part_0", "глаз.mp4"),
    ("part_0", "лицо.mp4"),
    ("part_0", "..mp4"),
    ("part_0", "\\\\server\\x.mp4"),
    ("part_0", "A B.mp4"),
    ("part_0", "x" * 300),
    ("part_0", "-rf.mp4"),
]


def test_hostile_names(tmp_path: Path) -> None:
    crops: list[dict[str, Any]] = [{"part": part, "video": video} for part, video in HOSTILE]
    faces = make_crops(tmp_path / "faces", [*crops, {"video": "f.mp4", "label": "FAKE"}])
    out = dfdc_prep.export_deepfakebench(faces, tmp_path / "out", test_only=True).out
    found = list(read(out, "dfdc_faces", "test"))
    assert len({clip.casefold() for clip, _, _ in found}) == len(HOSTILE) + 1
    assert all(cv2.imread(str(file)) is not None for _, _, file in found)


@given(st.lists(st.tuples(st.sampled_from("pq"), st.text(max_size=12)), unique=True, min_size=1))
def test_folder_names_are_safe_and_differ(clips: list[tuple[str, str]]) -> None:
    keys = [ClipKey(part, video, "REAL", "test") for part, video in clips]
    names = clip_folders(keys)
    assert len({name.casefold() for name in names.values()}) == len(keys)
    for name in names.values():
        assert name.replace("-", "").replace("_", "").isalnum() or set(name) <= set("-_")
        assert name.isascii()
        assert "frames" not in name
    assert clip_folders(reversed(keys)) == names


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "my_frames", "FF-DF", "FaceShifter", "a/b", "x" * 200, "-x"]
)
def test_names_that_the_loader_cannot_read(tmp_path: Path, name: str) -> None:
    faces = make_faces(tmp_path / "faces", families=5)
    with pytest.raises(TableError, match="expected a name of letters, digits"):
        dfdc_prep.export_deepfakebench(faces, tmp_path / "out", name=name)


def test_splits_of_other_names_are_an_error(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=5)
    with pytest.raises(TableError, match="expected the splits train, validation and test"):
        dfdc_prep.export_deepfakebench(faces, tmp_path / "out", split="fit=80/test=20")


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=60),
    st.integers(1, 40),
    st.booleans(),
)
def test_crops_are_chosen_evenly(faces: list[int], most: int, known: bool) -> None:
    frames = [at if known else None for at, count in enumerate(faces) for _ in range(count)]
    chosen = choose_evenly(frames, most)
    assert chosen == sorted(set(chosen))
    assert 0 < len(chosen) <= most
    if len(frames) <= most:
        assert chosen == list(range(len(frames)))
    if known and max(faces) <= most:  # whole frames
        kept = Counter(frames[at] for at in chosen)
        assert all(count == faces[frame] for frame, count in kept.items() if frame is not None)
        gaps = np.diff(sorted(frame for frame in kept if frame is not None))
        assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_frames_of_a_clip_with_two_faces(tmp_path: Path) -> None:
    crops = [
        {"video": f"{label}.mp4", "label": label, "frame": 10 * at, "face": face}
        for label in ("REAL", "FAKE")
        for at in range(20)
        for face in range(2)
    ]
    faces = make_crops(tmp_path / "faces", crops)
    out = dfdc_prep.export_deepfakebench(faces, tmp_path / "out", test_only=True).out
    found = list(read(out, "dfdc_faces", "test"))
    assert Counter(clip for clip, _, _ in found) == {"REAL": 32, "FAKE": 32}
    assert frame_names([10, 10, 20]) == ["000.png", "001.png", "002.png"]
    assert frame_names([10, 200, 1234]) == ["010.png", "200.png", "1234.png"]


def test_masks_lie_beside_the_frames(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=5)
    rows = pq.read_table(faces / "balanced.parquet").to_pylist()
    for row in rows:
        if row["label"] == "FAKE":
            row["mask"] = row["path"].removesuffix(".png") + ".mask.png"
            Image.fromarray(np.full((224, 224), 255, np.uint8)).save(faces / row["mask"])
            row["mask_sha256"] = hashlib.sha256((faces / row["mask"]).read_bytes()).hexdigest()
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), faces / "balanced.parquet")
    out = dfdc_prep.export_deepfakebench(faces, tmp_path / "out").out
    for _, label, file in read(out, "dfdc_faces", "train"):
        mask = Path(str(file).replace("frames", "masks"))
        assert mask.is_file() == bool(label)
    assert not list(out.rglob("landmarks"))
