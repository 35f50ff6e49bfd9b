"""Small grey copies of images, by which pictures are compared."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.pictures.images import ImageError, as_8_bit, open_image, reading
from manifests.tables.factorize import Codes

#: Grey values 0 to 255, uint8 [images, SIDE, SIDE].
Thumbnails = npt.NDArray[np.uint8]

#: Side of a thumbnail, pixels: a quarter of a crop's, to which JPEG files decode cheaply.
SIDE = 56


@dataclass(frozen=True)
class Pictures:
    """Thumbnails of rows of a table.

    Attributes:
        rows: int64 [pictures], the rows, ascending.
        thumbnails: uint8 [pictures, SIDE, SIDE].
    """

    rows: Codes
    thumbnails: Thumbnails

    def of(self, rows: Codes) -> "Pictures":
        """Return the pictures of some rows of the table, numbered by their place among them.

        Args:
            rows: int64, ascending.
        """
        _, place, at = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        return Pictures(place, self.thumbnails[at])


def thumbnail(data: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the grey thumbnail of an encoded image, uint8 [SIDE, SIDE].

    An image that is not square is squeezed.

    Returns:
        None if the image cannot be decoded.
    """
    try:
        with open_image(data) as image, reading():
            image.draft("L", (SIDE, SIDE))
            grey = as_8_bit(image).convert("L")
            if grey.size != (SIDE, SIDE):
                grey = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    except ImageError:
        return None
    return np.asarray(grey)
