"""Decides whether a crop of a fake was forged, by its original's crop of the same place.

A fake is re-encoded, so both the face and its surroundings differ from the original; a forgery
changes the face alone. What the surroundings differ by is therefore subtracted from what the face
differs by. docs/forgery.md reports how the thresholds were chosen.
"""

from dataclasses import dataclass

import numpy as np

from dfdc_prep.forgery.difference import ScaledPair, scale_pair
from dfdc_prep.forgery.mask import change_mask
from dfdc_prep.forgery.regions import Floats, Mask, Regions
from dfdc_prep.video.picture import Image

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


@dataclass(frozen=True)
class Comparison:
    """A fake's crop beside its original's.

    Attributes:
        forged: whether the face was changed; None if the crops do not line up.
        difference: mean 1 - SSIM inside the face, 0 to 1.
        shift: distance by which the crops were off, source pixels.
        mask: where the crop was changed, 0 to 255, uint8 [size, size]; all 0 unless forged; None
            if it was not asked for or the crops do not line up.
    """

    forged: bool | None
    difference: float
    shift: float
    mask: Image | None = None


def compare(fake: Image, original: Image, regions: Regions, masked: bool) -> Comparison:
    """Compare two crops cut at one place, RGB uint8 [size, size, 3].

    Args:
        masked: also make the mask.
    """
    pair = scale_pair(fake, original, regions)
    dissimilarity = pair.dissimilarity()
    difference = _mean(dissimilarity, regions.face)
    shift = pair.shift / regions.scale
    if pair.shift > _MOST_SHIFT or _mean(dissimilarity, regions.around) > _MOST_AROUND:
        return Comparison(None, round(difference, 4), round(shift, 2))
    certain = _excess(dissimilarity, regions) > _CERTAIN
    if not certain and _excess(dissimilarity, regions) > FORGED_STRUCTURE:
        dissimilarity = pair.dissimilarity(detail_lost=True)
    forged = certain or _is_forged(pair, dissimilarity, regions)
    mask = None
    if masked:
        size = fake.shape[0]
        mask = (
            change_mask(dissimilarity, pair.colour_difference(), regions, size)
            if forged
            else np.zeros((size, size), np.uint8)
        )
    return Comparison(forged, round(difference, 4), round(shift, 2), mask)


def _is_forged(pair: ScaledPair, dissimilarity: Floats, regions: Regions) -> bool:
    if _excess(dissimilarity, regions) > FORGED_STRUCTURE:
        return True
    return _excess(pair.colour_difference(), regions) > FORGED_COLOUR


def _excess(values: Floats, regions: Regions) -> float:
    """By how much the face differs more than the share of its surroundings."""
    return _mean(values, regions.face) - _NOISE_SHARE * _mean(values, regions.around)


def _mean(values: Floats, region: Mask) -> float:
    """The mean inside a region, 0 if it is empty."""
    return float(values[region].mean(dtype=np.float64)) if region.any() else 0.0
