"""Measures that rank images, of one weighting of them or of many: ROC-AUC, AP, EER, TPR at FPR."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dfdc_prep.run_files import TPR_AT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Weights held at once, over weightings and images: few enough for a processor's cache.
_MAX_WEIGHTS = 200_000


class Roc(NamedTuple):
    """The ROC curves of the same images under S weightings, whole numbers.

    Each measure is [S], and undefined where a label has no weight.
    """

    fake: Floats  # weight of the 0, 1 ... FAKE images of the highest scores, [FAKE + 1, S]
    real: Floats  # the same of REAL ones
    called: Ints  # how many FAKE images are called FAKE at each threshold, 0 at the first, [L + 1]
    falsely: Ints  # the same of REAL ones

    def auc(self) -> Floats:
        """The share of pairs in which FAKE has the higher score; ties count half."""
        at, pairs = self._own(), self.fake[-1] * self.real[-1]
        not_below = self.real[self.falsely[at - 1]] + self.real[self.falsely[at]]
        found: Floats = (pairs - self._sum(not_below) / 2) / pairs
        return found

    def average_precision(self) -> Floats:
        """That of FAKE, as scikit-learn defines it."""
        at = self._own()
        found, wrong = self.fake[self.called[at]], self.real[self.falsely[at]]
        precision = self._sum(found / np.maximum(found + wrong, 1))
        mean: Floats = precision / self.fake[-1]
        return mean

    def eer(self) -> Floats:
        """The equal error rate, on the curve drawn with straight lines."""
        # As ever more is called FAKE, the share of REAL called FAKE rises and that of FAKE called
        # REAL falls, so the two are equal between the thresholds around a gap of 0.
        after = self._first(lambda at: self._fpr(at) + self._tpr(at) >= 1)
        before = after - 1
        low, high = self._fpr(before), self._fpr(after)
        gaps = [rate + self._tpr(at) - 1 for rate, at in ((low, before), (high, after))]
        found: Floats = low - gaps[0] / (gaps[1] - gaps[0]) * (high - low)
        return found

    def tpr(self, rate: float) -> Floats:
        """The largest share of FAKE found at a threshold that calls at most `rate` of REAL FAKE."""
        return self._tpr(self._first(lambda at: self._fpr(at) > rate + 1e-12) - 1)

    def _own(self) -> Ints:
        """The threshold of each FAKE image."""
        return np.repeat(np.arange(1, len(self.called)), np.diff(self.called))

    def _sum(self, values: Floats) -> Floats:
        """The weighted sum of a value of each FAKE image, [FAKE, S]."""
        found: Floats = np.einsum("is,is->s", np.diff(self.fake, axis=0), values)
        return found

    def _tpr(self, at: Ints) -> Floats:
        """The share of FAKE called FAKE, each weighting at a threshold of its own, [S]."""
        share: Floats = self.fake[self.called[at], np.arange(len(at))] / self.fake[-1]
        return share

    def _fpr(self, at: Ints) -> Floats:
        share: Floats = self.real[self.falsely[at], np.arange(len(at))] / self.real[-1]
        return share

    def _first(self, holds: Callable[[Ints], Any]) -> Ints:
        """The first threshold from which on something holds, [S]; it does so for the last."""
        shape = self.fake.shape[1]
        low, high = np.ones(shape, np.int64), np.full(shape, len(self.called) - 1)
        while (low < high).any():
            middle = (low + high) // 2
            found = holds(middle)
            low = np.where(found, low, np.minimum(middle + 1, high))
            high = np.where(found, middle, high)
        return low


#: The measures, by name.
RANKINGS: dict[str, Callable[[Roc], Floats]] = {
    "auc": Roc.auc,
    "average_precision": Roc.average_precision,
    "eer": Roc.eer,
    **{name: partial(Roc.tpr, rate=rate) for name, rate in TPR_AT.items()},
}


def rankings(labels: Ints, scores: Floats) -> dict[str, float]:
    """The measures of RANKINGS of images, [N], of both labels."""
    found = weighted(labels, scores, np.zeros(len(labels), np.int64), np.ones((1, 1)))
    return {name: float(value) for name, (value,) in found.items()}


def weighted(
    labels: Ints, scores: Floats, groups: Ints, weights: Floats, names: Iterable[str] = RANKINGS
) -> dict[str, Floats]:
    """Measures of images under S weightings, [S] each; NaN where a label has no weight.

    Args:
        groups: the group of each image, [N].
        weights: of the images of each group, whole numbers, [S, groups].
    """
    order = np.argsort(-scores, kind="stable")
    fake, group = labels[order] == 1, groups[order]
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf)) + 1
    called = np.append(0, np.cumsum(fake)[ends - 1])
    thresholds = (called, np.append(0, ends) - called)
    step = max(16, _MAX_WEIGHTS // len(order))
    names, parts = list(names), []
    with np.errstate(divide="ignore", invalid="ignore"):
        for first in range(0, len(weights), step):
            some = np.ascontiguousarray(weights[first : first + step].T)
            roc = Roc(_sums(some[group[fake]]), _sums(some[group[~fake]]), *thresholds)
            known = roc.fake[-1] * roc.real[-1] > 0
            parts.append([np.where(known, RANKINGS[name](roc), np.nan) for name in names])
    return dict(zip(names, np.concatenate(parts, axis=1), strict=True))


def _sums(weights: Floats) -> Floats:
    """The sums of the first 0, 1 ... N rows, [N + 1, S]."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums
