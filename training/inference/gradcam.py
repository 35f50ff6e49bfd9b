"""A face with its Grad-CAM beside it, as a picture."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

#: How much of the overlay is the map where the map is strongest.
OPACITY = 0.6
#: The logit that is full heat where no place has more: a crop in which nothing speaks for
#: FAKE stays dark.
FULL = 4.0


def beside(
    crop: npt.NDArray[np.uint8], activation: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """The crop, and to its right the crop under what speaks for FAKE in it.

    Args:
        crop: RGB uint8 [H, W, 3].
        activation: [h, w], 0 and up, in logits: what the whole crop would have if it looked
            like that place all over. Scaled to its own maximum, or `FULL` if that is more.

    Returns:
        RGB uint8 [H, 2 W, 3].
    """
    height, width = crop.shape[:2]
    relative = activation / max(float(activation.max()), FULL)
    grown = Image.fromarray(np.asarray(relative, np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    strength = np.clip(np.asarray(grown), 0, 1)[..., None]
    colours = colormaps["inferno"](strength[..., 0])[..., :3] * 255
    overlay = crop * (1 - OPACITY * strength) + colours * OPACITY * strength
    return np.concatenate([crop, np.round(overlay).astype(np.uint8)], axis=1)
