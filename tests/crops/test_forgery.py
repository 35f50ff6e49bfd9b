"""Forged faces are told from compression, shifts and black borders; masks lie on the face."""

from functools import cache

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dfdc_prep.crops.forgery import Comparison, compare, regions_of
from dfdc_prep.crops.placement import EYES, NONE, Placement, place
from dfdc_prep.detectors.base import Face, Landmarks
from dfdc_prep.sample.face_swap import Swap, portraits, swap_face, swapped_region
from dfdc_prep.video.picture import Image, Still

SWAP = Swap(strength=0.95, fit=0.5, blur=0.8, tone=(2.0, -2.0, 1.0))


@cache
def face() -> Face:
    """The face of the first portrait, with its landmarks."""
    body = portraits()[0]
    left, top = body.points.min(axis=0).astype(int).tolist()
    right, bottom = body.points.max(axis=0).astype(int).tolist()
    eye, other = ((float(body.eyes[0] + shift), float(body.eyes[1])) for shift in (-41, 41))
    marks = Landmarks(eye, other, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    return Face(left, top, right - left, bottom - top, 1.0, marks)


@cache
def swapped() -> Image:
    return swap_face(*portraits(), SWAP)


def judged(
    original: Image, fake: Image, found: Placement | None = None, masked: bool = True
) -> Comparison:
    """Compare the crops of two pictures at the face."""
    found = found or place(face(), NONE, 0.3, 224)
    regions = regions_of(face(), found, original.shape[1], original.shape[0])
    crops = (found.cut(Still(picture)) for picture in (fake, original))
    return compare(*crops, regions, masked)


def as_jpeg(picture: Image, quality: int) -> Image:
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("align", [NONE, EYES])
@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
def test_a_swapped_face_is_forged_and_its_mask_covers_it(align: str, margin: float) -> None:
    found = place(face(), align, margin, 224)
    result = judged(portraits()[0].image, swapped(), found)
    assert result.forged is True
    assert result.mask is not None
    true = found.cut(
        Still(np.dstack([(255 * swapped_region(portraits()[0])).astype(np.uint8)] * 3))
    )
    shown, swap = result.mask >= 128, true[..., 0] >= 128
    assert (shown & swap).sum() / (shown | swap).sum() > 0.7


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_compression_is_no_forgery(quality: int) -> None:
    original = portraits()[0].image
    result = judged(original, as_jpeg(original, quality))
    assert result.forged is False
    assert result.mask is not None
    assert not result.mask.any()


@pytest.mark.parametrize("pixels", [0.5, 1.0, 2.5])
def test_a_shift_is_measured_and_is_no_forgery(pixels: float) -> None:
    original = portraits()[0].image
    matrix = np.array([[1, 0, pixels], [0, 1, 0.0]])
    moved = cv2.warpAffine(original, matrix, original.shape[1::-1], flags=cv2.INTER_CUBIC)
    result = judged(original, np.asarray(moved, np.uint8))
    assert result.forged is False
    assert result.shift == pytest.approx(pixels, abs=0.6)


def test_another_picture_does_not_line_up() -> None:
    original = portraits()[0].image
    other = cv2.resize(astronaut()[::-1], original.shape[1::-1])
    result = judged(original, np.asarray(other, np.uint8))
    assert result.forged is None
    assert result.mask is None


def test_a_change_of_colour_alone_is_forged() -> None:
    original = portraits()[0].image
    weight = swapped_region(portraits()[0])[..., None]
    tinted = original + weight * np.array([14, -4, -10])
    assert judged(original, tinted.clip(0, 255).astype(np.uint8)).forged is True


def test_what_lies_outside_the_frame_is_not_compared() -> None:
    """A face at the border: black beyond it, in both crops."""
    body, left = portraits()[0], face().x + 20
    cut = Face(-20, face().y, face().w, face().h, 1.0)
    regions = regions_of(cut, place(cut, NONE, 0.3, 224), 400, 400)
    assert not regions.around[:, 0].any()
    crops = [
        place(cut, NONE, 0.3, 224).cut(Still(np.ascontiguousarray(picture[:, left:])))
        for picture in (swapped(), body.image)
    ]
    assert compare(*crops, regions, masked=False).forged is True
