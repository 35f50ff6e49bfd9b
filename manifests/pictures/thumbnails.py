"""Small grey copies of images, by which pictures are compared, and how alike two of them are.

Scenes, 12x12, tell the room, the light and the pose, not the face. Thumbnails are laid over each
other by inverse compositional image alignment (Baker and Matthews, "Lucas-Kanade 20 years on",
2004) over three parameters, scale and translation, of patches with mean 0 and norm 1, so that
brightness and contrast do not matter. Likeness is the correlation of the aligned patches without
their low frequencies, which faces in the same place have in common.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from manifests.pictures.images import ImageError, as_8_bit, open_image, reading
from manifests.tables.codes import Codes

#: Grey values 0 to 255, uint8 [images, SIDE, SIDE].
Thumbnails = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: Side of a thumbnail, pixels: a quarter of a crop's, to which JPEG files decode cheaply.
SIDE = 56


@dataclass(frozen=True)
class Pictures:
    """Thumbnails of rows of a table."""

    rows: Codes  # int64 [pictures], ascending
    thumbnails: Thumbnails

    def of(self, rows: Codes) -> "Pictures":
        """Return the pictures of some rows, ascending, numbered by their place among them."""
        _, place, known = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        return Pictures(place, self.thumbnails[known])


def thumbnail(data: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the grey thumbnail of an encoded image, squeezed to uint8 [SIDE, SIDE].

    Returns None if the image cannot be decoded.
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


#: Side of a scene, pixels.
SCENE_SIDE = 12
#: Length of a scene as a vector. Its numbers are whole, so that products are exact in float32,
#: whatever the machine and its number of threads.
SCENE_LENGTH = 1000
#: Standard deviation of the grey values below which a scene shows nothing.
_BLANK_SCENE = 6.0
#: Thumbnails shrunk at a time.
_BLOCK = 4096


def scenes(small: Thumbnails) -> Floats:
    """Return the scenes of thumbnails without their mean and of one length.

    The product of two is their correlation times SCENE_LENGTH squared. A scene that shows nothing
    is all zeros. Returns float32 [thumbnails, SCENE_SIDE * SCENE_SIDE].
    """
    # The share of each pixel of a thumbnail in each of a scene, float32 [SCENE_SIDE, SIDE].
    edges, pixels = np.linspace(0, SIDE, SCENE_SIDE + 1), np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shrink = (np.maximum(covered, 0) / np.diff(edges)[:, None]).astype(np.float32)
    found = np.empty((len(small), SCENE_SIDE * SCENE_SIDE), np.float32)
    for start in range(0, len(small), _BLOCK):
        values = shrink @ small[start : start + _BLOCK].astype(np.float32) @ shrink.T
        found[start : start + _BLOCK] = values.reshape(-1, SCENE_SIDE * SCENE_SIDE)
    found -= found.mean(axis=1, keepdims=True)
    found[found.std(axis=1) < _BLANK_SCENE] = 0.0
    found *= SCENE_LENGTH / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)
    return np.rint(found, out=found)


#: Half the side of the compared centre of a thumbnail, pixels: what tighter crops and shifts keep.
_HALF = 22.0
#: Points along a side, while aligning and when comparing.
_COARSE, _FINE = 20, 40
_ITERATIONS = 4
#: Blur before sampling, and of the low frequencies that are taken off; pixels and fine points.
_BLUR, _LOW = 0.7, 3.0
#: Limits of the scale and of the translation, pixels of a thumbnail.
_SCALES, _SHIFT = (0.8, 1.25), 6.0


def likeness(first: Thumbnails, second: Thumbnails, scale: Floats) -> Floats:
    """Return how alike two thumbnails are once aligned, float32 [pairs], -1 to 1.

    Args:
        first, second: uint8 [pairs, SIDE, SIDE] each.
        scale: float32 [pairs], the side of the part of `first` that `second` shows, as a first
            guess; it is found within some 7 %.
    """
    blur = _smoothing(SIDE, _BLUR)
    moved, fixed = (blur @ images.astype(np.float32) @ blur.T for images in (first, second))
    grid, low = _grid(_FINE), _smoothing(_FINE, _LOW)
    still = np.tile(np.array([1, 0, 0], np.float32), (len(fixed), 1))
    patches = (_patch(moved, _align(moved, fixed, scale), grid), _patch(fixed, still, grid))
    details = (patch - low @ patch @ low.T for patch in patches)
    one, other = (_normalized(detail.astype(np.float32, copy=False)) for detail in details)
    correlation: Floats = (one * other).sum(axis=1)
    return correlation


def _smoothing(points: int, sigma: float) -> Floats:
    """The matrix that blurs along one side, float32 [points, points]."""
    matrix: Floats = gaussian_filter1d(np.eye(points), sigma, axis=0, mode="nearest")
    return matrix.astype(np.float32)


def _grid(points: int) -> Floats:
    """Positions along a side, relative to the centre."""
    return np.linspace(-_HALF, _HALF, points, dtype=np.float32)


def _weights(positions: Floats) -> Floats:
    """Linear interpolation between the pixels of a side, float32 [pairs, points, SIDE]."""
    inside = np.clip(positions, 0, SIDE - 1)[:, :, None]
    weights: Floats = np.maximum(1 - np.abs(inside - np.arange(SIDE, dtype=np.float32)), 0)
    return weights


def _patch(images: Floats, warp: Floats, grid: Floats) -> Floats:
    """Sample a grid, float32 [pairs, points, points]; a warp is a scale, a shift in x and in y."""
    centre = np.float32((SIDE - 1) / 2)
    x, y = (centre + warp[:, :1] * grid + warp[:, axis : axis + 1] for axis in (1, 2))
    patch = _weights(y) @ images @ _weights(x).transpose(0, 2, 1)
    return patch.astype(np.float32, copy=False)


def _normalized(patch: Floats) -> Floats:
    """Patches with mean 0 and norm 1, float32 [pairs, points of the patch]."""
    flat = patch.reshape(len(patch), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    unit: Floats = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return unit


def _align(moved: Floats, fixed: Floats, scale: Floats) -> Floats:
    """Return the warp under which `moved` shows what `fixed` shows, float32 [pairs, 3]."""
    grid, pairs = _grid(_COARSE), len(moved)
    still = np.tile(np.array([1, 0, 0], np.float32), (pairs, 1))
    target, gradient = _steepest_descent(_patch(fixed, still, grid), grid)
    hessian = gradient.transpose(0, 2, 1) @ gradient
    hessian += 1e-6 * np.trace(hessian, axis1=1, axis2=2)[:, None, None] * np.eye(3, dtype="f4")
    hessian += 1e-9 * np.eye(3, dtype=np.float32)

    warp = still * scale[:, None]
    best, found = np.full(pairs, -2, np.float32), warp
    for _ in range(_ITERATIONS + 1):
        patch = _normalized(_patch(moved, warp, grid))
        score = (patch * target).sum(axis=1)
        found = np.where((score > best)[:, None], warp, found)
        best = np.maximum(best, score)
        error = gradient.transpose(0, 2, 1) @ (patch - target)[:, :, None]
        step = np.linalg.solve(hessian, error)[:, :, 0]
        # Compose the warp with the inverse of the step: x -> (x - move) / (1 + step).
        scaled = warp[:, 0] / (1 + np.clip(step[:, 0], -0.1, 0.1))
        shifted = warp[:, 1:] - scaled[:, None] * step[:, 1:]
        warp = np.column_stack(
            [np.clip(scaled, *_SCALES), np.clip(shifted, -_SHIFT, _SHIFT)]
        ).astype(np.float32)
    return found


def _steepest_descent(patch: Floats, grid: Floats) -> tuple[Floats, Floats]:
    """Return the normalized patches, float32 [pairs, points], and their gradients, [..., 3]."""
    step = float(grid[1] - grid[0])
    in_y, in_x = np.gradient(patch, step, axis=(1, 2))
    by_scale = in_x * grid + in_y * grid[:, None]
    flat = patch.reshape(len(patch), -1)
    norm = np.linalg.norm(flat - flat.mean(axis=1, keepdims=True), axis=1)
    unit = _normalized(patch)
    gradient = np.stack([by_scale, in_x, in_y], axis=-1).reshape(len(patch), -1, 3)
    gradient = gradient / np.maximum(norm, 1e-6)[:, None, None]
    # The mean and the norm stay what they are.
    gradient -= gradient.mean(axis=1, keepdims=True)
    gradient -= unit[:, :, None] * (unit[:, None] @ gradient)
    return unit, gradient.astype(np.float32)
