"""Masks cut out of the mask video beside a fake, and what stands in where it does not serve."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

import dfdc_prep
from dfdc_prep.extraction.summary import RunSummary
from dfdc_prep.sample.builder import FamilyPlan
from dfdc_prep.video.picture import Image
from tests.encoded import decode_sequentially
from tests.forged_clips import make_masked_family, swapped

Run = Callable[..., tuple[pd.DataFrame, RunSummary]]
MASKS = Path("manipulated_sequences/Deepfakes/masks/videos/000_001.mp4")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FamilyPlan]:
    source = tmp_path_factory.mktemp("forensics")
    return source, make_masked_family(source)


@pytest.fixture
def source(family: tuple[Path, FamilyPlan], tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(family[0], tmp_path / "source"))


@pytest.fixture
def run(yunet_model: Path, tmp_path: Path) -> Run:
    """Extract with YuNet; gives the fake's rows and the summary."""

    def call(
        source: Path, out: str = "faces", **options: object
    ) -> tuple[pd.DataFrame, RunSummary]:
        given = {"frames": 4, "workers": 2, "masks": True, "detector_model": yunet_model} | options
        summary = dfdc_prep.extract(source, tmp_path / out, **given)  # type: ignore[arg-type]
        rows = pd.read_parquet(tmp_path / out / "manifest.parquet")
        assert rows[rows["label"] == "REAL"]["mask_source"].isna().all()
        return rows[rows["label"] == "FAKE"], summary

    return call


def masks_of(faces: Path, rows: pd.DataFrame) -> list[np.ndarray]:
    return [cv2.imread(str(faces / path), cv2.IMREAD_UNCHANGED) for path in rows["mask"]]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("align", ["none", "five-point"])
def test_masks_are_cut_out_of_the_mask_video_as_crops_are(
    run: Run, family: tuple[Path, FamilyPlan], tmp_path: Path, align: str
) -> None:
    source, plan = family
    rows, summary = run(source, align=align)
    assert rows["mask_source"].tolist() == ["given"] * 4
    assert rows["forged"].tolist() == [True] * 4
    for row, mask in zip(rows.itertuples(), masks_of(tmp_path / "faces", rows), strict=True):
        assert set(np.unique(mask)) == {0, 255}
        matrix = [[getattr(row, f"affine_{a}{b}") for b in "xy0"] for a in "xy"]
        assert overlap(mask == 255, swapped(plan, row.frame, np.array(matrix))) > 0.97
    assert "computed" not in summary.text()


def test_computed_masks_agree_with_given_ones(run: Run, source: Path, tmp_path: Path) -> None:
    given, _ = run(source)
    (source / MASKS).unlink()
    computed, _ = run(source, "computed")
    assert computed["mask_source"].tolist() == ["computed"] * 4
    assert given["sha256"].tolist() == computed["sha256"].tolist()
    pairs = zip(
        masks_of(tmp_path / "faces", given), masks_of(tmp_path / "computed", computed), strict=True
    )
    assert min(overlap(one == 255, other >= 128) for one, other in pairs) > 0.85


def test_a_mask_needs_no_original(run: Run, source: Path) -> None:
    (source / "original_sequences/youtube/c23/videos/000.mp4").unlink()
    rows, _ = run(source)
    assert rows["mask_source"].tolist() == ["given"] * 4
    assert rows["forged"].isna().all()


def damaged(path: Path) -> None:
    path.write_bytes(b"no video")


def shortened(path: Path) -> None:
    written(path, decode_sequentially(path)[:12])


def scaled(path: Path) -> None:
    written(path, [cv2.resize(each, (640, 360)) for each in decode_sequentially(path)])


def written(path: Path, images: Sequence[Image]) -> None:
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=25)
        stream.height, stream.width = images[0].shape[:2]
        for image in images:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        clip.mux(stream.encode())


@pytest.mark.parametrize(
    ("change", "given", "told"),
    [
        (damaged, 0, "expected a video in the mask video 000_001.mp4, found none"),
        (shortened, 2, "expected 4 frames of the mask video 000_001.mp4, found 2"),
        (scaled, 0, "expected 1280x720 in the mask video 000_001.mp4, found 640x360"),
    ],
)
def test_what_a_mask_video_does_not_give_is_computed_and_told(
    run: Run, source: Path, tmp_path: Path, change: Callable[[Path], None], given: int, told: str
) -> None:
    change(source / MASKS)
    rows, summary = run(source)
    assert rows["mask_source"].tolist() == ["given"] * given + ["computed"] * (4 - given)
    clips = pd.read_parquet(tmp_path / "faces" / "clips.parquet").set_index("video")
    assert clips.loc["000_001.mp4", "mask_error"].startswith(told)
    assert clips.loc["000_001.mp4", "status"] == "ok"
    assert clips["mask_error"].notna().tolist() == [True, False]
    assert f"of 1 clip, as mask_error in clips.parquet says: {told}" in summary.text()
    _, again = run(source)
    assert told in again.text()


def test_a_mask_video_that_came_or_went_makes_its_family_again(run: Run, source: Path) -> None:
    kept = (source / MASKS).read_bytes()
    (source / MASKS).unlink()
    assert run(source)[0]["mask_source"].tolist() == ["computed"] * 4
    (source / MASKS).write_bytes(kept)
    assert run(source)[0]["mask_source"].tolist() == ["given"] * 4


def test_without_masks_mask_videos_are_not_looked_for(
    run: Run, source: Path, tmp_path: Path
) -> None:
    rows, _ = run(source, masks=False)
    assert rows[["mask", "mask_source"]].isna().all(axis=None)
    journal = (tmp_path / "faces" / "journal.jsonl").read_bytes()
    (source / MASKS).unlink()
    run(source, masks=False)
    assert (tmp_path / "faces" / "journal.jsonl").read_bytes() == journal
