"""95 % intervals of measures, by family, that are right at 0 and 1 and for few families.

The images of a clip, and the clips of a family, are not independent: they show the same people in
the same room. Families are therefore resampled, not images (the cluster bootstrap, Field and Welsh,
2007): an image weighs as much as its family occurs in a resample.

A percentile bootstrap has no width where nothing is wrong: it calls a ROC-AUC of 1 from two clips
certain. Here the families' resamples give only the variance of a rate, and the interval is that of
Clopper and Pearson (1934) for as many independent images as have this variance: the effective
sample size of Korn and Graubard ("Confidence intervals for proportions with small expected number
of positive counts estimated from survey data", Survey Methodology, 1998), with their correction for
the degrees of freedom. Two bounds keep that size honest: a family counts at most once for each
label, and where the resamples show no variance, a family counts as one image (Kish's effective
number, "Survey Sampling", 1965). For a ROC-AUC this is the largest variance that it can have, A (1
- A) / min(REAL, FAKE) (Birnbaum and Klose, 1957). `docs/evaluate.md` has the coverage.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from scipy.stats import t as student

from dfdc_prep.run_files import Interval
from manifests.labels import LABELS
from manifests.wording import counted
from training.evaluation.predictions import Floats, Ints

#: Number of resamples.
SAMPLES = 1000
#: Largest number of weights held at once, over resamples and images: 32 MB.
_MAX_WEIGHTS = 4_000_000
#: Fewest families of each label for an interval.
MIN_FAMILIES = 10
#: Quantile of the upper end of a 95 % interval.
_UPPER = 0.975
#: Variance below which all resamples are equal, but for rounding.
_NO_VARIANCE = 1e-12
UNDEFINED = Interval(None, None)


def families_by_label(labels: Ints, families: Any) -> dict[str, int]:
    """Number of families with images of each label."""
    names = np.asarray(families)
    return {label: len(np.unique(names[labels == code])) for code, label in enumerate(LABELS)}


def too_few(clips: int, families: Mapping[str, int]) -> str | None:
    """Why there are no intervals: "2 clips: too few to say"; see `families_by_label`."""
    label, fewest = min(families.items(), key=lambda item: item[1])
    if fewest >= MIN_FAMILIES:
        return None
    if clips < MIN_FAMILIES * len(LABELS):
        return f"{counted(clips, 'clip')}: too few to say"
    return f"{label} clips of {counted(fewest, 'family')}: too few to say"


class FamilyIntervals:
    """Intervals of measures of images, [N], or undefined ones where the families are too few."""

    def __init__(self, labels: Ints, families: Any) -> None:
        names = np.asarray(families)
        groups = [names[labels == label] for label in np.unique(labels)]
        numbers = [len(np.unique(group)) for group in groups]
        self._labels, self._most = labels, sum(numbers)
        self._of_all = (len(np.unique(names)), _effective_number(names))
        self._of_labels = (min(numbers), min(map(_effective_number, groups)))
        self._resamples = FamilyBootstrap(names) if min(numbers) >= MIN_FAMILIES else None

    def share(self, holds: npt.NDArray[np.bool_]) -> Interval:
        """Of the share of images for which something holds, bool [N]."""
        if self._resamples is None:
            return UNDEFINED
        return self._rate(float(np.mean(holds)), self._resamples.means(holds), self._of_all)

    def mean(self, values: Floats) -> Interval:
        """Of the mean of a positive value per image, such as the log-loss, float64 [N].

        Student's interval of the mean's logarithm, by the delta method.
        """
        mean = float(np.mean(values))
        if self._resamples is None or mean <= 0:
            return UNDEFINED
        families = self._of_all[0]
        deviation = np.sqrt(_variance(self._resamples.means(values), families)) / mean
        reach = np.exp(student.ppf(_UPPER, families - 1) * deviation)
        return Interval(float(mean / reach), float(mean * reach))

    def rankings(self, scores: Floats, values: Mapping[str, float]) -> dict[str, Interval]:
        """Of measures of all images, by their names in `FamilyBootstrap.rankings`."""
        if self._resamples is None:
            return dict.fromkeys(values, UNDEFINED)
        ranked = self._resamples.rankings(self._labels, scores)
        return {name: self._rate(v, ranked[name], self._of_labels) for name, v in values.items()}

    def _rate(self, value: float, resampled: Floats, families: tuple[int, float]) -> Interval:
        """The interval of a rate of families: their number, and the effective one."""
        number, effective = families
        variance = _variance(resampled[~np.isnan(resampled)], number)
        if variance < _NO_VARIANCE:
            return clopper_pearson(value, effective)
        effective = min(value * (1 - value) / variance, self._most)
        # Korn and Graubard's correction: the variance is estimated, from few families.
        normal, few = student.ppf(_UPPER, self._most - 1), student.ppf(_UPPER, number - 1)
        return clopper_pearson(value, effective * (normal / few) ** 2)


def clopper_pearson(share: float, size: float) -> Interval:
    """The 95 % interval of a share (Clopper and Pearson, 1934) for any size, whole or not."""
    holds, fails = share * size, (1 - share) * size
    low = beta.ppf(1 - _UPPER, holds, fails + 1) if holds > 0 else 0.0
    high = beta.ppf(_UPPER, holds + 1, fails) if fails > 0 else 1.0
    return Interval(float(low), float(high))


def _variance(resampled: Floats, families: int) -> float:
    """The variance of a measure; resamples of n families show (n - 1) / n of it."""
    return float(np.var(resampled)) * families / (families - 1)


def _effective_number(families: Any) -> float:
    """The number of equally large families that are worth as much (Kish, 1965)."""
    sizes = np.unique(families, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


class FamilyBootstrap:
    """Resamples of the families of some images, [N]; the same families give the same resamples."""

    def __init__(self, families: Any) -> None:
        names, self._family = np.unique(np.asarray(families), return_inverse=True)
        shares = np.full(len(names), 1 / len(names))
        #: How often each family occurs in each resample, [SAMPLES, families].
        self._draws = np.random.default_rng(42).multinomial(len(names), shares, size=SAMPLES)

    def means(self, values: npt.ArrayLike) -> Floats:
        """The mean of a value per image, [N], in each resample."""
        totals = np.bincount(self._family, np.asarray(values, np.float64))
        means: Floats = (self._draws @ totals) / (self._draws @ np.bincount(self._family))
        return means

    def rankings(self, labels: Ints, scores: Floats) -> dict[str, Floats]:
        """ROC-AUC, average precision and equal error rate in each resample, [SAMPLES].

        They compare the labels: NaN in a resample that lacks one of them.
        """
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        fake, family = labels[order] == 1, self._family[order]
        step, parts = max(1, _MAX_WEIGHTS // len(order)), []
        for first in range(0, SAMPLES, step):
            weights = self._draws[first : first + step, family].astype(np.float64)
            by_label = (np.where(fake, weights, 0), np.where(fake, 0, weights))
            parts.append(_rankings(*(np.add.reduceat(w, starts, axis=1) for w in by_label)))
        names = ("auc", "average_precision", "eer")
        return dict(zip(names, np.concatenate(parts, axis=1), strict=True))


def _rankings(fake: Floats, real: Floats) -> Floats:
    """ROC-AUC, average precision and equal error rate, [3, S].

    From the weight of each label at each distinct score, highest score first, [S, L].
    """
    fakes, reals = fake.sum(axis=1, keepdims=True), real.sum(axis=1, keepdims=True)
    called_fake, called_real = np.cumsum(fake, axis=1), np.cumsum(real, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A FAKE is ranked right against each REAL of a lower score; ties count half.
        auc = (fake * (reals - called_real + real / 2)).sum(axis=1) / (fakes * reals)[:, 0]
        precision = np.nan_to_num(called_fake / (called_fake + called_real))
        average_precision = (fake / fakes * precision).sum(axis=1)
        # As ever more is called FAKE, the share of REAL called FAKE rises and that of FAKE called
        # REAL falls, so the two are equal between the thresholds around a gap of 0.
        false_fake = np.pad(called_real / reals, ((0, 0), (1, 0)))
        gap = false_fake - np.pad(1 - called_fake / fakes, ((0, 0), (1, 0)), constant_values=1.0)
        rows, after = np.arange(len(gap)), np.argmax(gap >= 0, axis=1)  # after is at least 1
        low, low_gap = false_fake[rows, after - 1], gap[rows, after - 1]
        share = -low_gap / (gap[rows, after] - low_gap)
        eer = low + share * (false_fake[rows, after] - low)
    defined = (fakes * reals)[:, 0] > 0
    return np.where(defined, np.stack([auc, average_precision, eer]), np.nan)
