"""Figures from labels and logits: pure functions, scikit-learn's definitions.

Labels are 0 REAL and 1 FAKE, logits float64 in the order of the labels, scores P(FAKE).
An image counts as FAKE from a score of 0.5 on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn import metrics as sk

from manifests.labels import LABELS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 15
DRAWS = 1000


def per_group(values: Floats, groups: Any) -> tuple[Any, Floats]:
    """The groups, sorted, and the mean of the values in each: clips and their mean logit."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    return names, np.bincount(index, values) / np.bincount(index)


def figures(labels: Ints, scores: Floats) -> dict[str, Any]:
    """Accuracy, log-loss, ROC-AUC, precision, recall, F1 and support per class, confusion.

    The AUC is None where one class is missing; the confusion matrix has the true classes
    as rows, REAL first.
    """
    predicted = (scores >= 0.5).astype(np.int64)
    both = len(np.unique(labels)) == 2
    columns = sk.precision_recall_fscore_support(labels, predicted, labels=[0, 1], zero_division=0)
    per_class = [
        {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for p, r, f, n in zip(*columns, strict=True)
    ]
    return {
        "images": len(labels),
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        "log_loss": float(sk.log_loss(labels, scores, labels=[0, 1])),
        "auc": float(sk.roc_auc_score(labels, scores)) if both else None,
        "classes": dict(zip(LABELS, per_class, strict=True)),
        "confusion": sk.confusion_matrix(labels, predicted, labels=[0, 1]).tolist(),
    }


def temperature(labels: Ints, logits: Floats) -> float:
    """The number that logits are divided by for the lowest log-loss (Guo et al., 2017).

    Fitted between 0.05 and 20, on data the model did not train on. The targets are those
    Platt (1999) gives, (n + 1) / (n + 2) and 1 / (n + 2) for classes of n images: with 0 and
    1 a split without a mistake would ask for scores without a doubt.
    """
    fakes = int(labels.sum())
    reals = len(labels) - fakes
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    bound = np.log(20)
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def calibration_error(labels: Ints, scores: Floats) -> float:
    """Expected calibration error of P(FAKE) over 15 equal bins (Guo et al., 2017)."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, scores - labels, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; None where it cannot be told."""

    low: float | None
    high: float | None


def bootstrap(labels: Ints, scores: Floats, families: Any, seed: int = 42) -> dict[str, Interval]:
    """95 % percentile intervals of accuracy, log-loss and AUC, families drawn anew 1,000 times.

    The images of a family are not independent, so families are drawn with replacement, not
    images (the cluster bootstrap; Field and Welsh, 2007). Draws that leave one class out
    give no AUC.
    """
    names, index = np.unique(np.asarray(families), return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    right = (scores >= 0.5) == labels
    clipped = np.clip(scores, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    losses = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    auc = _weighted_auc(labels, scores)
    found: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "auc": []}
    for draw in draws:
        weights = draw[index].astype(np.float64)
        found["accuracy"].append(float(np.average(right, weights=weights)))
        found["log_loss"].append(float(np.average(losses, weights=weights)))
        found["auc"].append(auc(weights))
    return {name: _interval(np.array(values)) for name, values in found.items()}


def _interval(values: Floats) -> Interval:
    told = values[~np.isnan(values)]
    if not len(told):
        return Interval(None, None)
    low, high = np.percentile(told, [2.5, 97.5])
    return Interval(float(low), float(high))


def _weighted_auc(labels: Ints, scores: Floats) -> Callable[[Floats], float]:
    """P(a FAKE scores above a REAL), ties half, for weighted images; sorted once for all."""
    levels, level = np.unique(scores, return_inverse=True)

    def auc(weights: Floats) -> float:
        fake = np.bincount(level, weights * labels, minlength=len(levels))
        real = np.bincount(level, weights * (1 - labels), minlength=len(levels))
        pairs = fake.sum() * real.sum()
        below = np.cumsum(real) - real
        return float((fake * (below + real / 2)).sum() / pairs) if pairs else float("nan")

    return auc


def report(labels: Ints, logits: Floats, clips: Any, families: Any, t: float) -> dict[str, Any]:
    """Everything `metrics.json` says of one split: per image, per clip, calibrated.

    Args:
        clips: the clip of each image; a clip's logit is the mean of its images' logits.
        families: the family of each image; every clip lies in one family.
        t: the temperature; accuracy and AUC do not depend on it, log-loss does.
    """
    names, clip_logits = per_group(logits, clips)
    _, first = np.unique(np.asarray(clips), return_index=True)
    clip_labels, clip_families = labels[first], np.asarray(families)[first]
    scores, clip_scores = expit(logits), expit(clip_logits)
    calibrated = expit(logits / t)
    return {
        "image": figures(labels, scores) | {"interval": _plain(labels, scores, families)},
        "clip": figures(clip_labels, clip_scores)
        | {"interval": _plain(clip_labels, clip_scores, clip_families)},
        "clips": len(names),
        "families": len(np.unique(np.asarray(families))),
        "temperature": t,
        "calibration": {
            "log_loss": float(sk.log_loss(labels, scores, labels=[0, 1])),
            "log_loss_calibrated": float(sk.log_loss(labels, calibrated, labels=[0, 1])),
            "ece": calibration_error(labels, scores),
            "ece_calibrated": calibration_error(labels, calibrated),
        },
    }


def _plain(labels: Ints, scores: Floats, families: Any) -> dict[str, list[float | None]]:
    found = bootstrap(labels, scores, families)
    return {name: [interval.low, interval.high] for name, interval in found.items()}
