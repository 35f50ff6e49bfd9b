"""Measures of resamples of families, for every resample at once.

The images of a clip, and the clips of a family, are not independent: they show the same people in
the same room. Families are therefore resampled with replacement, not images (the cluster bootstrap,
Field and Welsh, 2007). An image weighs as much as its family occurs in a resample, so each measure
is one of weighted images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Number of resamples.
SAMPLES = 1000
#: Largest number of weights held at once, over resamples and images: 32 MB.
_MAX_WEIGHTS = 4_000_000


@dataclass(frozen=True)
class Resampled:
    """Measures of each resample, float64 [SAMPLES], NaN where undefined.

    A measure that compares the labels is undefined in a resample that lacks one of them.
    """

    auc: Floats
    average_precision: Floats
    eer: Floats


class FamilyBootstrap:
    """Resamples of the families of some images.

    Args:
        families: the family of each image, [N].
        seed: the same seed and families give the same resamples.
    """

    def __init__(self, families: Any, seed: int = 42) -> None:
        names, self._family = np.unique(np.asarray(families), return_inverse=True)
        shares = np.full(len(names), 1 / len(names))
        rng = np.random.default_rng(seed)
        #: How often each family occurs in each resample, [SAMPLES, families].
        self._draws = rng.multinomial(len(names), shares, size=SAMPLES)

    def means(self, values: npt.ArrayLike) -> Floats:
        """The mean of a value per image, [N], in each resample."""
        totals = np.bincount(self._family, np.asarray(values, np.float64))
        means: Floats = (self._draws @ totals) / (self._draws @ np.bincount(self._family))
        return means

    def rankings(self, labels: Ints, scores: Floats) -> Resampled:
        """ROC-AUC, average precision and equal error rate of scores in each resample."""
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        fake = labels[order] == 1
        parts = [
            _rankings(
                np.add.reduceat(np.where(fake, weights, 0), starts, axis=1),
                np.add.reduceat(np.where(fake, 0, weights), starts, axis=1),
            )
            for weights in self._weights(order)
        ]
        return Resampled(*np.concatenate(parts, axis=1))

    def _weights(self, order: Ints) -> Iterator[Floats]:
        """Weights of the images in an order, [some resamples, N], until every resample came."""
        step = max(1, _MAX_WEIGHTS // len(order))
        for start in range(0, SAMPLES, step):
            yield self._draws[start : start + step, self._family[order]].astype(np.float64)


def _rankings(fake: Floats, real: Floats) -> Floats:
    """ROC-AUC, average precision and equal error rate, [3, S].

    Args:
        fake, real: weight of each label at each distinct score, highest score first, [S, L].
    """
    fakes, reals = fake.sum(axis=1, keepdims=True), real.sum(axis=1, keepdims=True)
    called_fake, called_real = np.cumsum(fake, axis=1), np.cumsum(real, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A FAKE is ranked right against each REAL of a lower score; ties count half.
        auc = (fake * (reals - called_real + real / 2)).sum(axis=1) / (fakes * reals)[:, 0]
        precision = np.nan_to_num(called_fake / (called_fake + called_real))
        average_precision = (fake / fakes * precision).sum(axis=1)
        eer = _equal_error_rates(called_real / reals, 1 - called_fake / fakes)
    defined = (fakes * reals)[:, 0] > 0
    return np.where(defined, np.stack([auc, average_precision, eer]), np.nan)


def _equal_error_rates(false_fake: Floats, false_real: Floats) -> Floats:
    """Where the two error rates are equal, between the thresholds around it, [S].

    Args:
        false_fake: share of REAL called FAKE from each score on, ascending, [S, L].
        false_real: share of FAKE called REAL, descending, [S, L].
    """
    pad = ((0, 0), (1, 0))
    low = np.pad(false_fake, pad)
    gap = low - np.pad(false_real, pad, constant_values=1.0)
    rows = np.arange(len(gap))
    after = np.argmax(gap >= 0, axis=1)  # at least 1: without any FAKE called, the gap is -1
    before = after - 1
    share = -gap[rows, before] / (gap[rows, after] - gap[rows, before])
    rates: Floats = low[rows, before] + share * (low[rows, after] - low[rows, before])
    return rates
