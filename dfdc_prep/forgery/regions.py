"""The face, its surroundings and the area outside the frame, as masks over a crop."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfdc_prep.crops.alignment import Placement
from dfdc_prep.detectors.base import Face

#: Longer side of the face box, in pixels, in the scaled crops that are compared. With the default
#: margin and size, they are half as large as the crops.
FACE_SIDE = 70
#: Smallest and largest side of the scaled crops, pixels.
_SIDES = (32, 448)
#: The surroundings begin where the ellipse in the face box, enlarged by this factor, ends ...
_SURROUNDINGS = 1.35
#: ... or, where a crop has little beyond, at the ellipse itself.
_LEAST_SHARE = 0.05

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """Regions of a crop scaled to `side` x `side` pixels.

    Attributes:
        side: side of the scaled crop, pixels.
        face_side: longer side of the face box, pixels of the scaled crop.
        radius: distance from the center of the face box, 1 on the ellipse inscribed in it;
            float32 [side, side].
        face: inside that ellipse and inside the frame, bool [side, side].
        around: outside the face and inside the frame, bool [side, side]; may be empty.
        scale: scaled pixels per source pixel.
    """

    side: int
    face_side: float
    radius: Floats
    face: Mask
    around: Mask
    scale: float


def regions_of(face: Face, place: Placement, width: int, height: int) -> Regions:
    """Find the regions of a crop.

    Args:
        face: the box around which the crop was cut.
        width, height: size of the frame, pixels.
    """
    in_crop = max(face.w, face.h) * place.affine.scale
    side = min(max(round(place.size * FACE_SIDE / in_crop), _SIDES[0]), _SIDES[1], place.size)

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
