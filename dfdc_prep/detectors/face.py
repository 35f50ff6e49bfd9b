"""What a detector finds, and what it must be able to do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from dfdc_prep.video import Image, Picture


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


def _in_source(found: Found, x_scale: float, y_scale: float) -> Face:
    x, y, w, h, score = found
    left, top = round(x * x_scale), round(y * y_scale)
    right, bottom = round((x + w) * x_scale), round((y + h) * y_scale)
    return Face(left, top, max(1, right - left), max(1, bottom - top), score)
