"""Measures of one model on one group of images, with intervals by family."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from sklearn import metrics as sk

from dfdc_prep.run_files import Interval, OperatingPoint
from training.evaluation.bootstrap import Floats, Ints
from training.evaluation.intervals import UNDEFINED, FamilyIntervals
from training.evaluation.metrics import log_losses

#: Measures in the order of the table, and their titles.
MEASURES = {
    "accuracy": "accuracy",
    "accuracy_at_threshold": "at threshold",
    "log_loss": "log-loss",
    "log_loss_calibrated": "calibrated",
    "auc": "ROC-AUC",
    "average_precision": "AP",
    "eer": "EER",
}


@dataclass(frozen=True)
class Measured:
    """A measure and its 95 % interval; None where undefined."""

    value: float | None
    interval: Interval


def equal_error_rate(labels: Ints, scores: Floats) -> float:
    """The error rate at the threshold where as many REAL as FAKE are called wrongly, by share.

    Between two thresholds the ROC curve is taken for a straight line.
    """
    false, true, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    return float(brentq(lambda rate: 1 - rate - np.interp(rate, false, true), 0, 1))


def measure(
    labels: Ints, logits: Floats, families: Any, point: OperatingPoint
) -> dict[str, Measured]:
    """Every measure of MEASURES.

    A measure that compares the labels (ROC-AUC, average precision, EER) is undefined where one is
    missing, the accuracy at the threshold where there is no threshold. An interval is undefined
    where the families of a label are too few; see `training.evaluation.intervals`.

    Args:
        labels, logits, families: of the images or clips, [N].
        point: of the model's own validation split.
    """
    scores, calibrated = expit(logits), expit(logits / point.temperature)
    means = {
        "accuracy": (scores >= 0.5) == labels,
        "log_loss": log_losses(labels, scores),
        "log_loss_calibrated": log_losses(labels, calibrated),
    }
    if point.threshold is not None:
        means["accuracy_at_threshold"] = (scores >= point.threshold) == labels
    intervals = FamilyIntervals(labels, families)
    found = {
        name: Measured(
            float(np.mean(values)),
            intervals.mean(values) if name.startswith("log_loss") else intervals.share(values),
        )
        for name, values in means.items()
    }
    if len(np.unique(labels)) == 2:
        # Of logits, which rank confident images that the sigmoid rounds to 1.
        whole = {
            "auc": float(sk.roc_auc_score(labels, logits)),
            "average_precision": float(sk.average_precision_score(labels, logits)),
            "eer": equal_error_rate(labels, logits),
        }
        of_whole = intervals.rankings(logits, whole)
        found |= {name: Measured(value, of_whole[name]) for name, value in whole.items()}
    return {name: found.get(name, Measured(None, UNDEFINED)) for name in MEASURES}
