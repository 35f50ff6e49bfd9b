"""Decides whether a crop of a fake was forged, and where, by its original's crop of the same place.

A fake is re-encoded, so both the face and its surroundings differ from the original; a forgery
changes the face alone. What the surroundings differ by is therefore subtracted from what the face
differs by. Both crops are scaled so that the face has about 70 pixels: forgeries show at that size,
and much of the compression noise does not. docs/forgery.md reports how the thresholds were chosen.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.crops.placement import Placement
from dfdc_prep.detectors.base import Face
from dfdc_prep.video.picture import Image

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Longer side of the face box, in pixels, in the scaled crops that are compared. With the default
#: margin and size, they are half as large as the crops.
_FACE_SIDE = 70
#: Smallest and largest side of the scaled crops, pixels.
_SIDES = (32, 448)
#: The surroundings begin where the ellipse in the face box, enlarged by this factor, ends ...
_SURROUNDINGS = 1.35
#: ... or, where a crop has little beyond, at the ellipse itself.
_LEAST_SHARE = 0.05

#: Share of the surroundings' difference that is taken from the face's: the surroundings lose more
#: to compression where they have more texture than a face.
_NOISE_SHARE = 0.5
#: A face is forged if its 1 - SSIM exceeds its surroundings' share by this ...
FORGED_STRUCTURE = 0.025
#: ... or its colour, in units of CIELAB, by this.
FORGED_COLOUR = 2.5
#: Above this, no loss of detail explains the difference in structure.
_CERTAIN = 0.12
#: Shifts of more than this many pixels, for a face of 70 pixels, are no alignment.
_MOST_SHIFT = 3.0
#: Nor is one where the surroundings differ by more than this 1 - SSIM.
_MOST_AROUND = 0.4

#: Standard deviation of the blur that stands in for the loss of detail by compression, pixels.
_DETAIL = 1.0
#: Standard deviation of the blur before colours are compared, pixels: noise is finer than a face.
_COLOUR_BLUR = 2.0
#: Shifts up to this many pixels are within the error of their measurement.
_SHIFT_NOISE = 0.12
#: The window biases each measurement towards zero: how often the rest is measured again.
_SHIFT_ROUNDS = 6
#: Below this response of the phase correlation the surroundings show no shift.
_LEAST_RESPONSE = 0.3

#: A pixel is changed where the blurred 1 - SSIM, or the colour, differs by at least this ...
_STRUCTURE, _COLOUR = 0.16, 5.0
#: ... and by at least this factor times what nine tenths of the surroundings differ by.
_OVER_NOISE = 2.0
#: Below this share of those bounds a pixel is untouched.
_FLOOR = 0.5
#: Radii, as in `Regions.radius`, between which changes fade out: forgeries lie on the face, while
#: hair and collars show compression.
_REACH = (1.2, 1.5)
#: Sizes in units of the face's longer side: the blur of the structure, gaps that are closed (smooth
#: skin differs little inside a changed face), specks that are removed, and the soft edge.
_BLUR, _GAP, _SPECK, _EDGE = 0.025, 0.25, 0.12, 0.03
#: In a mask video, a pixel is changed whose brightest channel has this level: some masks are in
#: colour, and compression leaves black at less.
_GIVEN = 64


@dataclass(frozen=True)
class Regions:
    """Regions of a crop scaled to `side` x `side` pixels."""

    side: int  # side of the scaled crop, pixels
    face_side: float  # longer side of the face box, pixels of the scaled crop
    # distance from the center of the face box, 1 on the ellipse inscribed in it; float32 [side,
    # side]
    radius: Floats
    face: Mask  # inside that ellipse and inside the frame, bool [side, side]
    around: Mask  # outside the face and inside the frame, bool [side, side]; may be empty
    scale: float  # scaled pixels per source pixel


@dataclass(frozen=True)
class Comparison:
    """A fake's crop beside its original's."""

    forged: bool | None  # whether the face was changed; None if the crops do not line up
    difference: float  # mean 1 - SSIM inside the face, 0 to 1
    shift: float  # distance by which the crops were off, source pixels
    # where the crop was changed, 0 to 255, uint8 [size, size]; all 0 unless forged; None if it was
    # not asked for or the crops do not line up
    mask: Image | None = None


def regions_of(face: Face, place: Placement, width: int, height: int) -> Regions:
    """Find the regions of a crop cut around a face box from a frame of this size, pixels."""
    in_crop = max(face.w, face.h) * place.affine.scale
    side = min(max(round(place.size * _FACE_SIDE / in_crop), _SIDES[0]), _SIDES[1], place.size)
    # Map the center of each pixel to the source, and there into units of the box.
    centers = (np.arange(side) + 0.5) * (place.size / side)
    back = place.affine.inverse()
    x = back.xx * centers[None, :] + back.xy * centers[:, None] + back.x0
    y = back.yx * centers[None, :] + back.yy * centers[:, None] + back.y0
    across = (x - face.x - face.w / 2) / (face.w / 2)
    down = (y - face.y - face.h / 2) / (face.h / 2)
    radius = np.hypot(across, down).astype(np.float32)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    around = inside & (radius > _SURROUNDINGS)
    if around.mean() < _LEAST_SHARE:
        around = inside & (radius > 1)
    return Regions(
        side,
        in_crop * side / place.size,
        radius,
        inside & (radius <= 1),
        around,
        place.affine.scale * side / place.size,
    )


def compare(fake: Image, original: Image, regions: Regions, masked: bool) -> Comparison:
    """Compare two crops cut at one place, RGB uint8 [size, size, 3].

    Args:
        masked: also make the mask.
    """
    side, size = (regions.side, regions.side), fake.shape[0]
    fake, original = (
        cv2.resize(image, side, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        for image in (fake, original)
    )
    original, distance = _aligned(original, fake, regions)
    structure = _dissimilarity(original, fake)
    difference = round(_mean(structure, regions.face), 4)
    shift = round(distance / regions.scale, 2)
    if distance > _MOST_SHIFT or _mean(structure, regions.around) > _MOST_AROUND:
        return Comparison(None, difference, shift)
    forged = _excess(structure, regions) > _CERTAIN
    if not forged and _excess(structure, regions) > FORGED_STRUCTURE:
        # A loss of detail is no forgery: compare with the blurred original too.
        blurred = np.asarray(cv2.GaussianBlur(_luma(original), (0, 0), _DETAIL), np.uint8)
        structure = np.minimum(structure, _one_minus_ssim(blurred, _luma(fake)))
        forged = _excess(structure, regions) > FORGED_STRUCTURE
    forged = forged or _excess(_colour_difference(original, fake), regions) > FORGED_COLOUR
    if not masked:
        return Comparison(forged, difference, shift)
    if not forged:
        return Comparison(forged, difference, shift, np.zeros((size, size), np.uint8))
    mask = _change_mask(structure, _colour_difference(original, fake), regions, size)
    return Comparison(forged, difference, shift, mask)


def given_mask(shown: Image) -> Image:
    """The mask that a crop of a mask video shows: 0 or 255, uint8 [size, size].

    Args:
        shown: the crop, RGB uint8 [size, size, 3], cut and scaled as that of the clip.
    """
    return np.where(shown.max(axis=2) >= _GIVEN, 255, 0).astype(np.uint8)


def _excess(values: Floats, regions: Regions) -> float:
    """By how much the face differs more than the share of its surroundings."""
    return _mean(values, regions.face) - _NOISE_SHARE * _mean(values, regions.around)


def _mean(values: Floats, region: Mask) -> float:
    """The mean inside a region, 0 if it is empty."""
    return float(values[region].mean(dtype=np.float64)) if region.any() else 0.0


def _luma(image: Image) -> Image:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _dissimilarity(original: Image, fake: Image) -> Floats:
    """1 - SSIM of the luma, clipped to 0..1, float32 [side, side] (Wang et al., 2004)."""
    return _one_minus_ssim(_luma(original), _luma(fake))


def _one_minus_ssim(original: Image, fake: Image) -> Floats:
    # Imported here because scikit-image loads slowly, and most runs may have nothing to compare.
    from skimage.metrics import structural_similarity

    _, similarity = structural_similarity(original, fake, full=True)
    return np.asarray(np.clip(1 - similarity, 0, 1), np.float32)


def _colour_difference(original: Image, fake: Image) -> Floats:
    """Distance of the blurred colours in CIELAB (CIE76), float32 [side, side]."""
    fake_lab, original_lab = (
        cv2.cvtColor(
            cv2.GaussianBlur(image, (0, 0), _COLOUR_BLUR).astype(np.float32) / 255,
            cv2.COLOR_RGB2LAB,
        )
        for image in (fake, original)
    )
    return np.asarray(np.sqrt(((fake_lab - original_lab) ** 2).sum(axis=2)), np.float32)


def _aligned(original: Image, fake: Image, regions: Regions) -> tuple[Image, float]:
    """Move a scaled original onto its fake; also return how far it was off, pixels."""
    luma, moved = _luma(fake), original
    x = y = 0.0
    for _ in range(_SHIFT_ROUNDS):
        across, down = _shift(_luma(moved), luma, regions)
        x, y = x + across, y + down
        if np.hypot(across, down) <= _SHIFT_NOISE:
            break
        matrix = np.array([[1, 0, x], [0, 1, y]])
        side = (regions.side, regions.side)
        moved = cv2.warpAffine(
            original, matrix, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.uint8, copy=False)
    return moved, float(np.hypot(x, y))


def _shift(original: Image, fake: Image, regions: Regions) -> tuple[float, float]:
    """The shift of the surroundings from the original to the fake, x and y in pixels.

    By phase correlation (OpenCV's, to a fraction of a pixel). The face is left out: a forgery
    moves it.
    """
    window, bias = _window(regions.side)
    window = window * cv2.GaussianBlur(regions.around.astype(np.float32), (0, 0), 3)
    total = float(window.sum())
    if not total:
        return 0.0, 0.0
    levels = [image.astype(np.float32) for image in (original, fake)]
    levels = [image - float((image * window).sum()) / total for image in levels]
    (x, y), response = cv2.phaseCorrelate(levels[0], levels[1], window)
    return (x - bias[0], y - bias[1]) if response >= _LEAST_RESPONSE else (0.0, 0.0)


@lru_cache(maxsize=32)
def _window(side: int) -> tuple[Floats, tuple[float, float]]:
    """The window for a side, and the shift that OpenCV finds between equal images.

    OpenCV 5.0 finds half a pixel where the side is even.
    """
    window = np.minimum(2 * cv2.createHanningWindow((side, side), cv2.CV_32F), 1)
    window = window.astype(np.float32, copy=False)
    noise = np.random.default_rng(0).random((side, side), np.float32)
    bias, _ = cv2.phaseCorrelate(noise, noise, window)
    return window, (bias[0], bias[1])


def _change_mask(structure: Floats, colour: Floats, regions: Regions, size: int) -> Image:
    """Where a crop of a size was changed: 0 untouched to 255 changed, uint8 [size, size]."""
    unit = regions.face_side
    structure = np.asarray(cv2.GaussianBlur(structure, (0, 0), _BLUR * unit), np.float32)
    evidence = np.maximum(
        structure / _bound(structure, regions.around, _STRUCTURE),
        colour / _bound(colour, regions.around, _COLOUR),
    )
    near, far = _REACH
    within = np.clip((far - regions.radius) / (far - near), 0, 1)
    changed = np.clip((evidence - _FLOOR) / (1 - _FLOOR), 0, 1) * within
    # Pad, so that closing does not fill up to the border of the crop.
    pad = _odd(_GAP * unit)
    padded = cv2.copyMakeBorder(
        changed.astype(np.float32), pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0
    )
    for operation, width in ((cv2.MORPH_CLOSE, pad), (cv2.MORPH_OPEN, _odd(_SPECK * unit))):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        padded = cv2.morphologyEx(padded, operation, disc)
    smooth = cv2.GaussianBlur(padded, (0, 0), _EDGE * unit)[pad:-pad, pad:-pad]
    scaled = cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.round(np.clip(scaled, 0, 1) * 255), np.uint8)


def _bound(values: Floats, around: Mask, least: float) -> float:
    """The value of a changed pixel: `least`, or more where the surroundings are noisy."""
    if not around.any():
        return least
    return max(least, _OVER_NOISE * float(np.percentile(values[around], 90)))


def _odd(width: float) -> int:
    return max(1, int(width)) | 1
