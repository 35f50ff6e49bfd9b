"""Predictions of a split: by clip and by family, reliability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from manifests.labels import LABELS

Floats = npt.NDArray[np.float64]

#: Bins of the reliability diagram and of the expected calibration error.
RELIABILITY_BINS = 15


@dataclass(frozen=True)
class Predictions:
    """The predictions of a split, one per image.

    Attributes:
        clip: the clip of each image as part/name.
        family: the family of each image.
        label: int64 [N], index in LABELS.
        logit: float64 [N].
        score, calibrated: P(FAKE) before and after calibration, float64 [N].
    """

    clip: list[str]
    family: list[str]
    label: npt.NDArray[np.int64]
    logit: Floats
    score: Floats
    calibrated: Floats


@dataclass(frozen=True)
class Grouped:
    """Predictions of the images of a clip or of a family, together.

    Attributes:
        name: the clip as part/name, or the family.
        label: the label of its images; None if both occur.
        images: number of images.
        score: P(FAKE), of the mean logit.
        loss: mean log-loss of the images.
        wrong: number of images that are predicted wrongly.
    """

    name: str
    label: str | None
    images: int
    score: float
    loss: float
    wrong: int


def group_predictions(predictions: Predictions, names: Sequence[str]) -> list[Grouped]:
    """Return the predictions by group, sorted by name.

    Args:
        names: the group of each image, such as its clip.
    """
    found, index = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
    images = np.bincount(index)
    # The log-loss of one image is log(1 + exp(-logit)) for FAKE, log(1 + exp(logit)) for REAL.
    sign = np.where(predictions.label == 1, -1, 1)
    loss = np.bincount(index, np.logaddexp(0, sign * predictions.logit)) / images
    score = expit(np.bincount(index, predictions.logit) / images)
    wrong = np.bincount(index, (predictions.logit >= 0) != (predictions.label == 1))
    fakes = np.bincount(index, predictions.label)
    return [
        Grouped(
            str(name),
            LABELS[0] if fakes[at] == 0 else LABELS[1] if fakes[at] == images[at] else None,
            int(images[at]),
            float(score[at]),
            float(loss[at]),
            int(wrong[at]),
        )
        for at, name in enumerate(found)
    ]


def reliability(labels: npt.NDArray[np.int64], scores: Floats) -> tuple[Floats, Floats]:
    """Return the mean score and the share of FAKE in each bin of the scores that is not empty.

    The bins are those of the expected calibration error (Guo et al., 2017): 15 of equal width.
    """
    bins = np.minimum((scores * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    counts = np.bincount(bins, minlength=RELIABILITY_BINS)
    filled = counts > 0
    confidence = np.bincount(bins, scores, RELIABILITY_BINS)[filled] / counts[filled]
    share = np.bincount(bins, labels, RELIABILITY_BINS)[filled] / counts[filled]
    return confidence, share
