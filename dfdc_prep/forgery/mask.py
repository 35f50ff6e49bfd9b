"""The mask of a forged face: where its crop differs from the original's beyond compression."""

import cv2
import numpy as np

from dfdc_prep.forgery.regions import Floats, Mask, Regions
from dfdc_prep.video.picture import Image

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


def change_mask(dissimilarity: Floats, colour: Floats, regions: Regions, size: int) -> Image:
    """Return where a crop was changed: 0 untouched to 255 changed, uint8 [size, size].

    Args:
        dissimilarity, colour: as from `ScaledPair`, float32 [side, side].
        size: side of the crop, pixels.
    """
    unit = regions.face_side
    structure = np.asarray(cv2.GaussianBlur(dissimilarity, (0, 0), _BLUR * unit), np.float32)
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
