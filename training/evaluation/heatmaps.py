"""Draws the Grad-CAM of face crops."""

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

#: Opacity of the heatmap at its maximum.
OPACITY = 0.6
#: Lower bound of the colour scale, in logits: without it, weak activations would be scaled
#: up to full colour.
MIN_SCALE = 4.0


def draw_overlay(
    crop: npt.NDArray[np.uint8], activation: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Draw the Grad-CAM of a crop over it.

    Args:
        crop: RGB uint8 [H, W, 3].
        activation: non-negative [h, w], in logits: the logit the whole crop would have if
            every position looked like this one. Scaled by its maximum, at least `MIN_SCALE`.

    Returns:
        RGB uint8 [H, W, 3].
    """
    height, width = crop.shape[:2]
    # Scale to 0..1 and resize to the crop; bicubic interpolation can overshoot, hence the clip.
    relative = activation / max(float(activation.max()), MIN_SCALE)
    resized = Image.fromarray(np.asarray(relative, np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    strength = np.clip(np.asarray(resized), 0, 1)[..., None]
    # Blend the colour map into the crop in proportion to the activation.
    colours = colormaps["inferno"](strength[..., 0])[..., :3] * 255
    overlay = crop * (1 - OPACITY * strength) + colours * OPACITY * strength
    drawn: npt.NDArray[np.uint8] = np.round(overlay).astype(np.uint8)
    return drawn


def draw_side_by_side(
    crop: npt.NDArray[np.uint8],
    activation: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Draw a crop and, to its right, its `draw_overlay`, then its mask.

    Args:
        mask: where the crop was changed, RGB uint8 [H, W, 3], if that is known.

    Returns:
        RGB uint8 [H, 2 W, 3], with a mask [H, 3 W, 3].
    """
    images = [crop, draw_overlay(crop, activation)]
    return np.concatenate([*images, mask] if mask is not None else images, axis=1)
