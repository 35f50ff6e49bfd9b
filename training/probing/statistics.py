"""A fixed bank of residual and frequency statistics of an image; nothing in it is trained.

- Co-occurrences of high-pass residuals, quantized and truncated, and their sizes: the filters of
  the spatial rich model (Fridrich and Kodovsky, "Rich models for steganalysis of digital images",
  2012), of luma; one of them also of both chroma channels.
- The spread of each coefficient of the 8x8 cosine transform, and how often it is 0: JPEG's
  quantization, and traces of upsampling (Giudice, Guarnera and Battiato, "Fighting deepfakes by
  detecting GAN DCT anomalies", 2021).
- The power spectrum averaged over angles (Durall, Keuper and Keuper, "Watch your up-convolution",
  2020).
- Differences across each of the eight places of JPEG's grid, against their mean.
- Percentiles of luma; mean, deviation, darkest and brightest level of each channel.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, rfft2

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: High-pass filters with the divisor that makes them of one scale.
_FILTERS = {
    "first order": (np.array([[-1.0, 1.0]]), 1.0),
    "first order, down": (np.array([[-1.0], [1.0]]), 1.0),
    "second order": (np.array([[1.0, -2.0, 1.0]]), 2.0),
    "second order, down": (np.array([[1.0], [-2.0], [1.0]]), 2.0),
    "square 3x3": (np.array([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]]), 4.0),
    "square 5x5": (
        np.array(
            [
                [-1.0, 2, -2, 2, -1],
                [2, -6, 8, -6, 2],
                [-2, 8, -12, 8, -2],
                [2, -6, 8, -6, 2],
                [-1, 2, -2, 2, -1],
            ]
        ),
        12.0,
    ),
}
#: Residuals are cut off at this many steps of quantization.
_TRUNCATED = 2
_LEVELS = 2 * _TRUNCATED + 1
_BLOCK = 8
_RINGS = 32
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def statistics(image: Images) -> Floats:
    """Return the statistics of an RGB image, uint8 [S, S, 3], as float32 [STATISTICS].

    The side is a multiple of 8. Equal images give equal numbers.
    """
    channels = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    luma, *chroma = (np.asarray(each, np.float32) for each in channels)
    parts = [_residual(luma, *each) for each in _FILTERS.values()]
    parts += [_residual(channel, *_FILTERS["square 3x3"]) for channel in chroma]
    parts += [_cosines(luma), _spectrum(luma), _grid(luma), _grid(luma.T)]
    parts += [
        _percentiles(luma),
        *(np.asarray(each, np.float32).ravel() for each in cv2.meanStdDev(image)),
        image.min(axis=0).min(axis=0),  # one axis after the other: fifty times as fast
        image.max(axis=0).max(axis=0),
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)


def _residual(channel: Floats, kernel: npt.NDArray[np.float64], scale: float) -> Floats:
    """Shares of neighbouring pairs of levels, as square roots, then two sizes."""
    residual = cv2.filter2D(channel, cv2.CV_32F, kernel / scale)[2:-2, 2:-2]
    steps = np.clip(np.rint(residual), -_TRUNCATED, _TRUNCATED) + _TRUNCATED
    levels: Images = steps.astype(np.uint8)
    pairs = [levels[:, :-1] * _LEVELS + levels[:, 1:], levels[:-1] * _LEVELS + levels[1:]]
    bins, span = [_LEVELS**2], (0.0, float(_LEVELS**2))
    across, down = (cv2.calcHist([each], [0], None, bins, span) for each in pairs)
    counts = across + down
    # A pair and the same with the other sign say the same of a picture.
    both = (counts + counts[::-1])[: _LEVELS**2 // 2 + 1]
    _, deviation = cv2.meanStdDev(residual)
    sizes = np.log1p([cv2.norm(residual, cv2.NORM_L1) / residual.size, deviation[0, 0]])
    return np.concatenate([np.sqrt(both / both.sum()), sizes]).astype(np.float32)


def _cosines(luma: Floats) -> Floats:
    """Of each coefficient: the logarithm of its mean size, and how often it is below a half."""
    rows, columns = (side // _BLOCK for side in luma.shape)
    blocks = luma.reshape(rows, _BLOCK, columns, _BLOCK).transpose(0, 2, 1, 3)
    sizes = np.abs(dctn(blocks - 128, axes=(2, 3), norm="ortho")).reshape(-1, _BLOCK**2)
    return np.concatenate([np.log1p(sizes.mean(axis=0)), (sizes < 0.5).mean(axis=0)]).astype(
        np.float32
    )


def _spectrum(luma: Floats) -> Floats:
    """The logarithm of the mean power in rings of equal width, from low to high frequencies."""
    side = luma.shape[0]
    window = np.hanning(side).astype(np.float32)
    power = np.abs(rfft2((luma - luma.mean()) * np.outer(window, window))) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    ring = np.minimum(radius * 2 * _RINGS, _RINGS - 1).astype(np.int64).ravel()
    means = np.bincount(ring, power.ravel()) / np.maximum(np.bincount(ring), 1)
    return np.log(means + 1).astype(np.float32)


def _grid(luma: Floats) -> Floats:
    """The mean difference of neighbours at each place of the grid, over the mean of all."""
    steps = np.abs(np.diff(luma, axis=1)).mean(axis=0)
    places = np.bincount(np.arange(len(steps)) % _BLOCK, steps)
    share: Floats = np.log((places + 1e-3) / (places.mean() + 1e-3)).astype(np.float32)
    return share


def _percentiles(luma: Floats) -> Floats:
    """The levels that these shares of the pixels do not exceed."""
    counts = cv2.calcHist([luma], [0], None, [256], (0.0, 256.0))
    reached = np.array(_PERCENTILES) / 100 * luma.size
    return np.searchsorted(np.cumsum(counts), reached).astype(np.float32)


#: Number of statistics.
STATISTICS = len(statistics(np.zeros((_BLOCK * 2, _BLOCK * 2, 3), np.uint8)))
