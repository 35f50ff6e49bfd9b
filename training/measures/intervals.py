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

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, stdtrit

from dfdc_prep.run_files import Interval
from manifests.labels import LABELS
from manifests.wording import counted
from training.measures.ranking import RANKINGS, Floats, Ints, weighted

#: Number of resamples.
SAMPLES = 1000
#: Fewest families of each label for an interval.
MIN_FAMILIES = 10
#: Quantile of the upper end of a 95 % interval.
UPPER = 0.975
#: Variance below which all resamples are equal, but for rounding.
NO_VARIANCE = 1e-12
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

    def __init__(self, labels: Ints, families: Any, error: float = 0.05) -> None:
        """`error` is the probability that an interval misses its measure."""
        names, self._upper = np.asarray(families), 1 - error / 2
        groups = [names[labels == label] for label in np.unique(labels)]
        numbers = [len(np.unique(group)) for group in groups]
        self._labels, self._families, self._most = labels, names, sum(numbers)
        self._of_all = (len(np.unique(names)), effective_number(names))
        self._of_labels = (min(numbers), min(map(effective_number, groups)))
        self._enough = min(numbers) >= MIN_FAMILIES

    @cached_property
    def _resamples(self) -> "FamilyBootstrap | None":
        return FamilyBootstrap(self._families) if self._enough else None

    def share(self, holds: npt.NDArray[Any]) -> Interval:
        """Of the share of images for which something holds, bool or 0 to 1, [N]."""
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
        deviation = np.sqrt(variance_by_family(self._resamples.means(values), families)) / mean
        reach = np.exp(stdtrit(families - 1, self._upper) * deviation)
        return Interval(float(mean / reach), float(mean * reach))

    def rankings(self, scores: Floats, values: Mapping[str, float]) -> dict[str, Interval]:
        """Of measures of all images, by their names in RANKINGS."""
        if self._resamples is None:
            return dict.fromkeys(values, UNDEFINED)
        ranked = self._resamples.rankings(self._labels, scores, values)
        return {name: self._rate(v, ranked[name], self._of_labels) for name, v in values.items()}

    def resampled(self, value: float, resampled: Floats, *, ranked: bool) -> Interval:
        """Of a share of images, or a measure that ranks them, from resamples of families."""
        if not self._enough:
            return UNDEFINED
        return self._rate(value, resampled, self._of_labels if ranked else self._of_all)

    def _rate(self, value: float, resampled: Floats, families: tuple[int, float]) -> Interval:
        """The interval of a rate of families: their number, and the effective one."""
        number, effective = families
        variance = variance_by_family(resampled[~np.isnan(resampled)], number)
        if variance < NO_VARIANCE:
            return clopper_pearson(value, effective, self._upper)
        effective = min(value * (1 - value) / variance, self._most)
        # Korn and Graubard's correction: the variance is estimated, from few families.
        normal, few = (stdtrit(n - 1, self._upper) for n in (self._most, number))
        return clopper_pearson(value, effective * (normal / few) ** 2, self._upper)


def clopper_pearson(share: float, size: float, upper: float = UPPER) -> Interval:
    """The interval of a share (Clopper and Pearson, 1934) for any size, whole or not.

    `upper` is the quantile of its upper end.
    """
    holds, fails = share * size, (1 - share) * size
    low = betaincinv(holds, fails + 1, 1 - upper) if holds > 0 else 0.0
    high = betaincinv(holds + 1, fails, upper) if fails > 0 else 1.0
    return Interval(float(low), float(high))


def variance_by_family(resampled: Floats, families: int) -> float:
    """The variance of a measure; resamples of n families show (n - 1) / n of it."""
    return float(np.var(resampled)) * families / (families - 1)


def effective_number(families: Any) -> float:
    """The number of equally large families that are worth as much (Kish, 1965)."""
    sizes = np.unique(families, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


@lru_cache(maxsize=1)
def _drawn(families: int) -> Floats:
    """How often each of some families occurs in each resample, [SAMPLES, families]; read only."""
    shares = np.full(families, 1 / families)
    draws = np.random.default_rng(42).multinomial(families, shares, size=SAMPLES)
    counts: Floats = draws.astype(np.float64)
    counts.flags.writeable = False
    return counts


class FamilyBootstrap:
    """Resamples of the families of some images, [N].

    Args:
        among: all families that are resampled, in any order and number; the same ones give the
            same resamples, so that measures of several models, or of parts of a set, can be paired.
            None for those of the images.
    """

    def __init__(self, families: Any, among: Any = None) -> None:
        names = np.unique(np.asarray(families if among is None else among))
        self.index: Ints = np.searchsorted(names, np.asarray(families))  # of each image's family
        #: How often each family occurs in each resample, [SAMPLES, families].
        self._draws = _drawn(len(names))
        self.number = len(names)

    @cached_property
    def _sizes(self) -> Floats:
        """The number of images in each resample, [SAMPLES]."""
        return self._sums(np.ones(len(self.index)))

    def _sums(self, values: Floats) -> Floats:
        totals = np.bincount(self.index, values, self.number)
        # Not by BLAS, whose sums depend on the number of cores.
        sums: Floats = np.einsum("sf,f->s", self._draws, totals)
        return sums

    def means(self, values: npt.ArrayLike) -> Floats:
        """The mean of a value per image, [N], in each resample."""
        with np.errstate(invalid="ignore"):  # NaN in a resample that has none of the images
            means: Floats = self._sums(np.asarray(values, np.float64)) / self._sizes
        return means

    def rankings(
        self, labels: Ints, scores: Floats, names: Iterable[str] = RANKINGS
    ) -> dict[str, Floats]:
        """Measures of RANKINGS in each resample, [SAMPLES]: NaN where a label is missing."""
        return weighted(labels, scores, self.index, self._draws, names)
