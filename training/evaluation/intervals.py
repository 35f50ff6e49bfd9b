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
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta
from scipy.stats import t as student

from dfdc_prep.run_files import TPR_AT, Interval
from manifests.labels import LABELS
from manifests.wording import counted

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Number of resamples.
SAMPLES = 1000
#: Largest number of weights held at once, over resamples and images: 32 MB.
_MAX_WEIGHTS = 4_000_000
#: Families whose REAL images are compared with all FAKE ones at once.
_BLOCK = 256
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
        self._labels, self._most = labels, sum(numbers)
        self._of_all = (len(np.unique(names)), effective_number(names))
        self._of_labels = (min(numbers), min(map(effective_number, groups)))
        self._resamples = FamilyBootstrap(names) if min(numbers) >= MIN_FAMILIES else None

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
        reach = np.exp(student.ppf(self._upper, families - 1) * deviation)
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
        variance = variance_by_family(resampled[~np.isnan(resampled)], number)
        if variance < NO_VARIANCE:
            return clopper_pearson(value, effective, self._upper)
        effective = min(value * (1 - value) / variance, self._most)
        # Korn and Graubard's correction: the variance is estimated, from few families.
        normal, few = (student.ppf(self._upper, n - 1) for n in (self._most, number))
        return clopper_pearson(value, effective * (normal / few) ** 2, self._upper)


def clopper_pearson(share: float, size: float, upper: float = UPPER) -> Interval:
    """The interval of a share (Clopper and Pearson, 1934) for any size, whole or not.

    `upper` is the quantile of its upper end.
    """
    holds, fails = share * size, (1 - share) * size
    low = beta.ppf(1 - upper, holds, fails + 1) if holds > 0 else 0.0
    high = beta.ppf(upper, holds + 1, fails) if fails > 0 else 1.0
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

    def means(self, values: npt.ArrayLike) -> Floats:
        """The mean of a value per image, [N], in each resample."""
        totals = np.bincount(self.index, np.asarray(values, np.float64), self.number)
        sizes = np.bincount(self.index, minlength=self.number)
        with np.errstate(invalid="ignore"):  # NaN in a resample that has none of the images
            means: Floats = (self._draws @ totals) / (self._draws @ sizes)
        return means

    def auc(self, labels: Ints, scores: Floats) -> Floats:
        """ROC-AUC alone in each resample, [SAMPLES], several times faster; see `rankings`."""
        draws, fake, real = self._draws, labels == 1, labels == 0
        fakes, of = scores[fake], self.index[fake]
        totals = (np.bincount(self.index[kind], minlength=self.number) for kind in (fake, real))
        right = np.zeros(SAMPLES)
        for first in range(0, self.number, _BLOCK):
            block = range(first, min(first + _BLOCK, self.number))
            pairs = np.empty((self.number, len(block)))  # FAKE and REAL ranked right, by family
            for column, family in enumerate(block):
                reals = np.sort(scores[real & (self.index == family)])
                below = np.searchsorted(reals, fakes, "left") + np.searchsorted(
                    reals, fakes, "right"
                )
                pairs[:, column] = np.bincount(of, below / 2, self.number)
            right += ((draws @ pairs) * draws[:, block.start : block.stop]).sum(axis=1)
        with np.errstate(invalid="ignore"):
            found: Floats = right / np.prod([draws @ each for each in totals], axis=0)
        return found

    def rankings(self, labels: Ints, scores: Floats) -> dict[str, Floats]:
        """ROC-AUC, average precision, equal error rate and TPR_AT in each resample, [SAMPLES].

        They compare the labels: NaN in a resample that lacks one of them.
        """
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        fake, family = labels[order] == 1, self.index[order]
        step, parts = max(1, _MAX_WEIGHTS // len(order)), []
        for first in range(0, SAMPLES, step):
            weights = self._draws[first : first + step, family]
            by_label = (np.where(fake, weights, 0), np.where(fake, 0, weights))
            parts.append(_rankings(*(np.add.reduceat(w, starts, axis=1) for w in by_label)))
        names = ("auc", "average_precision", "eer", *TPR_AT)
        return dict(zip(names, np.concatenate(parts, axis=1), strict=True))


def _rankings(fake: Floats, real: Floats) -> Floats:
    """ROC-AUC, average precision, equal error rate and those of TPR_AT, [5, S].

    From the weight of each label at each distinct score, highest score first, [S, L].
    """
    called_fake, called_real = np.cumsum(fake, axis=1), np.cumsum(real, axis=1)
    fakes, reals = called_fake[:, -1:], called_real[:, -1:]
    rows = np.arange(len(fake))
    with np.errstate(divide="ignore", invalid="ignore"):
        # A FAKE is ranked right against each REAL of a lower score; ties count half.
        auc = (fake * (reals - called_real + real / 2)).sum(axis=1) / (fakes * reals)[:, 0]
        precision = called_fake / np.maximum(called_fake + called_real, 1)  # weights are counts
        average_precision = (fake * precision).sum(axis=1) / fakes[:, 0]
        # As ever more is called FAKE, the share of REAL called FAKE rises and that of FAKE called
        # REAL falls, so the two are equal between the thresholds around a gap of 0.
        false_fake = called_real / reals
        gap = false_fake - (1 - called_fake / fakes)
        after = np.argmax(gap >= 0, axis=1)
        low, low_gap = (
            np.where(after > 0, values[rows, after - 1], start)
            for values, start in ((false_fake, 0.0), (gap, -1.0))
        )
        share = -low_gap / (gap[rows, after] - low_gap)
        eer = low + share * (false_fake[rows, after] - low)
        found = [auc, average_precision, eer]
        for rate in TPR_AT.values():
            number = (false_fake <= rate + 1e-12).sum(axis=1)  # of thresholds
            found.append(np.where(number > 0, called_fake[rows, number - 1] / fakes[:, 0], 0.0))
    defined = (fakes * reals)[:, 0] > 0
    return np.where(defined, np.stack(found), np.nan)
