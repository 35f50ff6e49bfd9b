"""Extractions with masks: what is compared with what, and that it never depends on the run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dfdc_prep
from dfdc_prep.errors import ModelError
from tests.crop_sets import crop_options
from tests.forged_clips import make_family, make_two_people

Extract = Callable[..., pd.DataFrame]
NAMES = ("004.mp4", "004_982.mp4", "634.mp4", "634_660.mp4")


@pytest.fixture
def run(yunet_model: Path, tmp_path: Path) -> Extract:
    """Extract with YuNet into a folder of tmp_path; gives the manifest."""

    def call(source: Path, out: str = "faces", **options: object) -> pd.DataFrame:
        given = {"frames": 2, "workers": 2, "detector": "yunet", "detector_model": yunet_model}
        dfdc_prep.extract(source, tmp_path / out, **(given | options))  # type: ignore[arg-type]
        return pd.read_parquet(tmp_path / out / "manifest.parquet")

    return call


@pytest.fixture
def families(real_clips: Path, tmp_path: Path) -> Path:
    """A source of two families, each an original and a fake."""
    part = tmp_path / "dfdc" / "part_1"
    part.mkdir(parents=True)
    for original, fake in (NAMES[:2], NAMES[2:]):
        make_family(part, original, [fake])
    for name in NAMES:
        shutil.copyfile(real_clips / "dfdc_train_part_1" / name, part / name)
    return part.parent


def digest(faces: Path) -> dict[str, str]:
    files = [*faces.glob("crops/*/*/*"), faces / "manifest.parquet", faces / "metadata.csv"]
    return {str(f.relative_to(faces)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_fakes_are_compared_and_masked(run: Extract, families: Path, tmp_path: Path) -> None:
    rows = run(families, masks=True)
    real, fake = (rows[rows["label"] == label] for label in ("REAL", "FAKE"))
    assert real[["forged", "difference", "aligned", "mask"]].isna().all(axis=None)
    assert fake["forged"].tolist() == [True] * 4
    for row in fake.itertuples():
        encoded = (tmp_path / "faces" / row.mask).read_bytes()
        assert hashlib.sha256(encoded).hexdigest() == row.mask_sha256
        assert row.mask == row.path.removesuffix(".png") + ".mask.png"
        with Image.open(tmp_path / "faces" / row.mask) as mask:
            assert (mask.mode, mask.size) == ("L", (224, 224))
            assert np.asarray(mask).max() > 200


@pytest.mark.slow
def test_masks_change_no_crop_and_are_off_by_default(
    run: Extract, families: Path, tmp_path: Path
) -> None:
    plain, masked = run(families, "plain"), run(families, "masked", masks=True)
    assert plain["sha256"].tolist() == masked["sha256"].tolist()
    assert plain["forged"].isna().all()
    assert run(families, compare=True)["mask"].isna().all()
    assert not list((tmp_path / "faces").rglob("*.mask.png"))


@pytest.mark.slow
def test_workers_restarts_and_lost_masks_change_no_byte(
    run: Extract, families: Path, tmp_path: Path
) -> None:
    run(families, "two", masks=True)
    run(families, "one", masks=True, workers=1)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    next((tmp_path / "one").rglob("*.mask.png")).unlink()
    journal = tmp_path / "one" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"key": "partial')
    run(families, "one", masks=True)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_decoding_the_original_gives_what_its_crops_give(
    run: Extract, families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    from dfdc_prep.extraction import crops_out

    read = run(families, "read", masks=True, format=form)
    crops_at = crops_out.Original.crops_at

    def without_files(self: crops_out.Original, frames: list[crops_out.CroppedFrame]) -> object:
        for file in (tmp_path / "decoded").glob("crops/*/*/*"):
            if self.clip is not None and file.parent.name == self.clip.folder:
                file.write_bytes(b"damaged")
        return crops_at(self, frames)

    monkeypatch.setattr(crops_out.Original, "crops_at", without_files)
    decoded = extract_here(families, tmp_path / "decoded", form)
    columns = ["video", "frame", "forged", "difference", "aligned", "mask_sha256"]
    read = read[read["label"] == "FAKE"]
    assert decoded[columns].astype(str).values.tolist() == read[columns].astype(str).values.tolist()


def extract_here(source: Path, out: Path, form: str) -> pd.DataFrame:
    """The rows of the fakes, extracted in this process, family by family."""
    from dfdc_prep.catalog.reader import read_catalog
    from dfdc_prep.detectors.registry import choose_detector, make_detector
    from dfdc_prep.extraction.clip import ClipExtractor
    from dfdc_prep.extraction.schedule import FamilyQueue
    from tests.conftest import SHARED

    model = SHARED / "models" / "face_detection_yunet_2026may.onnx"
    detector = make_detector(choose_detector("yunet", model))
    (out / "crops").mkdir(parents=True)
    options = crop_options(frames=2, compare=True, masks=True, format=form)
    extractor, rows = ClipExtractor(options, detector), list[object]()
    for family in read_catalog(source, None).families():
        queue = FamilyQueue(family, options.share_boxes, options.compare)
        while ready := queue.next_clip():
            result = extractor.extract(ready[0], out, ready[1])
            queue.record_result(ready[0], result)
            rows += result.rows if ready[0].label == "FAKE" else ()
    return pd.DataFrame(rows)


def test_a_fake_with_boxes_of_its_own_is_compared_there(run: Extract, families: Path) -> None:
    rows = run(families, share_boxes=False, compare=True)
    fakes = rows[rows["label"] == "FAKE"]
    assert set(fakes["box_source"]) == {"own"}
    assert fakes["forged"].tolist() == [True] * 4


def test_without_its_original_nothing_is_known(run: Extract, families: Path) -> None:
    (families / "part_1" / "004.mp4").unlink()
    rows = run(families, masks=True)
    known = rows[rows["label"] == "FAKE"].set_index("video")["forged"]
    assert known["004_982.mp4"].isna().all()
    assert known["634_660.mp4"].notna().all()


@pytest.mark.slow
def test_of_two_people_the_swapped_one_is_forged(run: Extract, tmp_path: Path) -> None:
    original, swapped = make_two_people(tmp_path / "two" / "part_0", seed=1, frames=4)
    rows = run(tmp_path / "two", faces="all", frames=1, compare=True)
    for video, who in swapped.items():
        faces = rows[rows["video"] == video].sort_values("x")
        assert faces["forged"].tolist() == [who == 0, who == 1]
    assert rows[rows["video"] == original]["forged"].isna().all()


def test_original_and_fake_share_an_aligned_crop(run: Extract, families: Path) -> None:
    rows = run(families, preset="deepfakebench", frames=2, size=128, compare=True)
    assert set(rows["align"]) == {"five-point"}
    assert set(rows["margin"]) == {0.15}
    place = ["frame", *(name for name in rows if name.startswith("affine_"))]
    real, fake = (rows[rows["label"] == label][place].values for label in ("REAL", "FAKE"))
    assert real.tolist() == fake.tolist()
    assert rows[rows["label"] == "FAKE"]["forged"].all()


def test_run_json_records_preset_and_alignment(
    run: Extract, families: Path, tmp_path: Path
) -> None:
    run(families, preset="selimsef", frames=1)
    found = json.loads((tmp_path / "faces" / "run.json").read_text())
    assert found["preset"] == "selimsef"
    assert (found["options"]["align"], found["options"]["margin"]) == ("none", 0.3)


def test_alignment_without_landmarks_is_refused(families: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found hog; use --detector yunet"):
        dfdc_prep.extract(families, tmp_path / "faces", detector="hog", align="eyes")
