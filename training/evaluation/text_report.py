"""The metrics of a run as text: `report.txt`, in the layout of the paper's Fig. 7."""

from collections.abc import Mapping
from typing import Any

from manifests.labels import LABELS

_COLUMNS = ("precision", "recall", "f1", "support")


def format_value(value: float | None) -> str:
    """A value with four decimals; "none" if it is undefined."""
    return "none" if value is None else f"{value:.4f}"


def _format_interval(interval: list[float | None]) -> str:
    return f"95 % interval by family {format_value(interval[0])} to {format_value(interval[1])}"


def summary_lines(metrics: Mapping[str, Any]) -> str:
    """Accuracy, log-loss and ROC-AUC per image or per clip, with intervals."""
    lines = []
    for name in ("accuracy", "log_loss", "auc"):
        label = name.replace("_", "-").replace("auc", "ROC-AUC")
        interval = _format_interval(metrics["interval"][name])
        lines.append(f"  {label:<9}{format_value(metrics[name]):>8}   {interval}")
    return "\n".join(lines)


def class_table(metrics: Mapping[str, Any]) -> str:
    """Precision, recall, F1 and support per class; accuracy; macro and weighted averages."""
    rows = [f"{'':>14}" + "".join(f"{name:>11}" for name in ("precision", "recall", "f1-score"))]
    rows[0] += f"{'support':>11}\n"
    classes, total = metrics["classes"], metrics["images"]
    rows += [_row(name, classes[name]) for name in LABELS]
    rows.append(f"\n{'accuracy':>14}{'':>22}{metrics['accuracy']:>11.4f}{total:>11}")
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
    cells = "".join(f"{values[column]:>11.4f}" for column in _COLUMNS[:3])
    return f"{name:>14}{cells}{values['support']:>11}"


def report_text(metrics: Mapping[str, Any]) -> str:
    """The contents of report.txt, from the contents of metrics.json."""
    image, clip, calibration = metrics["image"], metrics["clip"], metrics["calibration"]
    return "\n".join(
        [
            f"{metrics['split']} split of {metrics['shards']}: {image['images']:,} images of "
            f"{metrics['clips']:,} clips of {metrics['families']:,} families",
            "",
            "Per image",
            summary_lines(image),
            "",
            class_table(image),
            "",
            "Per clip (mean logit of its images)",
            summary_lines(clip),
            "",
            class_table(clip),
            "",
            f"Calibration: temperature {metrics['temperature']:.4f} fitted on validation",
            f"  log-loss {calibration['log_loss']:.4f} -> {calibration['log_loss_calibrated']:.4f},"
            f" expected calibration error {calibration['ece']:.4f} -> "
            f"{calibration['ece_calibrated']:.4f}",
            *_localization_lines(metrics.get("localization")),
            "",
        ]
    )


def _localization_lines(found: Mapping[str, Any] | None) -> list[str]:
    """How much of the heatmaps lies on the masks, if there are any."""
    if not found:
        return []
    return [
        "",
        f"Heatmap on the mask, {found['images']:,} images with a forged face",
        f"  pointing game {format_value(found['pointing_game'])}, share of energy "
        f"{format_value(found['energy'])}; the masks cover {format_value(found['area'])}",
    ]
