"""Small copies of images as data URIs, for contact sheets."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading

#: Longer side of a thumbnail, pixels.
SIDE = 128
#: JPEG quality of a thumbnail.
QUALITY = 80


def thumbnail(image: bytes | npt.NDArray[np.uint8] | None, side: int = SIDE) -> Markup | None:
    """Return a JPEG of an image as a data URI.

    Args:
        image: an encoded image, or RGB uint8 [H, W, 3].
        side: longer side of the thumbnail, pixels; smaller images are not enlarged.

    Returns:
        None if the image is None or cannot be decoded.
    """
    if image is None:
        return None
    try:
        with _opened(image) as opened, reading():
            opened.draft("RGB", (side, side))
            small = opened.convert("RGB")
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            small.save(file, "JPEG", quality=QUALITY, optimize=True)
    except ImageError:
        return None
    return Markup("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())


def _opened(image: bytes | npt.NDArray[np.uint8]) -> Any:
    if isinstance(image, bytes):
        return open_image(image, CROP_FORMATS)
    return Image.fromarray(image)
