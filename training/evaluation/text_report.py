"""The figures of a run as text: `report.txt` in the layout of the paper's Fig. 7."""

from collections.abc import Mapping
from typing import Any

from manifests.labels import LABELS

_COLUMNS = ("precision", "recall", "f1", "support")


def shown(value: float | None) -> str:
    """A share as text; "none" where it could not be told."""
    return "none" if value is None else f"{value:.4f}"


def _between(interval: list[float | None]) -> str:
    return f"95 % interval by family {shown(interval[0])} to {shown(interval[1])}"


def headline(figures: Mapping[str, Any]) -> str:
    """One level's figures, with intervals."""
    lines = []
    for name in ("accuracy", "log_loss", "auc"):
        label = name.replace("_", "-").replace("auc", "ROC-AUC")
        lines.append(
            f"  {label:<9}{shown(figures[name]):>8}   {_between(figures['interval'][name])}"
        )
    return "\n".join(lines)


def table(figures: Mapping[str, Any]) -> str:
    """Precision, recall, F1 and support per class, accuracy, macro and weighted averages."""
    rows = [f"{'':>14}" + "".join(f"{name:>11}" for name in ("precision", "recall", "f1-score"))]
    rows[0] += f"{'support':>11}\n"
    classes, total = figures["classes"], figures["images"]
    rows += [_row(name, classes[name]) for name in LABELS]
    rows.append(f"\n{'accuracy':>14}{'':>22}{figures['accuracy']:>11.4f}{total:>11}")
    for name, weights in (("macro avg", (0.5, 0.5)), ("weighted avg", _shares(classes, total))):
        mean = {
            column: sum(w * classes[c][column] for w, c in zip(weights, LABELS, strict=True))
            for column in _COLUMNS[:3]
        }
        rows.append(_row(name, mean | {"support": total}))
    return "\n".join(rows)


def _shares(classes: Mapping[str, Any], total: int) -> tuple[float, ...]:
    return tuple(classes[name]["support"] / max(total, 1) for name in LABELS)


def _row(name: str, values: Mapping[str, Any]) -> str:
    figures = "".join(f"{values[column]:>11.4f}" for column in _COLUMNS[:3])
    return f"{name:>14}{figures}{values['support']:>11}"


def text(metrics: Mapping[str, Any]) -> str:
    """The whole of `report.txt` from what `metrics.json` holds."""
    image, clip, calibration = metrics["image"], metrics["clip"], metrics["calibration"]
    return "\n".join(
        [
            f"{metrics['split']} split of {metrics['shards']}: {image['images']:,} images of "
            f"{metrics['clips']:,} clips of {metrics['families']:,} families",
            "",
            "Per image",
            headline(image),
            "",
            table(image),
            "",
            "Per clip (mean logit of its images)",
            headline(clip),
            "",
            table(clip),
            "",
            f"Calibration: temperature {metrics['temperature']:.4f} fitted on validation",
            f"  log-loss {calibration['log_loss']:.4f} -> {calibration['log_loss_calibrated']:.4f},"
            f" expected calibration error {calibration['ece']:.4f} -> "
            f"{calibration['ece_calibrated']:.4f}",
            "",
        ]
    )
