"""Laying one thumbnail over another: by how much it is scaled and moved, and how alike they are.

The alignment is inverse compositional image alignment (Baker and Matthews, "Lucas-Kanade 20 years
on", 2004) over three parameters, scale and translation, of patches with mean 0 and norm 1, so that
brightness and contrast do not matter. Likeness is the correlation of the aligned patches without
their low frequencies, which faces in the same place have in common.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from manifests.pictures.thumbnails import SIDE, Thumbnails

Floats = npt.NDArray[np.float32]

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
    moved, fixed = _blurred(first), _blurred(second)
    return _correlation(moved, fixed, _align(moved, fixed, scale))


def _smoothing(points: int, sigma: float) -> Floats:
    """The matrix that blurs along one side, float32 [points, points]."""
    matrix: Floats = gaussian_filter1d(np.eye(points), sigma, axis=0, mode="nearest")
    return matrix.astype(np.float32)


def _blurred(thumbnails: Thumbnails) -> Floats:
    blur = _smoothing(SIDE, _BLUR)
    blurred: Floats = blur @ thumbnails.astype(np.float32) @ blur.T
    return blurred


def _grid(points: int) -> Floats:
    """Positions along a side, relative to the centre."""
    return np.linspace(-_HALF, _HALF, points, dtype=np.float32)


def _weights(positions: Floats) -> Floats:
    """Linear interpolation between the pixels of a side, float32 [pairs, points, SIDE]."""
    inside = np.clip(positions, 0, SIDE - 1)[:, :, None]
    weights: Floats = np.maximum(1 - np.abs(inside - np.arange(SIDE, dtype=np.float32)), 0)
    return weights


def _patch(images: Floats, warp: Floats, grid: Floats) -> Floats:
    """Sample the points of a grid, float32 [pairs, points, points].

    Args:
        warp: float32 [pairs, 3], the scale, and the translation in x and in y.
    """
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
    """Return the normalized patches, and how they change with the scale and the translation.

    Returns:
        float32 [pairs, points], and float32 [pairs, points, 3].
    """
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


def _correlation(moved: Floats, fixed: Floats, warp: Floats) -> Floats:
    grid, low = _grid(_FINE), _smoothing(_FINE, _LOW)
    still = np.tile(np.array([1, 0, 0], np.float32), (len(fixed), 1))
    first, second = (
        _normalized((patch - low @ patch @ low.T).astype(np.float32, copy=False))
        for patch in (_patch(moved, warp, grid), _patch(fixed, still, grid))
    )
    correlation: Floats = (first * second).sum(axis=1)
    return correlation
