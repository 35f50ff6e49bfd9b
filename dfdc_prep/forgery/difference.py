"""How two crops of the same place differ: shift, structure, colour.

Both are scaled so that the face has about 70 pixels: forgeries show at that size, and much of the
compression noise does not.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dfdc_prep.forgery.regions import Floats, Regions
from dfdc_prep.video.picture import Image

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


@dataclass(frozen=True)
class ScaledPair:
    """A fake's crop and its original's, scaled to the side of the regions, without a shift.

    Attributes:
        fake, original: RGB uint8 [side, side, 3]; the original is moved onto the fake.
        shift: distance that the original was found off, pixels.
    """

    fake: Image
    original: Image
    shift: float

    def dissimilarity(self, detail_lost: bool = False) -> Floats:
        """1 - SSIM of the luma, clipped to 0..1, float32 [side, side] (Wang et al., 2004).

        Args:
            detail_lost: compare with the blurred original too, and take the smaller value: a
                loss of detail is no forgery.
        """
        fake, original = _luma(self.fake), _luma(self.original)
        found = _dissimilarity(original, fake)
        if detail_lost:
            blurred = np.asarray(cv2.GaussianBlur(original, (0, 0), _DETAIL), np.uint8)
            found = np.minimum(found, _dissimilarity(blurred, fake))
        return found

    def colour_difference(self) -> Floats:
        """Distance of the blurred colours in CIELAB (CIE76), float32 [side, side]."""
        fake, original = (
            cv2.cvtColor(
                cv2.GaussianBlur(image, (0, 0), _COLOUR_BLUR).astype(np.float32) / 255,
                cv2.COLOR_RGB2LAB,
            )
            for image in (self.fake, self.original)
        )
        return np.asarray(np.sqrt(((fake - original) ** 2).sum(axis=2)), np.float32)


def scale_pair(fake: Image, original: Image, regions: Regions) -> ScaledPair:
    """Scale two crops for their comparison, and move the original onto the fake.

    Args:
        fake, original: crops cut at one place, RGB uint8 [size, size, 3].
    """
    side = (regions.side, regions.side)
    fake, original = (
        cv2.resize(image, side, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        for image in (fake, original)
    )
    luma, moved = _luma(fake), original
    x = y = 0.0
    for _ in range(_SHIFT_ROUNDS):
        across, down = _shift(_luma(moved), luma, regions)
        x, y = x + across, y + down
        if np.hypot(across, down) <= _SHIFT_NOISE:
            break
        matrix = np.array([[1, 0, x], [0, 1, y]])
        moved = cv2.warpAffine(
            original, matrix, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.uint8, copy=False)
    return ScaledPair(fake, moved, float(np.hypot(x, y)))


def _luma(image: Image) -> Image:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _dissimilarity(original: Image, fake: Image) -> Floats:
    # Imported here because scikit-image loads slowly, and most runs may have nothing to compare.
    from skimage.metrics import structural_similarity

    _, similarity = structural_similarity(original, fake, full=True)
    return np.asarray(np.clip(1 - similarity, 0, 1), np.float32)


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
    if response < _LEAST_RESPONSE:
        return 0.0, 0.0
    return x - bias[0], y - bias[1]


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
