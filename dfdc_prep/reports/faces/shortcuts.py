"""Shortcuts: single measures that tell REAL from FAKE, which a model takes instead of traces.

For each measure the area under the ROC curve is computed, with each clip counted once, by the
mean of its crops, since the crops of a clip are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, mannwhitneyu

from dfdc_prep.reports.faces.measures import Measure, short_number
from manifests.labels import FAKE, LABELS, REAL
from manifests.tables.codes import Codes

#: Smallest AUC, in the better direction, of a measure said to separate the labels.
SEPARATING_AUC = 0.65
#: Fewest clips of each label of which the AUC of a measure is said.
MIN_CLIPS = 10
#: Largest probability that none of the measures tried would reach its AUC by chance.
_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Shortcut:
    """How well one measure alone tells REAL from FAKE.

    Attributes:
        measure: the measure.
        auc: area under the ROC curve in the better direction, 0.5 to 1.
        by_chance: probability of such an AUC if the measure told nothing (Mann-Whitney test),
            times the number of measures tried.
        larger: the label with the larger values.
        medians: the median of each label's clips.
        clips: number of clips with a known value, by label.
        upper: the AUC that such clips can hide, the upper end of its 95 % interval: that of a share
            of as many clips as the rarer label has, the largest variance that an AUC can have
            (Birnbaum and Klose, 1957).
    """

    measure: Measure
    auc: float
    by_chance: float
    larger: str
    medians: dict[str, float]
    clips: dict[str, int]
    upper: float

    @property
    def few(self) -> bool:
        """Whether a label has too few clips for its AUC to say anything."""
        return min(self.clips.values()) < MIN_CLIPS

    @property
    def separates(self) -> bool:
        """Whether the measure is a shortcut, and not by chance."""
        return not self.few and self.auc >= SEPARATING_AUC and self.by_chance < _SIGNIFICANCE

    def sentence(self) -> str:
        """What the measure gives away, in words."""
        smaller = LABELS[1 - LABELS.index(self.larger)]
        return (
            f"{self.measure.name.capitalize()} alone tells REAL from FAKE with an AUC of "
            f"{self.auc:.2f} (chance is 0.50): it is larger in {self.larger} clips, median "
            f"{short_number(self.medians[self.larger])} against "
            f"{short_number(self.medians[smaller])}."
        )


def find_shortcuts(measures: Sequence[Measure], label: Codes, clip: Codes) -> list[Shortcut]:
    """Return how well each measure alone separates the labels, the worst shortcut first.

    Args:
        measures: measures of the rows; those unknown for one of the labels are left out.
        label: index in LABELS of each row, int64 [rows].
        clip: number of each row's clip, int64 [rows].
    """
    found = [each for measure in measures if (each := _shortcut(measure, label, clip, measures))]
    return sorted(found, key=lambda each: -each.auc)


def _shortcut(
    measure: Measure, label: Codes, clip: Codes, tried: Sequence[Measure]
) -> Shortcut | None:
    known = measure.known
    clips, index = np.unique(clip[known], return_inverse=True)
    means = np.bincount(index, measure.values[known]) / np.maximum(np.bincount(index), 1)
    clip_label = np.zeros(len(clips), np.int64)
    clip_label[index] = label[known]
    real, fake = (means[clip_label == LABELS.index(name)] for name in (REAL, FAKE))
    if not len(real) or not len(fake):
        return None
    # The statistic counts the pairs in which the FAKE clip has the larger value; ties are half.
    statistic, probability = mannwhitneyu(fake, real)
    auc = float(statistic) / (len(real) * len(fake))
    best, rarer = max(auc, 1 - auc), min(len(real), len(fake))
    upper = beta.ppf(0.975, best * rarer + 1, (1 - best) * rarer) if best < 1 else 1.0
    return Shortcut(
        measure,
        best,
        min(1.0, float(probability) * len(tried)),
        FAKE if auc >= 0.5 else REAL,
        {REAL: float(np.median(real)), FAKE: float(np.median(fake))},
        {REAL: len(real), FAKE: len(fake)},
        float(upper),
    )
