"""Metrics from labels and logits: pure functions with scikit-learn's definitions.

Labels are int64 [N], 0 for REAL and 1 for FAKE; logits and scores are float64 [N]; a score is
P(FAKE). The predicted class is FAKE for scores of at least 0.5.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn import metrics as sk

from dfdc_prep.run_files import (
    Calibration,
    ClassificationMetrics,
    ClassMetrics,
    IntervalMetrics,
    Intervals,
    OperatingPoint,
    SplitMetrics,
)
from manifests.labels import LABELS, UNKNOWN
from manifests.wording import counted
from training.evaluation.intervals import (
    UNDEFINED,
    FamilyIntervals,
    families_by_label,
    too_few,
)
from training.evaluation.predictions import Predictions
from training.evaluation.undecided import undecided_band

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Number of bins of the expected calibration error.
CALIBRATION_BINS = 15
#: Smallest and largest temperature that are tried.
TEMPERATURES = (0.05, 20.0)


def group_means(values: Floats, groups: Any) -> tuple[Any, Floats]:
    """The sorted unique groups and the mean value of each."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    return names, np.bincount(index, values) / np.bincount(index)


def classification_metrics(labels: Ints, scores: Floats) -> ClassificationMetrics:
    """Accuracy, log-loss, ROC-AUC, metrics per class and confusion matrix.

    The AUC is None if a class is missing. Rows of the confusion matrix are the true classes,
    REAL first.
    """
    predicted = (scores >= 0.5).astype(np.int64)
    both = len(np.unique(labels)) == 2
    columns = sk.precision_recall_fscore_support(labels, predicted, labels=[0, 1], zero_division=0)
    per_class = [
        ClassMetrics(float(p), float(r), float(f), int(n))
        for p, r, f, n in zip(*columns, strict=True)
    ]
    return ClassificationMetrics(
        images=len(labels),
        accuracy=float(sk.accuracy_score(labels, predicted)),
        log_loss=float(sk.log_loss(labels, scores, labels=[0, 1])),
        auc=float(sk.roc_auc_score(labels, scores)) if both else None,
        classes=dict(zip(LABELS, per_class, strict=True)),
        confusion=sk.confusion_matrix(labels, predicted, labels=[0, 1]).tolist(),
    )


def fit_temperature(labels: Ints, logits: Floats) -> float:
    """Fit the temperature that minimizes the log-loss of logits / t (Guo et al., 2017).

    The temperature is fitted between 0.05 and 20 and should be fitted on data the model was not
    trained on. The targets are smoothed as in Platt (1999): (n + 1) / (n + 2) for FAKE and
    1 / (n + 2) for REAL, n being the size of the class. With targets of 0 and 1, the optimum
    on a split without errors would be a temperature of 0.
    """
    fakes = int(labels.sum())
    reals = len(labels) - fakes
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    bounds = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def best_threshold(labels: Ints, scores: Floats) -> float | None:
    """The threshold of P(FAKE) with the highest balanced accuracy (Youden's J).

    It lies halfway between two scores, the highest such threshold if there are several; None if a
    class is missing.
    """
    if len(np.unique(labels)) < 2:
        return None
    false, true, thresholds = sk.roc_curve(labels, scores, drop_intermediate=False)
    best = int(np.argmax(true - false))
    if not best:  # no threshold separates better than calling everything REAL
        return float((scores.max() + 1) / 2)
    lower = scores[scores < thresholds[best]]
    return float((thresholds[best] + (lower.max() if len(lower) else 0)) / 2)


def operating_point(labels: Ints, logits: Floats) -> OperatingPoint:
    """Temperature and threshold from data that the model was not trained on."""
    return OperatingPoint(fit_temperature(labels, logits), best_threshold(labels, expit(logits)))


def calibration_error(labels: Ints, scores: Floats) -> float:
    """Expected calibration error of P(FAKE) over 15 equal bins (Guo et al., 2017)."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    # Per bin, the sum of score - label is its size times (confidence - share of FAKE).
    gaps = np.bincount(bins, scores - labels, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def temperature_remark(temperature: float) -> str | None:
    """What to say of a temperature at its bound, where the fit found no best one; else None."""
    if temperature >= TEMPERATURES[1] / 1.01:
        return (
            f"Temperature {temperature:.4g} is the largest that is tried: on the validation split "
            "the scores tell REAL from FAKE hardly or not at all, and calibration makes them all "
            "0.5, or nearly so."
        )
    if temperature <= TEMPERATURES[0] * 1.01:
        return (
            f"Temperature {temperature:.4g} is the smallest that is tried: the logits are close to "
            "0, and calibrated scores may be too sure."
        )
    return None


def _families_remark(predictions: Predictions) -> str | None:
    """What to say where the families of FAKE clips are not known; None if they all are."""
    if "family_source" not in predictions.rows.column_names:
        return None
    sources = predictions.rows["family_source"].to_pylist()
    pairs = zip(predictions.clips, sources, strict=True)
    if not (unknown := {clip for clip, source in pairs if source == UNKNOWN}):
        return None
    return (
        f"The original of {counted(len(unknown), 'FAKE clip')} is not known: each counts as a "
        "family of its own, and intervals may be too narrow."
    )


def _intervals(measured: ClassificationMetrics, labels: Ints, scores: Floats, of: Any) -> Intervals:
    """95 % intervals of accuracy, log-loss and AUC by family; see `intervals`."""
    intervals = FamilyIntervals(labels, of)
    auc = UNDEFINED
    if measured.auc is not None:
        auc = intervals.rankings(scores, {"auc": measured.auc})["auc"]
    return Intervals(
        intervals.share((scores >= 0.5) == labels),
        intervals.mean(log_losses(labels, scores)),
        auc,
    )


def log_losses(labels: Ints, scores: Floats) -> Floats:
    """The log-loss of each image, clipped as scikit-learn's `log_loss` clips."""
    clipped = np.clip(scores, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    losses: Floats = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    return losses


def split_metrics(
    split: str, shards: str, predictions: Predictions, point: OperatingPoint
) -> SplitMetrics:
    """The metrics of one split: per image, per clip, calibration.

    The logit of a clip is the mean over its images; each clip belongs to one family.

    Args:
        point: its temperature affects the calibrated log-loss and calibration error only; its
            threshold is recorded.
    """
    labels, logits = predictions.labels, predictions.logits
    clips, families = predictions.clips, predictions.families
    names, clip_logits = group_means(logits, clips)
    _, first = np.unique(np.asarray(clips), return_index=True)
    clip_labels, clip_families = labels[first], np.asarray(families)[first]
    scores, clip_scores = expit(logits), expit(clip_logits)
    calibrated = expit(logits / point.temperature)
    image = _with_intervals(labels, scores, families)
    remarks = (temperature_remark(point.temperature), _families_remark(predictions))
    few = too_few(len(names), families_by_label(labels, families))
    return SplitMetrics(
        split,
        shards,
        image,
        _with_intervals(clip_labels, clip_scores, clip_families),
        len(names),
        len(np.unique(np.asarray(families))),
        point.temperature,
        Calibration(
            log_loss=float(sk.log_loss(labels, scores, labels=[0, 1])),
            log_loss_calibrated=float(sk.log_loss(labels, calibrated, labels=[0, 1])),
            ece=calibration_error(labels, scores),
            ece_calibrated=calibration_error(labels, calibrated),
        ),
        threshold=point.threshold,
        too_few=few,
        undecided=undecided_band(labels, calibrated, families, image.interval.auc, few),
        remarks=tuple(remark for remark in remarks if remark),
    )


def _with_intervals(labels: Ints, scores: Floats, families: Any) -> IntervalMetrics:
    measured = classification_metrics(labels, scores)
    return IntervalMetrics(
        **vars(measured), interval=_intervals(measured, labels, scores, families)
    )
