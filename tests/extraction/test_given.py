"""Clips whose faces are given: no detector looks, and only the author's clip is cropped."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.detectors.base import Face
from dfdc_prep.detectors.registry import choose_detector, make_detector
from dfdc_prep.extraction.clip import Boxes, ClipExtractor, ClipResult, Given, Relatives
from tests.crop_sets import crop_options


@pytest.fixture(scope="module")
def clip(real_clips: Path) -> Clip:
    return next(clip for clip in read_catalog(real_clips).clips if clip.video == "004.mp4")


@pytest.fixture(scope="module")
def found(
    clip: Clip, yunet_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ClipResult, Boxes]:
    """What is extracted of a clip, and the boxes of its crops."""
    out = tmp_path_factory.mktemp("found")
    (out / "crops").mkdir()
    detector = make_detector(choose_detector("yunet", yunet_model))
    result = ClipExtractor(crop_options(frames=3), detector).extract(clip, out)
    rows = {frame: [*each] for frame, each in groupby(result.rows, lambda row: row["frame"])}
    faces = [
        tuple(Face(*(row[n] for n in ("x", "y", "w", "h", "score"))) for row in each)  # type: ignore[literal-required]
        for each in rows.values()
    ]
    first = result.rows[0]
    frames = tuple(frame for frame in rows if frame is not None)
    boxes = Boxes("original", first["width"], first["height"], frames, tuple(faces))
    return result, boxes


def rebuilt(clip: Clip, out: Path, given: Given) -> ClipResult:
    (out / "crops").mkdir()
    return ClipExtractor(crop_options(frames=3), None).extract(clip, out, Relatives(given=given))


def test_given_boxes_give_the_same_crops_without_a_detector(
    clip: Clip, found: tuple[ClipResult, Boxes], tmp_path: Path
) -> None:
    result, boxes = found
    given = Given(boxes, "yunet", "ok", lambda path: f"read {path.name}")
    again = rebuilt(clip, tmp_path, given)
    assert (again.status, again.copy, again.frames_decoded) == ("ok", "read 004.mp4", 3)
    assert [row["sha256"] for row in again.rows] == [row["sha256"] for row in result.rows]
    assert {row["box_source"] for row in again.rows} == {"original"}
    assert {row["detector"] for row in again.rows} == {"yunet"}


def test_another_clip_of_the_name_is_not_cropped(
    clip: Clip, found: tuple[ClipResult, Boxes], tmp_path: Path
) -> None:
    result = rebuilt(clip, tmp_path, Given(found[1], "yunet", "ok", lambda _: "other clip"))
    assert (result.status, result.copy, result.rows) == ("missing", "other clip", ())
    assert result.error == "expected the author's 004.mp4, found another clip of that name"


def test_frames_of_another_size_are_not_cropped(
    clip: Clip, found: tuple[ClipResult, Boxes], tmp_path: Path
) -> None:
    boxes = replace(found[1], width=100, height=50)
    result = rebuilt(clip, tmp_path, Given(boxes, "yunet", "ok", lambda _: "re-encoded"))
    assert (result.status, result.copy, result.rows) == ("unreadable", "re-encoded", ())
    assert result.error is not None
    assert result.error.startswith("expected frames of 100x50, as in the recipe, found ")


@pytest.mark.parametrize("status", ["no_face", "truncated"])
def test_a_clip_without_crops_is_not_decoded(clip: Clip, tmp_path: Path, status: str) -> None:
    given = Given(Boxes("own", None, None, (), ()), "yunet", status, lambda _: "same")
    result = rebuilt(clip, tmp_path, given)
    assert (result.status, result.copy, result.frames_decoded) == (status, "same", 0)
    assert (result.error is None) == (status == "no_face")
