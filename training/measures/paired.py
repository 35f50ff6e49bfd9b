"""Differences of ROC-AUC and accuracy between models, or groups of clips, of the same families.

Both are resampled together, so a difference has the variance of its own resamples (the paired
cluster bootstrap). Its interval is Student's, not the resamples' percentiles, because these have no
width where no family tells the two apart. Its degrees of freedom are the number of families that
make the difference, (sum u^2)^2 / sum u^4 of each family's part u in it: with one such family of
200 there is one, and nothing is certain; with three alike, the p is about that of a sign test.
The parts are those of the delta method: of a ROC-AUC the placements of DeLong, DeLong and
Clarke-Pearson ("Comparing the areas under two or more correlated receiver operating characteristic
curves", Biometrics, 1988), summed by family as in Obuchowski ("Nonparametric analysis of clustered
ROC curve data", Biometrics, 1997). Where no family makes a difference, each of them counts as one
clip, as in `intervals`. `docs/evaluate.md` has the coverage.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from dfdc_prep.run_files import Interval
from training.measures.intervals import (
    NO_VARIANCE,
    UPPER,
    FamilyBootstrap,
    effective_number,
    variance_by_family,
)
from training.measures.predictions import Floats, Ints, Level

#: The measures that are compared.
COMPARED = ("auc", "accuracy")


class Estimate(NamedTuple):
    """A measure, what it is in each resample, and what each family has to do with it."""

    value: float
    resampled: Floats  # [SAMPLES]; NaN where undefined
    parts: Floats  # by label and family, [2, F]; those of a label add up to 0


class Difference(NamedTuple):
    """A difference, its 95 % interval and two-sided p; these are None for too few families."""

    value: float
    interval: Interval
    p: float | None


def estimates(level: Level, among: Any, names: Sequence[str] = COMPARED) -> dict[str, Estimate]:
    """Measures of COMPARED of some clips; without ROC-AUC where a label is missing.

    Args:
        among: families of all clips; `FamilyBootstrap`.
    """
    found = {}
    if "auc" in names and len(np.unique(level.labels)) == 2:
        labels, logits, families, _ = level.ranked()
        ranks = FamilyBootstrap(families, among)
        placements = placements_of(labels, logits)
        auc = float(np.mean(placements[labels == 1]))
        parts = _by_family(labels, ranks, (placements - auc) / np.bincount(labels)[labels])
        found["auc"] = Estimate(auc, ranks.rankings(labels, logits, ("auc",))["auc"], parts)
    if "accuracy" in names:
        right = level.right()
        means = FamilyBootstrap(level.families, among)
        accuracy = float(np.mean(right))
        parts = _by_family(level.labels, means, (right - accuracy) / len(right))
        found["accuracy"] = Estimate(accuracy, means.means(right), parts)
    return found


def placements_of(labels: Ints, scores: Floats) -> Floats:
    """The share of the other label that each is ranked right against, ties by half, [N]."""
    found = np.empty(len(labels))
    for label in (0, 1):
        own, others = labels == label, np.sort(scores[labels != label])
        ends = (np.searchsorted(others, scores[own], side) for side in ("left", "right"))
        below = sum(ends) / (2 * len(others))
        found[own] = below if label else 1 - below
    return found


def _by_family(labels: Ints, families: FamilyBootstrap, parts: Floats) -> Floats:
    cells = labels * families.number + families.index
    sums: Floats = np.bincount(cells, parts, 2 * families.number).astype(np.float64)
    return sums.reshape(2, families.number)


def mean_of(found: Sequence[Estimate]) -> Estimate:
    """The mean of a measure over several models."""
    value, resampled, parts = (np.mean(each, axis=0) for each in zip(*found, strict=True))
    return Estimate(float(value), resampled, parts)


def difference(
    first: Estimate, second: Estimate, families: Any, upper: float = UPPER
) -> Difference:
    """The first less the second.

    Args:
        families: of the clips, [N], or of those of both parts of a set.
        upper: quantile of the upper end of the interval.
    """
    value = first.value - second.value
    resampled = first.resampled - second.resampled
    variance = variance_by_family(resampled[~np.isnan(resampled)], first.parts.shape[1])
    if variance < NO_VARIANCE:
        number = effective_number(families)
        reach, p = 1 - (1 - upper) ** (1 / number), min(1.0, 2.0 ** (1 - number))
        p = p if abs(value) > NO_VARIANCE else 1.0
    else:
        parts = (first.parts - second.parts).sum(axis=0)
        freedom = np.sum(parts**2) ** 2 / np.sum(parts**4)
        reach = stdtrit(freedom, upper) * np.sqrt(variance)
        p = float(2 * stdtr(freedom, -abs(value) / np.sqrt(variance)))
    interval = Interval(max(-1.0, float(value - reach)), min(1.0, float(value + reach)))
    return Difference(value, interval, p)


def delong(first: Estimate, second: Estimate, labels: Ints) -> float:
    """The two-sided p of DeLong's test of two ROC-AUCs; 1 where no clip tells them apart.

    It is for independent clips: families of one clip for each label. That a REAL clip and a FAKE
    of one family may be alike, it does not see.
    """
    sizes = np.bincount(labels, minlength=2)
    squares = np.sum((first.parts - second.parts) ** 2, axis=1)
    variance = float(np.sum(squares * sizes / np.maximum(sizes - 1, 1)))
    if variance < NO_VARIANCE**2:
        return float(abs(first.value - second.value) < NO_VARIANCE)
    return float(2 * ndtr(-abs(first.value - second.value) / np.sqrt(variance)))


def holm(p: Iterable[float | None]) -> list[float | None]:
    """The p-values adjusted for their number (Holm, 1979); None stays and does not count."""
    given = list(p)
    known = [at for at, value in enumerate(given) if value is not None]
    known.sort(key=lambda at: given[at] or 0.0)
    adjusted, largest = list(given), 0.0
    for step, at in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - step) * (given[at] or 0.0)))
        adjusted[at] = largest
    return adjusted
