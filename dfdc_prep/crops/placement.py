"""Where a crop lies in its source picture: an upright square, or one aligned with the face.

Crops are cut as squares because scaling a rectangular face box to a square image would distort
each face differently.

An affine matrix maps source pixels to crop pixels. Coordinates are continuous: pixel i covers the
interval from i to i + 1, so box edges need no correction. OpenCV's warps place the center of pixel
i at i instead; `_cut_aligned` converts.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.detectors.base import Face, Landmarks, Point
from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.video.picture import Image, Picture
from manifests.schemas import CROP_SIZE

#: Margin on each side in units of the face box's longer side. It is close to that of the DFDC
#: challenge's winning solution, one third.
MARGIN = 0.3
#: Values of `--align`.
NONE, EYES, FIVE_POINT = "none", "eyes", "five-point"
ALIGNMENTS = (NONE, EYES, FIVE_POINT)

#: Positions of the landmarks in a square of side 1: the template of ArcFace (Deng et al., 2019) in
#: InsightFace's face_align.py, which lists them in pixels of a 112x112 crop. DeepfakeBench uses
#: the same points.
TEMPLATE = Landmarks(
    (38.2946 / 112, 51.6963 / 112),
    (73.5318 / 112, 51.5014 / 112),
    (56.0252 / 112, 71.7366 / 112),
    (41.5493 / 112, 92.3655 / 112),
    (70.7299 / 112, 92.2041 / 112),
)


@dataclass(frozen=True)
class Square:
    """A square in pixels of the source picture: left and top edge, side.

    It may extend beyond the border.
    """

    x: int
    y: int
    size: int


@dataclass(frozen=True)
class Affine:
    """An affine map: x' = xx * x + xy * y + x0, y' = yx * x + yy * y + y0."""

    xx: float
    xy: float
    x0: float
    yx: float
    yy: float
    y0: float

    def map(self, points: Iterable[Point]) -> NDArray[np.float64]:
        """Map points, each x and y; float64 [N, 2]."""
        return np.asarray(list(points), np.float64).reshape(-1, 2) @ self.linear.T + self.offset

    def inverse(self) -> "Affine":
        """The map in the other direction, from crop pixels to source pixels."""
        back = np.linalg.inv(self.linear).astype(np.float64, copy=False)
        return _affine(back, -back @ self.offset)

    @property
    def linear(self) -> NDArray[np.float64]:
        """The 2x2 part, float64."""
        return np.array([[self.xx, self.xy], [self.yx, self.yy]])

    @property
    def offset(self) -> NDArray[np.float64]:
        """The translation, float64 [2]."""
        return np.array([self.x0, self.y0])

    @property
    def scale(self) -> float:
        """Crop pixels per source pixel."""
        return math.sqrt(abs(self.xx * self.yy - self.xy * self.yx))


@dataclass(frozen=True)
class Placement:
    """Where a crop lies in its source picture."""

    # the square cut out; that of an aligned crop is rotated about its center, and its position and
    # side are rounded
    square: Square
    affine: Affine  # maps source pixels to crop pixels
    align: str  # one of `ALIGNMENTS`
    margin: float  # added on each side, as a fraction of the box's longer side, or of the template
    size: int  # side of the crop, pixels

    def cut(self, picture: Picture) -> Image:
        """Cut the crop out of a picture; RGB uint8 [size, size, 3], black beyond the border."""
        if self.align == NONE:
            return cut(picture, self.square, self.size)
        return _cut_aligned(picture, self.affine, self.size)


def place(face: Face, align: str, margin: float, size: int) -> Placement:
    """Return where the crop of a face lies.

    Without alignment it is the square around the face box. With `eyes` or `five-point`, it is
    the square of the template, enlarged by the margin on each side, which the least-squares
    similarity (rotation, scale, translation) fits to the two eyes or to all five landmarks.

    Raises:
        DfdcPrepError: the face has no landmarks, or they coincide.
    """
    if align == NONE:
        upright = square(face, margin)
        scale = size / upright.size
        affine = Affine(scale, 0.0, -upright.x * scale, 0.0, scale, -upright.y * scale)
        return Placement(upright, affine, align, margin, size)
    if face.landmarks is None:
        raise DfdcPrepError(
            "expected landmarks to align a face by, found none; use --detector yunet, or "
            "--align none"
        )
    count = 2 if align == EYES else len(TEMPLATE)
    affine = _fit_similarity(face.landmarks[:count], template_points(margin, size)[:count])
    side = size / affine.scale
    x, y = affine.inverse().map([(size / 2, size / 2)])[0]
    rotated = Square(round(x - side / 2), round(y - side / 2), max(1, round(side)))
    return Placement(rotated, affine, align, margin, size)


def template_points(margin: float, size: int) -> NDArray[np.float64]:
    """Positions of the five landmarks in an aligned crop, pixels, float64 [5, 2]."""
    return (np.array(TEMPLATE) + margin) / (1 + 2 * margin) * size


def square(face: Face, margin: float = MARGIN) -> Square:
    """Return the square centered on a face box, the margin in units of the box's longer side."""
    size = max(1, round(max(face.w, face.h) * (1 + 2 * margin)))
    return Square(face.x + (face.w - size) // 2, face.y + (face.h - size) // 2, size)


def cut(picture: Picture, region: Square, size: int = CROP_SIZE) -> Image:
    """Cut a square out of a picture and scale it to RGB uint8 [size, size, 3].

    Pixels beyond the border of the picture are black.
    """
    left, top = max(0, region.x), max(0, region.y)
    right = min(picture.width, region.x + region.size)
    bottom = min(picture.height, region.y + region.size)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    inside = picture.rgb_part(left, top, right, bottom)
    if inside.shape[:2] != (region.size, region.size):  # pad it to the square
        inside = cv2.copyMakeBorder(
            inside,
            top - region.y,
            region.y + region.size - bottom,
            left - region.x,
            region.x + region.size - right,
            cv2.BORDER_CONSTANT,
        ).astype(np.uint8, copy=False)
    # Area averaging avoids aliasing when downscaling; cubic interpolation is for upscaling.
    kind = cv2.INTER_AREA if region.size >= size else cv2.INTER_CUBIC
    return cv2.resize(inside, (size, size), interpolation=kind).astype(np.uint8, copy=False)


def _cut_aligned(picture: Picture, affine: Affine, size: int) -> Image:
    # Convert only the part of the picture that the crop shows, with a border to interpolate.
    corners = affine.inverse().map([(0, 0), (size, 0), (0, size), (size, size)])
    left, top = np.maximum(np.floor(corners.min(axis=0)) - 2, 0).astype(int).tolist()
    right, bottom = (np.ceil(corners.max(axis=0)) + 2).astype(int).tolist()
    right, bottom = min(right, picture.width), min(bottom, picture.height)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    part = picture.rgb_part(left, top, right, bottom)
    # From continuous coordinates to pixel centers, in the part and in the crop.
    shift = affine.linear @ np.array([left + 0.5, top + 0.5]) + affine.offset - 0.5
    matrix = np.column_stack([affine.linear, shift])
    # Bilinear, as in DeepfakeBench, so that its crops are reproduced.
    warped = cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return warped.astype(np.uint8, copy=False)


def _fit_similarity(points: Iterable[Point], targets: NDArray[np.float64]) -> Affine:
    """The least-squares similarity from points to targets (Umeyama, 1991, without reflection).

    In two dimensions it is linear in its four parameters: x' = a x - b y + c, y' = b x + a y + d.
    """
    source = np.asarray(list(points), np.float64)
    from_mean, to_mean = source.mean(axis=0), targets.mean(axis=0)
    p, q = source - from_mean, targets - to_mean
    spread = max(float((p**2).sum()), 1e-12)
    a = float((p * q).sum()) / spread
    b = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / spread
    if math.hypot(a, b) < 1e-6:
        raise DfdcPrepError(
            "expected the landmarks of a face to be apart, found one point; use --align none"
        )
    linear = np.array([[a, -b], [b, a]])
    return _affine(linear, to_mean - linear @ from_mean)


def _affine(linear: NDArray[np.float64], offset: NDArray[np.float64]) -> Affine:
    (xx, xy), (yx, yy) = linear.tolist()
    return Affine(xx, xy, offset.tolist()[0], yx, yy, offset.tolist()[1])
