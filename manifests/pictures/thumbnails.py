"""Small grey copies of images, by which pictures are compared."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.tables.factorize import Codes

#: Grey values 0 to 255, uint8 [images, SIDE, SIDE].
Thumbnails = npt.NDArray[np.uint8]

#: Side of a thumbnail, pixels: a quarter of a crop's, to which JPEG files decode cheaply.
SIDE = 56
#: Most pixels an image may have; larger ones count as unreadable.
_MAX_PIXELS = 50_000_000
#: What Pillow raises or warns of if a header declares too many pixels.
DECOMPRESSION_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# `thumbnail` checks the size itself, against a limit below the one Pillow warns at.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Pictures:
    """Thumbnails of rows of a table.

    Attributes:
        rows: int64 [pictures], the rows, ascending.
        thumbnails: uint8 [pictures, SIDE, SIDE].
    """

    rows: Codes
    thumbnails: Thumbnails


def thumbnail(data: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the grey thumbnail of an encoded image, uint8 [SIDE, SIDE].

    An image that is not square is squeezed.

    Returns:
        None if the image cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _MAX_PIXELS:
                return None
            image.draft("L", (SIDE, SIDE))
            grey = image.convert("L")
            if grey.size != (SIDE, SIDE):
                grey = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    except (OSError, SyntaxError, ValueError, *DECOMPRESSION_BOMBS):
        return None
    return np.asarray(grey)
