"""The results of an evaluation as text: report.txt, and tables for a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from dfdc_prep.recipe import Recipe
from dfdc_prep.run_files import (
    LIMITS,
    MEASURES,
    TITLES,
    ClassMetrics,
    CrossRow,
    Localization,
    Metrics,
    RobustnessRow,
    RunConfig,
    RunFiles,
    SplitMetrics,
    by_measure,
    overlap_lines,
)
from manifests.files import write_text
from manifests.labels import FAKE, LABELS, REAL
from manifests.result import TextTable
from manifests.wording import counted
from training.evaluation.intervals import MIN_FAMILIES
from training.evaluation.metrics import temperature_remark

_COLUMNS = ("precision", "recall", "f1")
#: Measures in the text of several sets; the others are in cross.csv.
_SHOWN = [name for name in MEASURES if name != "log_loss_calibrated"]
_COUNTS = ("REAL", "FAKE", "families")


def format_value(value: float | None) -> str:
    """A value with four decimals; "none" if it is undefined."""
    return "none" if value is None else f"{value:.4f}"


def _summary_lines(metrics: Metrics, few: str | None) -> str:
    """Accuracy, log-loss and ROC-AUC per image or per clip, with intervals."""
    return "\n".join(
        f"  {title:<9}{format_value(getattr(metrics, name)):>8}   95 % interval by family: "
        f"{getattr(metrics.interval, name).text(few)}"
        for name, title in TITLES.items()
    )


def class_table(metrics: Metrics) -> str:
    """Precision, recall, F1 and support per class; accuracy; macro and weighted averages.

    The layout is that of scikit-learn, as in Fig. 7 of the paper.
    """
    classes, total = [metrics.classes[name] for name in LABELS], metrics.images
    header = ("precision", "recall", "f1-score", "support")
    rows = [f"{'':>14}" + "".join(f"{name:>11}" for name in header) + "\n"]
    rows += [_row(name, values) for name, values in zip(LABELS, classes, strict=True)]
    rows.append(f"\n{'accuracy':>14}{'':>22}{metrics.accuracy:>11.4f}{total:>11}")
    shares = [each.support / max(total, 1) for each in classes]
    for name, weights in (("macro avg", [0.5, 0.5]), ("weighted avg", shares)):
        precision, recall, f1 = (
            sum(w * getattr(each, column) for w, each in zip(weights, classes, strict=True))
            for column in _COLUMNS
        )
        rows.append(_row(name, ClassMetrics(precision, recall, f1, total)))
    return "\n".join(rows)


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
    rows = [
        (
            f"{title}, per {level}",
            format_value(getattr(measured, name)),
            getattr(measured.interval, name).text(metrics.too_few),
        )
        for level, measured in metrics.levels.items()
        for name, title in TITLES.items()
    ]
    yield TextTable(("measure", "value", "95 % interval by family"), rows)
    classes = [
        (
            f"{label}, per {level}",
            *(format_value(getattr(measured.classes[label], name)) for name in _COLUMNS),
            measured.classes[label].support,
        )
        for level, measured in metrics.levels.items()
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


def cross_parts(rows: Sequence[CrossRow], notes: Iterable[str] = ()) -> Iterator[TextTable | str]:
    """Lines and a table for each model, then what the reader has to know.

    Args:
        notes: what else is known of the models, one sentence each.
    """
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        yield f"{model}: {_point(own[0])}"
        yield _table(own)
        if remark := temperature_remark(own[0].temperature):
            yield remark
        yield from overlap_lines(model, own) or [
            f"No image of these sets is of a known family or a file that {model} was trained on; "
            "fakes of unknown families cannot be compared."
        ]
    yield from notes
    yield (
        "Fakes of each method are measured against every REAL of their set. Intervals are 95 %, by "
        f"family; too few to say means fewer than {MIN_FAMILIES} families of a label."
    )


def cross_text(rows: Sequence[CrossRow], notes: Iterable[str] = ()) -> str:
    """The parts as plain text; empty without rows."""
    if not rows:
        return ""
    parts = cross_parts(rows, notes)
    return "\n".join(
        f"\n{_plain(part)}\n" if isinstance(part, TextTable) else part for part in parts
    )


def _point(row: CrossRow) -> str:
    if row.threshold is None:
        return f"temperature {row.temperature:.4f}; no threshold from a validation split"
    return (
        f"threshold {row.threshold:.4f} and temperature {row.temperature:.4f}, both from a "
        "validation split"
    )


def _table(rows: Sequence[CrossRow]) -> TextTable:
    """Values, and their intervals on a second line of the cell."""
    cells = [
        (
            *names,
            *(str(getattr(group["accuracy"], name)) for name in ("real", "fake", "families")),
            *(_cell(group[name]) for name in _SHOWN),
        )
        for names, group in by_measure(rows).items()
    ]
    return TextTable(
        ("set", "method", "level", *_COUNTS, *(MEASURES[name] for name in _SHOWN)), cells
    )


def _cell(row: CrossRow) -> str:
    if row.value is None:
        return ""
    if row.low is None or row.high is None:
        return f"{row.value:.3f}\ntoo few"
    return f"{row.value:.3f}\n{row.low:.3f}-{row.high:.3f}"


def _plain(table: TextTable) -> str:
    """The table in columns: names on the left, numbers on the right."""
    lines = [list(table.header)]
    for row in table.rows:
        cells = [str(cell).split("\n") for cell in row]
        height = max(map(len, cells))
        lines += [[c[at] if at < len(c) else "" for c in cells] for at in range(height)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < 3 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def robustness_table(rows: Sequence[RobustnessRow]) -> str:
    """The rows of robustness.csv as a plain-text table."""
    lines = [f"{'disturbance':<16}{'level':>7}{'accuracy':>10}{'ROC-AUC':>9}"]
    for row in rows:
        start = f"{row.disturbance:<16}{row.level:>7}{row.accuracy:>10.4f}"
        lines.append(f"{start}{format_value(row.auc):>9}")
    return "\n".join(lines)


def write_card(run: RunFiles) -> None:
    """Write README.md from config.json, metrics.json, history.csv and robustness.csv."""
    write_text(run.card_file, card_text(run))


def card_text(run: RunFiles) -> str:
    """The model card as Markdown."""
    config, metrics = run.config(), run.metrics()
    recipe = config.recipe
    return "\n\n".join(
        [
            f"# {recipe.name}: {recipe.backbone}, REAL or FAKE",
            "Input: a face crop of 224 x 224 pixels, RGB, 0 to 255. Output: P(FAKE). Load "
            "`model.keras` with `keras.saving.load_model`, or use `dfdc-prep predict`.",
            f"## Data\n\n{_data_section(config)}",
            f"## Recipe\n\n{_recipe_section(config, len(run.history()))}",
            f"## Results\n\nOn the {metrics.split} split, which influenced no choice:\n\n"
            f"{_metrics_section(metrics, recipe)}",
            *_robustness_section(run),
            "## Limits\n\n" + "".join(f"- {limit}\n" for limit in LIMITS),
        ]
    )


def _data_section(config: RunConfig) -> str:
    rows = [
        f"| {split} | {counts.get(REAL, 0):,} | {counts.get(FAKE, 0):,} |"
        for split, counts in config.data.counts.items()
    ]
    metadata = config.data.metadata
    grouped = metadata.get("group_by", "unknown")
    lines = [
        *("| split | REAL | FAKE |", "|---|---|---|", *rows, ""),
        f"Shards in `{config.shards}`, split by {grouped}, seed {metadata.get('seed')}; "
        f"manifest SHA-256 `{config.data.manifest}`.",
    ]
    if grouped in ("none", "given", "unknown"):
        lines += ["", "Nothing kept the families of these splits apart: relatives may be in two."]
    return "\n".join(lines)


def _recipe_section(config: RunConfig, trained: int) -> str:
    recipe, options = config.recipe, config.options
    lines = [
        f"{trained} of {recipe.epochs} epochs, batch size {recipe.batch_size}, "
        f"SGD({recipe.learning_rate}, momentum {recipe.momentum}), "
        f"augmentation {recipe.augmentation}, weights {options.weights}, "
        f"{options.precision}, seed {options.seed}. The model is that of the epoch with the "
        "lowest validation loss. All values are in `config.json`.",
    ]
    if config.differences:
        lines += ["", "Differences from the published recipe:", ""]
        lines += [f"- {each}" for each in config.differences]
    return "\n".join(lines)


def _metrics_section(metrics: SplitMetrics, recipe: Recipe) -> str:
    published, band = recipe.published, metrics.undecided
    paper = {"accuracy": published.accuracy, "log_loss": published.loss} if published else {}
    lines = ["| | per image | 95 % | per clip | 95 % | the paper |", "|---|---|---|---|---|---|"]
    for name, title in TITLES.items():
        cells = [title]
        for level in metrics.levels.values():
            cells += [format_value(getattr(level, name))]
            cells += [getattr(level.interval, name).text(metrics.too_few)]
        cells.append(format_value(paper[name]) if name in paper else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Tested on {counted(metrics.clips, 'clip')} of "
            f"{counted(metrics.families, 'family')}; intervals are by family. "
            "The paper's results come from a split that shares families between training and test, "
            "so they are not comparable.",
            "",
            f"Temperature {metrics.temperature:.4f}, fitted on validation: expected calibration "
            f"error {metrics.calibration.ece:.4f} before, "
            f"{metrics.calibration.ece_calibrated:.4f} after.",
            "",
            f"Calibrated P(FAKE) from {band.low:.4f} to {band.high:.4f} is undecided: {band.why}.",
            "",
            *(line for remark in metrics.remarks for line in (remark, "")),
            "![curves](curves.png) ![confusion](confusion.png) ![samples](samples.png)",
        ]
    )


def _robustness_section(run: RunFiles) -> list[str]:
    rows = [
        f"| {row.disturbance} | {row.level} | {row.accuracy:.4f} | {format_value(row.auc)} |"
        for row in run.robustness()
    ]
    if not rows:
        return []
    lines = ["| disturbance | level | accuracy | ROC-AUC |", "|---|---|---|---|", *rows]
    return ["## Robustness\n\n" + "\n".join(lines) + "\n\n![robustness](robustness.png)"]
