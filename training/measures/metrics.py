"""Metrics from labels and logits: pure functions with scikit-learn's definitions.

Labels are int64 [N], 0 for REAL and 1 for FAKE; logits and scores are float64 [N]; a score is
P(FAKE), and the predicted class is FAKE from 0.5. scikit-learn is imported where it is needed: what
compares finished results does without.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from dfdc_prep.run_files import (
    MEASURES,
    TPR_AT,
    Calibration,
    ClassMetrics,
    Interval,
    Intervals,
    Metrics,
    OperatingPoint,
    SplitMetrics,
    Undecided,
)
from manifests.labels import FAKE, LABELS, REAL, UNKNOWN
from manifests.wording import counted
from training.measures.intervals import (
    UNDEFINED,
    FamilyIntervals,
    families_by_label,
    too_few,
)
from training.measures.predictions import Floats, Ints, Level, Predictions
from training.measures.ranking import rankings

#: Number of bins of the expected calibration error.
CALIBRATION_BINS = 15
#: Smallest and largest temperature that are tried.
TEMPERATURES = (0.05, 20.0)
#: Share of the images of a label that may lie on the other's side of the undecided band.
ERROR_RATE = 0.1


def classification_metrics(labels: Ints, scores: Floats, families: Any) -> Metrics:
    """Accuracy, log-loss, ROC-AUC, metrics per class, confusion matrix and intervals by family."""
    from sklearn import metrics as sk

    predicted = (scores >= 0.5).astype(np.int64)
    columns = sk.precision_recall_fscore_support(labels, predicted, labels=[0, 1], zero_division=0)
    per_class = [
        ClassMetrics(float(p), float(r), float(f), int(n))
        for p, r, f, n in zip(*columns, strict=True)
    ]
    intervals = FamilyIntervals(labels, families)
    auc, auc_interval = None, UNDEFINED
    if len(np.unique(labels)) == 2:
        auc = float(sk.roc_auc_score(labels, scores))
        auc_interval = intervals.rankings(scores, {"auc": auc})["auc"]
    return Metrics(
        images=len(labels),
        accuracy=float(sk.accuracy_score(labels, predicted)),
        log_loss=float(sk.log_loss(labels, scores, labels=[0, 1])),
        auc=auc,
        classes=dict(zip(LABELS, per_class, strict=True)),
        confusion=sk.confusion_matrix(labels, predicted, labels=[0, 1]).tolist(),
        interval=Intervals(
            intervals.share(predicted == labels),
            intervals.mean(log_losses(labels, scores)),
            auc_interval,
        ),
    )


def fit_temperature(labels: Ints, logits: Floats) -> float:
    """Fit the temperature that minimizes the log-loss of logits / t (Guo et al., 2017).

    It should be fitted on data the model was not trained on. The targets are smoothed as in Platt
    (1999): (n + 1) / (n + 2) for FAKE and 1 / (n + 2) for REAL, n being the size of the class. With
    targets of 0 and 1, the optimum on a split without errors would be a temperature of 0.
    """
    from scipy.optimize import minimize_scalar

    fakes = int(labels.sum())
    reals = len(labels) - fakes
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def best_threshold(labels: Ints, scores: Floats) -> float | None:
    """The threshold of P(FAKE) with the highest balanced accuracy (Youden's J).

    Halfway between two scores, the highest of several; None if a class is missing.
    """
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) < 2:
        return None
    false, true, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    best = int(np.argmax(true - false))
    if not best:  # no threshold separates better than calling everything REAL
        return float((scores.max() + 1) / 2)
    lower = scores[scores < thresholds[best]]
    return float((thresholds[best] + (lower.max() if len(lower) else 0)) / 2)


def calibration_error(labels: Ints, scores: Floats) -> float:
    """Expected calibration error of P(FAKE) over equal bins (Guo et al., 2017)."""
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


def log_losses(labels: Ints, scores: Floats) -> Floats:
    """The log-loss of each image, clipped as scikit-learn's `log_loss` clips."""
    clipped = np.clip(scores, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    losses: Floats = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    return losses


def split_metrics(
    split: str, shards: str, predictions: Predictions, point: OperatingPoint
) -> SplitMetrics:
    """The metrics of one split: per image, per clip, calibration by the point's temperature."""
    levels = predictions.levels()
    labels, logits, families, _ = levels["image"]
    scores, calibrated = expit(logits), expit(logits / point.temperature)
    image, clip = (
        classification_metrics(level.labels, expit(level.logits), level.families)
        for level in levels.values()
    )
    few = too_few(clip.images, families_by_label(labels, families))
    remarks = [remark] if (remark := temperature_remark(point.temperature)) else []
    if "family_source" in predictions.rows.column_names:
        sources = predictions.rows["family_source"].to_pylist()
        pairs = zip(predictions.clips, sources, strict=True)
        if unknown := {clip for clip, source in pairs if source == UNKNOWN}:
            remarks.append(
                f"The original of {counted(len(unknown), 'FAKE clip')} is not known: each counts "
                "as a family of its own, and intervals may be too narrow."
            )
    return SplitMetrics(
        split,
        shards,
        image,
        clip,
        clip.images,
        len(np.unique(families)),
        point.temperature,
        Calibration(
            log_loss=image.log_loss,
            log_loss_calibrated=float(np.mean(log_losses(labels, calibrated))),
            ece=calibration_error(labels, scores),
            ece_calibrated=calibration_error(labels, calibrated),
        ),
        threshold=point.threshold,
        too_few=few,
        undecided=undecided_band(labels, calibrated, families, image.interval.auc, few),
        remarks=tuple(remarks),
    )


def undecided_band(
    labels: Ints, scores: Floats, families: Any, auc: Interval, few: str | None
) -> Undecided:
    """The band of P(FAKE) in which a model should not call a face REAL or FAKE.

    Above it lie at most a tenth of the REAL faces of a new family, below it at most a tenth of the
    FAKE ones: conformal quantiles by label, with equal weight for each family and the weight of one
    for the family to come (Lee, Barber and Willett, "Distribution-free inference with hierarchical
    data", 2023). It holds for families like those tested. Where the labels are so far apart that
    the quantiles change places, the band is the gap between them. It is the whole range if the
    ROC-AUC may be 0.5, or if its interval is undefined.

    Args:
        scores: calibrated.
        auc: 95 % interval of the ROC-AUC.
        few: why there is none, see `intervals.too_few`.
    """
    if auc.low is None or auc.high is None:
        return Undecided(0.0, 1.0, f"the model was tested on {few}")
    if auc.low <= 0.5:
        why = (
            f"with a ROC-AUC between {auc.low:.2f} and {auc.high:.2f}, the test does not show "
            "that the model tells REAL from FAKE better than chance"
        )
        return Undecided(0.0, 1.0, why)
    names, real, fake = np.asarray(families), labels == 0, labels == 1
    above_real = _upper_quantile(scores[real], names[real])
    below_fake = 1 - _upper_quantile(1 - scores[fake], names[fake])
    why = (
        f"about {100 * ERROR_RATE:.0f} % of the {REAL} faces of the test score higher, and as many "
        f"of the {FAKE} ones lower"
    )
    low, high = sorted((above_real, below_fake))
    return Undecided(low, high, why)


def _upper_quantile(scores: Floats, families: Any) -> float:
    """The score that a face of a new family exceeds with a probability of at most ERROR_RATE.

    1 if there are too few families for one.
    """
    _, index, sizes = np.unique(families, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[index] * (len(sizes) + 1))
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) >= 1 - ERROR_RATE - 1e-9
    return float(scores[order][np.argmax(reached)]) if reached.any() else 1.0


class Measured(NamedTuple):
    """A measure and its 95 % interval; None where undefined."""

    value: float | None
    interval: Interval


def risks(level: Level) -> Floats:
    """The share called wrong of the 1, 2 ... N surest, [N]; those equally sure are taken evenly.

    Sure is who is far from 0.5 (selective prediction; Geifman and El-Yaniv, 2017). The mean is the
    area under the risk-coverage curve, AURC.
    """
    _, index, sizes = np.unique(-np.abs(level.logits), return_inverse=True, return_counts=True)
    wrong = np.bincount(index, 1 - level.right()) / sizes
    shares: Floats = np.cumsum(np.repeat(wrong, sizes)) / np.arange(1, len(index) + 1)
    return shares


def measure(level: Level, point: OperatingPoint) -> dict[str, Measured]:
    """Every measure of MEASURES, at the point of the model's own validation split.

    A measure that compares the labels (ROC-AUC, average precision, EER, TPR_AT) is undefined where
    one is missing, the accuracy at the threshold where there is no threshold. An interval is
    undefined where the families of a label are too few (`training.measures.intervals`), and for
    a TPR where fewer REAL families were tested than show such a rate: 100 for 1 %.
    """
    labels, logits, families, _ = level
    scores, calibrated = expit(logits), expit(logits / point.temperature)
    shares = {"accuracy": level.right()}
    if point.threshold is not None:
        shares["accuracy_at_threshold"] = level.right(point.threshold)
    means = {
        "log_loss": log_losses(labels, scores),
        "log_loss_calibrated": log_losses(labels, calibrated),
        "brier": (scores - labels) ** 2,
    }
    intervals = FamilyIntervals(labels, families)
    measured = {n: Measured(float(np.mean(v)), intervals.share(v)) for n, v in shares.items()}
    measured |= {n: Measured(float(np.mean(v)), intervals.mean(v)) for n, v in means.items()}
    measured["ece"] = Measured(calibration_error(labels, scores), UNDEFINED)
    measured["aurc"] = Measured(float(np.mean(risks(level))), UNDEFINED)
    if len(np.unique(labels)) == 2:
        # Of logits, which rank confident images that the sigmoid rounds to 1.
        ranked = level.ranked()
        given = ranked.labels, ranked.logits
        whole = rankings(*given)
        of_ranked = intervals if ranked is level else FamilyIntervals(given[0], ranked.families)
        found = of_ranked.rankings(given[1], whole)
        reals = families_by_label(labels, families)[REAL]
        found |= {name: UNDEFINED for name, f in TPR_AT.items() if reals * f < 1}
        measured |= {name: Measured(value, found[name]) for name, value in whole.items()}
    return {name: measured.get(name, Measured(None, UNDEFINED)) for name in MEASURES}
