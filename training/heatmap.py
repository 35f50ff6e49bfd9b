"""A face with its Grad-CAM beside it, as a picture."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

#: How much of the overlay is the map where the map is strongest.
OPACITY = 0.6


def beside(
    crop: npt.NDArray[np.uint8], activation: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """The crop, and to its right the crop under what speaks for FAKE in it.

    Args:
        crop: RGB uint8 [H, W, 3].
        activation: [h, w], 0 and up; scaled to its own maximum.

    Returns:
        RGB uint8 [H, 2 W, 3].
    """
    height, width = crop.shape[:2]
    strongest = activation.max()
    relative = activation / strongest if strongest > 0 else activation
    grown = Image.fromarray(np.asarray(relative, np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    strength = np.clip(np.asarray(grown), 0, 1)[..., None]
    colours = colormaps["inferno"](strength[..., 0])[..., :3] * 255
    overlay = crop * (1 - OPACITY * strength) + colours * OPACITY * strength
    return np.concatenate([crop, np.round(overlay).astype(np.uint8)], axis=1)
