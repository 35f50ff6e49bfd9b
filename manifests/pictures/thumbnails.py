"""Small grey copies of images, by which pictures are compared; and scenes, 12x12, which tell the
room, the light and the pose, not the face.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.pictures.images import ImageError, as_8_bit, open_image, reading
from manifests.tables.codes import Codes

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


Scenes = npt.NDArray[np.float32]

#: Side of a scene, pixels.
SCENE_SIDE = 12
#: Length of a scene as a vector. Its numbers are whole, so that products are exact in float32,
#: whatever the machine and its number of threads.
SCENE_LENGTH = 1000
#: Standard deviation of the grey values below which a scene shows nothing.
_BLANK_SCENE = 6.0
#: Thumbnails shrunk at a time.
_BLOCK = 4096


def scenes(small: Thumbnails) -> Scenes:
    """Return the scenes of thumbnails without their mean and of one length.

    The product of two is their correlation times SCENE_LENGTH squared. A scene that shows nothing
    is all zeros.

    Returns:
        float32 [thumbnails, SCENE_SIDE * SCENE_SIDE].
    """
    shrink = _shares()
    found = np.empty((len(small), SCENE_SIDE * SCENE_SIDE), np.float32)
    for start in range(0, len(small), _BLOCK):
        values = shrink @ small[start : start + _BLOCK].astype(np.float32) @ shrink.T
        found[start : start + _BLOCK] = values.reshape(-1, SCENE_SIDE * SCENE_SIDE)
    found -= found.mean(axis=1, keepdims=True)
    found[found.std(axis=1) < _BLANK_SCENE] = 0.0
    found *= SCENE_LENGTH / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
    return np.rint(found, out=found)


def _shares() -> Scenes:
    """Return the share of each pixel of a thumbnail in each of a scene, float32 [12, 56]."""
    edges = np.linspace(0, SIDE, SCENE_SIDE + 1)
    pixels = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares: Scenes = (np.maximum(covered, 0) / np.diff(edges)[:, None]).astype(np.float32)
    return shares
