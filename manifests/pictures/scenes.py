"""Scenes: thumbnails shrunk to 12x12. They tell the room, the light and the pose, not the face."""

import numpy as np
import numpy.typing as npt

from manifests.pictures import thumbnails
from manifests.pictures.thumbnails import Thumbnails

Scenes = npt.NDArray[np.float32]

#: Side of a scene, pixels.
SIDE = 12
#: Length of a scene as a vector. Its numbers are whole, so that products are exact in float32,
#: whatever the machine and its number of threads.
LENGTH = 1000
#: Standard deviation of the grey values below which a scene shows nothing.
_BLANK = 6.0
#: Thumbnails shrunk at a time.
_BLOCK = 4096


def scenes(small: Thumbnails) -> Scenes:
    """Return the scenes of thumbnails without their mean and of one length.

    The product of two is their correlation times LENGTH squared. A scene that shows nothing is all
    zeros.

    Returns:
        float32 [thumbnails, SIDE * SIDE].
    """
    shrink = _shares()
    found = np.empty((len(small), SIDE * SIDE), np.float32)
    for start in range(0, len(small), _BLOCK):
        values = shrink @ small[start : start + _BLOCK].astype(np.float32) @ shrink.T
        found[start : start + _BLOCK] = values.reshape(-1, SIDE * SIDE)
    found -= found.mean(axis=1, keepdims=True)
    found[found.std(axis=1) < _BLANK] = 0.0
    found *= LENGTH / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
    return np.rint(found, out=found)


def _shares() -> Scenes:
    """Return the share of each pixel of a thumbnail in each of a scene, float32 [SIDE, 56]."""
    edges = np.linspace(0, thumbnails.SIDE, SIDE + 1)
    pixels = np.arange(thumbnails.SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares: Scenes = (np.maximum(covered, 0) / np.diff(edges)[:, None]).astype(np.float32)
    return shares
