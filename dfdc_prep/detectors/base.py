"""What a detector finds, and what it must be able to do."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from dfdc_prep.video.picture import Image, Picture, scaled_size

#: Two boxes are of one face where their middles are within this many face sizes ...
_NEAR = 1.0
#: ... and neither is this many times the other's size.
_GROWTH = 2.0
#: Two detections in one picture are of one face where they overlap by more than this.
_SAME = 0.5
#: A window around a face is this many times the face's size ...
_WINDOW = 2.0
#: ... and lies on the grid of pixels that networks divide a picture by, so that the face falls
#: on the same cells as in the whole picture.
_GRID = 32
#: Windows that cover more than this of a picture save nothing.
_MOST = 0.6


@dataclass(frozen=True, order=True)
class Face:
    """A face box in source pixels; boxes sort by x, then y.

    `score` is the detector's own confidence: YuNet 0 to 1, HOG and CNN dlib's margin
    (above 0 is a face).
    """

    x: int
    y: int
    w: int
    h: int
    score: float

    @property
    def area(self) -> int:
        return self.w * self.h

    def scaled(self, x_scale: float, y_scale: float) -> "Face":
        """The same box in a picture that is so many times as wide and high."""
        return _in_source((self.x, self.y, self.w, self.h, self.score), x_scale, y_scale)


#: A face in a scaled copy: left, top, width, height in that copy's pixels, score.
Found = tuple[float, float, float, float, float]


class Detector(Protocol):
    """Finds the faces of one picture. Kept by one worker, used for one picture at a time."""

    @property
    def name(self) -> str:
        """The word that goes into the manifest's `detector` column."""
        ...

    def detect(self, picture: Picture) -> list[Face]:
        """The faces, sorted by x then y, in the picture's own pixels; empty where none."""
        ...

    def detect_quickly(self, picture: Picture, before: Sequence[Face]) -> list[Face] | None:
        """The same for less; None where `detect` must look.

        Args:
            before: the faces of the clip's picture looked at last; empty where there is none.
        """
        ...


def iou(a: Face, b: Face) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.area + b.area - width * height)


def distance(a: Face, b: Face) -> float:
    """Distance of two boxes' middles in units of the larger one; infinite where sizes differ."""
    small, large = sorted((math.sqrt(a.area), math.sqrt(b.area)))
    if large > _GROWTH * small:
        return math.inf
    dx = (a.x + a.w / 2) - (b.x + b.w / 2)
    dy = (a.y + a.h / 2) - (b.y + b.h / 2)
    return math.hypot(dx, dy) / large


def near(a: Face, b: Face) -> bool:
    """Whether boxes in two frames may be of one face."""
    return distance(a, b) <= _NEAR


def climb(
    picture: Picture, long_sides: Iterable[int], look: Callable[[Image], Iterable[Found]]
) -> list[Face]:
    """Look at larger and larger copies of a picture until a face is found.

    Args:
        long_sides: longer side of each copy in pixels; one that would repeat the size of
            the copy before is left out.
        look: what is found in an RGB image.

    Returns:
        The faces in the picture's own pixels, sorted by x then y.
    """
    seen = 0
    for long_side in long_sides:
        size = min(long_side, max(picture.width, picture.height))
        if size == seen:
            break
        seen = size
        small = picture.rgb(long_side)
        scale = picture.width / small.shape[1], picture.height / small.shape[0]
        if faces := sorted(_in_source(found, *scale) for found in look(small)):
            return faces
    return []


def look_quickly(
    picture: Picture,
    before: Sequence[Face],
    long_side: int,
    look: Callable[[Image], Iterable[Found]],
) -> list[Face] | None:
    """Look for faces at a part of what the first look of `climb` costs.

    A copy of half the size shows which faces are there; windows of the copy that `climb`
    begins with, one around each face, then give their boxes as exactly as a look at the whole
    of it. What a window does not confirm, a full look must decide.

    Args:
        before: the faces of the last picture, which must be there again, and no others; empty
            where nothing is known of the clip.
        long_side: longer side of the copy that `climb` begins with.

    Returns:
        The faces in the picture's own pixels, sorted by x then y; None where none is seen, one
        has come, gone or moved far, or is not seen as clearly in its window.
    """
    copy = picture.rgb(long_side)
    height, width = copy.shape[:2]
    half = cv2.resize(
        copy, scaled_size(width, height, max(width, height) // 2), interpolation=cv2.INTER_AREA
    ).astype(np.uint8, copy=False)
    scale = width / half.shape[1], height / half.shape[0]
    seen = sorted(_in_source(found, *scale) for found in look(half))
    to_picture = picture.width / width, picture.height / height
    if not seen or (before and not _same_faces(before, [f.scaled(*to_picture) for f in seen])):
        return None
    windows = [_window(face, width, height) for face in seen]
    if sum((right - left) * (bottom - top) for left, top, right, bottom in windows) > (
        _MOST * width * height
    ):
        return None
    faces = [_seen_in(copy, face, window, look) for face, window in zip(seen, windows, strict=True)]
    if None in faces:
        return None
    return sorted(_in_source(found, *to_picture) for found in faces if found)


def _same_faces(before: Sequence[Face], seen: Sequence[Face]) -> bool:
    """Whether each face seen is one from before and none is gone."""
    return (
        len(seen) == len(before)
        and all(sum(near(face, other) for other in before) >= 1 for face in seen)
        and all(any(near(face, other) for other in seen) for face in before)
    )


def _window(face: Face, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a face's surroundings in a picture of this size."""
    reach = _WINDOW * max(face.w, face.h) / 2
    x, y = face.x + face.w / 2, face.y + face.h / 2
    return (
        max(0, math.floor((x - reach) / _GRID) * _GRID),
        max(0, math.floor((y - reach) / _GRID) * _GRID),
        min(width, math.ceil((x + reach) / _GRID) * _GRID),
        min(height, math.ceil((y + reach) / _GRID) * _GRID),
    )


def _seen_in(
    copy: Image,
    face: Face,
    window: tuple[int, int, int, int],
    look: Callable[[Image], Iterable[Found]],
) -> Found | None:
    """A face as a look at its window gives it, in the copy's pixels; None where it is not seen."""
    left, top, right, bottom = window
    best, overlap = None, _SAME
    for x, y, w, h, score in look(copy[top:bottom, left:right]):
        found = x + left, y + top, w, h, score
        if (with_found := iou(face, _in_source(found, 1, 1))) > overlap:
            best, overlap = found, with_found
    return best


def _in_source(found: Found, x_scale: float, y_scale: float) -> Face:
    x, y, w, h, score = found
    left, top = round(x * x_scale), round(y * y_scale)
    right, bottom = round((x + w) * x_scale), round((y + h) * y_scale)
    return Face(left, top, max(1, right - left), max(1, bottom - top), score)
