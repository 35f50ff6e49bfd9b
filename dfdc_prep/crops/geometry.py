"""Box and margin to a square, square to a crop: the only place that knows how one is cut.

A square keeps the face's proportions: scaling an oblong box to 224x224 would distort every
face by its own factor.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dfdc_prep.detectors.base import Face
from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.video.picture import Image, Picture

SIZE = 224
MARGIN = 0.3
JPEG_QUALITY = 95
FORMATS = ("png", "jpg")

_ENCODING = {
    # Paeth's filter alone and run lengths: on face crops an eighth smaller than what OpenCV's
    # defaults make at the same level, and than level 3, in two thirds of the time.
    "png": (
        ".png",
        [
            *(cv2.IMWRITE_PNG_COMPRESSION, 1),
            *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH),
            *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
        ],
    ),
    "jpg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]),
}


@dataclass(frozen=True)
class Square:
    """A square of a frame in source pixels; it may reach over the border."""

    x: int
    y: int
    size: int


def square(face: Face, margin: float = MARGIN) -> Square:
    """The square around a box's middle, `margin` of the longer side added on each side.

    0.3 is close to what the winner of the challenge cut (a third on each side).
    """
    size = max(1, round(max(face.w, face.h) * (1 + 2 * margin)))
    return Square(face.x + (face.w - size) // 2, face.y + (face.h - size) // 2, size)


def cut(picture: Picture, where: Square, size: int = SIZE) -> Image:
    """Cut a square and scale it; what lies beyond the border is black.

    Returns:
        RGB uint8, size x size x 3.
    """
    left, top = max(0, where.x), max(0, where.y)
    right = min(picture.width, where.x + where.size)
    bottom = min(picture.height, where.y + where.size)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    inside = picture.rgb_part(left, top, right, bottom)
    if inside.shape[:2] != (where.size, where.size):
        inside = cv2.copyMakeBorder(
            inside,
            top - where.y,
            where.y + where.size - bottom,
            left - where.x,
            where.x + where.size - right,
            cv2.BORDER_CONSTANT,
        ).astype(np.uint8, copy=False)
    way = cv2.INTER_AREA if where.size >= size else cv2.INTER_CUBIC
    return cv2.resize(inside, (size, size), interpolation=way).astype(np.uint8, copy=False)


def encode(crop: Image, file_format: str) -> bytes:
    """The bytes of a crop's file, `png` (nothing lost) or `jpg` (quality 95)."""
    suffix, options = _ENCODING[file_format]
    done, encoded = cv2.imencode(suffix, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise DfdcPrepError(f"expected OpenCV to write {file_format}, found that it cannot")
    return encoded.tobytes()
