"""The metrics of a run as text: `report.txt`, in the layout of the paper's Fig. 7."""

from collections.abc import Iterator, Mapping

from dfdc_prep.run_files import (
    ClassificationMetrics,
    ClassMetrics,
    Interval,
    IntervalMetrics,
    Localization,
    SplitMetrics,
)
from manifests.labels import LABELS
from manifests.result import TextTable
from manifests.wording import counted

_COLUMNS = ("precision", "recall", "f1")


def format_value(value: float | None) -> str:
    """A value with four decimals; "none" if it is undefined."""
    return "none" if value is None else f"{value:.4f}"


def format_interval(interval: Interval, few: str | None) -> str:
    """The ends of an interval, or why there is none.

    Args:
        few: `SplitMetrics.too_few`.
    """
    if interval.low is None or interval.high is None:
        return few or "none"
    return f"{format_value(interval.low)} to {format_value(interval.high)}"


def _summary_lines(metrics: IntervalMetrics, few: str | None) -> str:
    """Accuracy, log-loss and ROC-AUC per image or per clip, with intervals."""
    lines = []
    for name in ("accuracy", "log_loss", "auc"):
        label = name.replace("_", "-").replace("auc", "ROC-AUC")
        interval = format_interval(getattr(metrics.interval, name), few)
        shown = f"95 % interval by family: {interval}"
        lines.append(f"  {label:<9}{format_value(getattr(metrics, name)):>8}   {shown}")
    return "\n".join(lines)


def class_table(metrics: ClassificationMetrics) -> str:
    """Precision, recall, F1 and support per class; accuracy; macro and weighted averages."""
    rows = [f"{'':>14}" + "".join(f"{name:>11}" for name in ("precision", "recall", "f1-score"))]
    rows[0] += f"{'support':>11}\n"
    classes, total = metrics.classes, metrics.images
    rows += [_row(name, classes[name]) for name in LABELS]
    rows.append(f"\n{'accuracy':>14}{'':>22}{metrics.accuracy:>11.4f}{total:>11}")
    for name, weights in (("macro avg", (0.5, 0.5)), ("weighted avg", _shares(classes, total))):
        precision, recall, f1 = (
            sum(
                w * getattr(classes[label], column)
                for w, label in zip(weights, LABELS, strict=True)
            )
            for column in _COLUMNS
        )
        rows.append(_row(name, ClassMetrics(precision, recall, f1, total)))
    return "\n".join(rows)


def _shares(classes: Mapping[str, ClassMetrics], total: int) -> tuple[float, ...]:
    return tuple(classes[name].support / max(total, 1) for name in LABELS)


def _row(name: str, values: ClassMetrics) -> str:
    cells = "".join(f"{getattr(values, column):>11.4f}" for column in _COLUMNS)
    return f"{name:>14}{cells}{values.support:>11}"


def _headline(metrics: SplitMetrics) -> str:
    return (
        f"{metrics.split} split of {metrics.shards}: {counted(metrics.image.images, 'image')} of "
        f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"
    )


def report_parts(metrics: SplitMetrics) -> Iterator[TextTable | str]:
    """The report for a terminal: lines and tables."""
    yield _headline(metrics)
    levels = {"image": metrics.image, "clip": metrics.clip}
    rows = [
        (
            f"{name.replace('_', '-').replace('auc', 'ROC-AUC')}, per {level}",
            format_value(getattr(measured, name)),
            format_interval(getattr(measured.interval, name), metrics.too_few),
        )
        for level, measured in levels.items()
        for name in ("accuracy", "log_loss", "auc")
    ]
    yield TextTable(("measure", "value", "95 % interval by family"), rows)
    classes = [
        (
            f"{label}, per {level}",
            *(format_value(getattr(measured.classes[label], name)) for name in _COLUMNS),
            measured.classes[label].support,
        )
        for level, measured in levels.items()
        for label in LABELS
    ]
    yield TextTable(("class", "precision", "recall", "f1-score", "support"), classes)
    yield from _notes(metrics)


def _notes(metrics: SplitMetrics) -> list[str]:
    """Calibration, the undecided band, and remarks."""
    calibration, band = metrics.calibration, metrics.undecided
    return [
        f"Calibration: temperature {metrics.temperature:.4f} fitted on validation",
        f"  log-loss {calibration.log_loss:.4f} -> {calibration.log_loss_calibrated:.4f},"
        f" expected calibration error {calibration.ece:.4f} -> "
        f"{calibration.ece_calibrated:.4f}",
        f"Undecided from P(FAKE) {band.low:.4f} to {band.high:.4f}: {band.why}",
        *metrics.remarks,
    ]


def report_text(metrics: SplitMetrics) -> str:
    """The contents of report.txt."""
    image, clip = metrics.image, metrics.clip
    return "\n".join(
        [
            _headline(metrics),
            "",
            "Per image",
            _summary_lines(image, metrics.too_few),
            "",
            class_table(image),
            "",
            "Per clip (mean logit of its images)",
            _summary_lines(clip, metrics.too_few),
            "",
            class_table(clip),
            "",
            *_notes(metrics),
            *_localization_lines(metrics.localization),
            "",
        ]
    )


def _localization_lines(found: Localization | None) -> list[str]:
    """How much of the heatmaps lies on the masks, if there are any."""
    if not found:
        return []
    return [
        "",
        f"Heatmap on the mask, {found.images:,} images with a forged face",
        f"  pointing game {format_value(found.pointing_game)}, share of energy "
        f"{format_value(found.energy)}; the masks cover {format_value(found.area)}",
    ]
