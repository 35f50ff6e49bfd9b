"""The results of an evaluation as text: report.txt, tables for a terminal, README.md of a run."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from dfdc_prep.run_files import (
    LIMITS,
    MEASURES,
    TITLES,
    ClassMetrics,
    CrossRow,
    Interval,
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
from manifests.result import TextTable, plain_text
from manifests.wording import counted, front_matter
from training.measures.intervals import MIN_FAMILIES
from training.measures.metrics import temperature_remark

_COLUMNS = ("precision", "recall", "f1")
#: Measures in the text of several sets; the others are in cross.csv.
_SHOWN = [name for name in MEASURES if name not in ("log_loss_calibrated", "brier", "ece", "aurc")]
_COUNTS = ("REAL", "FAKE", "families")


def _four(value: float | None) -> str:
    """A value with four decimals; "none" if it is undefined."""
    return "none" if value is None else f"{value:.4f}"


def _cells(metrics: Metrics, few: str | None) -> list[tuple[str, str, str]]:
    """Title, value and interval of accuracy, log-loss and ROC-AUC."""
    return [
        (title, _four(getattr(metrics, name)), getattr(metrics.interval, name).text(few))
        for name, title in TITLES.items()
    ]


def _headline(metrics: SplitMetrics) -> str:
    return (
        f"{metrics.split} split of {metrics.shards}: {counted(metrics.image.images, 'image')} of "
        f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"
    )


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


def report_parts(metrics: SplitMetrics) -> Iterator[TextTable | str]:
    """The report for a terminal: lines and tables."""
    yield _headline(metrics)
    rows: list[Sequence[object]] = []
    classes: list[Sequence[object]] = []
    for level, measured in metrics.levels.items():
        for title, *cells in _cells(measured, metrics.too_few):
            rows.append((f"{title}, per {level}", *cells))
        for label in LABELS:
            values = measured.classes[label]
            shares = (_four(getattr(values, name)) for name in _COLUMNS)
            classes.append((f"{label}, per {level}", *shares, values.support))
    yield TextTable(("measure", "value", "95 % interval by family"), rows)
    yield TextTable(("class", "precision", "recall", "f1-score", "support"), classes)
    yield from _notes(metrics)


def report_text(metrics: SplitMetrics) -> str:
    """The contents of report.txt."""
    lines = [_headline(metrics), ""]
    for title, level in (
        ("Per image", metrics.image),
        ("Per clip (mean logit of its images)", metrics.clip),
    ):
        lines.append(title)
        for name, value, interval in _cells(level, metrics.too_few):
            lines.append(f"  {name:<9}{value:>8}   95 % interval by family: {interval}")
        lines += ["", *_class_lines(level), ""]
    lines += _notes(metrics)
    if found := metrics.localization:
        lines += [
            "",
            f"Heatmap on the mask, {counted(found.images, 'image')} with a forged face",
            f"  pointing game {_four(found.pointing_game)}, share of energy "
            f"{_four(found.energy)}; the masks cover {_four(found.area)}",
        ]
    return "\n".join([*lines, ""])


def _class_lines(metrics: Metrics) -> Iterator[str]:
    """Precision, recall, F1 and support per class; accuracy; macro and weighted averages.

    The layout is that of scikit-learn, as in Fig. 7 of the paper.
    """

    def line(name: str, values: ClassMetrics) -> str:
        shares = "".join(f"{getattr(values, column):>11.4f}" for column in _COLUMNS)
        return f"{name:>14}{shares}{values.support:>11}"

    classes, total = [metrics.classes[name] for name in LABELS], metrics.images
    header = ("precision", "recall", "f1-score", "support")
    yield f"{'':>14}" + "".join(f"{name:>11}" for name in header) + "\n"
    yield from map(line, LABELS, classes)
    yield f"\n{'accuracy':>14}{'':>22}{metrics.accuracy:>11.4f}{total:>11}"
    supports = [values.support / max(total, 1) for values in classes]
    for name, weights in (("macro avg", [0.5, 0.5]), ("weighted avg", supports)):
        precision, recall, f1 = (
            sum(w * getattr(values, column) for w, values in zip(weights, classes, strict=True))
            for column in _COLUMNS
        )
        yield line(name, ClassMetrics(precision, recall, f1, total))


def cross_parts(rows: Sequence[CrossRow], notes: Iterable[str] = ()) -> Iterator[TextTable | str]:
    """Lines and a table for each model, then notes, what else the reader has to know."""
    header = ("set", "method", "level", *_COUNTS, *(MEASURES[name] for name in _SHOWN))
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        temperature, threshold = own[0].temperature, own[0].threshold
        if threshold is None:
            yield f"{model}: temperature {temperature:.4f}; no threshold from a validation split"
        else:
            yield (
                f"{model}: threshold {threshold:.4f} and temperature {temperature:.4f}, both from "
                "a validation split"
            )
        cells = [
            (
                *names,
                *(str(getattr(group["accuracy"], name.lower())) for name in _COUNTS),
                *(group[name].with_interval() if name in group else "" for name in _SHOWN),
            )
            for names, group in by_measure(own).items()
        ]
        yield TextTable(header, cells)
        if remark := temperature_remark(temperature):
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
    return plain_text(cross_parts(rows, notes) if rows else ())


def robustness_table(rows: Sequence[RobustnessRow]) -> str:
    """The rows of robustness.csv as a plain-text table."""
    lines = [f"{'disturbance':<16}{'level':>7}{'accuracy':>10}{'ROC-AUC':>9}"]
    for row in rows:
        start = f"{row.disturbance:<16}{row.level:>7}{row.accuracy:>10.4f}"
        lines.append(f"{start}{_four(row.auc):>9}")
    return "\n".join(lines)


def write_card(run: RunFiles) -> None:
    """Write the model card, README.md, from the run's other files."""
    config, metrics = run.config(), run.metrics()
    recipe = config.recipe
    robustness = [
        (row.disturbance, row.level, _four(row.accuracy), _four(row.auc))
        for row in run.robustness()
    ]
    sections = [
        f"# {recipe.name}: {recipe.backbone}, REAL or FAKE",
        "Input: a face crop of 224 x 224 pixels, RGB, 0 to 255. Output: P(FAKE). Load "
        "`model.keras` with `keras.saving.load_model`, or use `dfdc-prep predict`.",
        *_data_section(config),
        *_recipe_section(config, len(run.history())),
        *_results_section(config, metrics),
    ]
    if robustness:
        table = _markdown("| disturbance | level | accuracy | ROC-AUC |", robustness)
        sections += ["## Robustness", table]
        sections.append("![robustness](robustness.png)")
    sections += ["## Limits", "".join(f"- {limit}\n" for limit in LIMITS)]
    head = front_matter(_model_index(config, metrics))
    write_text(run.card_file, "\n".join([head, "\n\n".join(sections)]))


def _model_index(config: RunConfig, metrics: SplitMetrics) -> dict[str, Any]:
    """The metadata that the Hub reads, the results as `model-index`."""
    measures = {"accuracy": "accuracy", "auc": "roc_auc", "log_loss": "log_loss"}
    results = [
        {
            "type": kind,
            "name": f"{TITLES[name]}, per {level}",
            "value": getattr(measured, name),
            **_interval(getattr(measured.interval, name)),
        }
        for level, measured in metrics.levels.items()
        for name, kind in measures.items()
        if getattr(measured, name) is not None
    ]
    dataset = {"type": "face-crops", "name": PurePath(metrics.shards).name, "split": metrics.split}
    if metrics.shards == config.shards and config.data.manifest:
        dataset["revision"] = config.data.manifest
    task = {"type": "image-classification", "name": "REAL or FAKE"}
    found = {"task": task, "dataset": dataset, "metrics": results}
    return {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["deepfake-detection", "faces", config.recipe.backbone],
        "metrics": list(measures.values()),
        "model-index": [{"name": config.recipe.name, "results": [found]}],
    }


def _interval(interval: Interval) -> dict[str, Any]:
    """A 95 % interval as `args`, the one field of a result that holds any values; else nothing."""
    if interval.low is None:
        return {}
    ends = {"low": interval.low, "high": interval.high}
    return {"args": {"confidence": 0.95, **ends, "resampled": "families"}}


def _markdown(header: str, rows: Iterable[Sequence[str]]) -> str:
    lines = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([header, "|" + "---|" * (header.count("|") - 1), *lines])


def _data_section(config: RunConfig) -> Iterator[str]:
    yield "## Data"
    counts = config.data.counts.items()
    rows = [(split, f"{n.get(REAL, 0):,}", f"{n.get(FAKE, 0):,}") for split, n in counts]
    yield _markdown(f"| split | {REAL} | {FAKE} |", rows)
    metadata = config.data.metadata
    grouped = metadata.get("group_by", "unknown")
    yield (
        f"Shards in `{config.shards}`, split by {grouped}, seed {metadata.get('seed')}; "
        f"manifest SHA-256 `{config.data.manifest}`."
    )
    if grouped in ("none", "given", "unknown"):
        yield "Nothing kept the families of these splits apart: relatives may be in two."


def _recipe_section(config: RunConfig, trained: int) -> Iterator[str]:
    recipe, options = config.recipe, config.options
    yield "## Recipe"
    yield (
        f"{trained} of {counted(recipe.epochs, 'epoch')}, batch size {recipe.batch_size}, "
        f"SGD({recipe.learning_rate}, momentum {recipe.momentum}), "
        f"augmentation {recipe.augmentation}, weights {options.weights}, "
        f"{options.precision}, seed {options.seed}. The model is that of the epoch with the "
        "lowest validation loss. All values are in `config.json`."
    )
    if config.differences:
        yield "Differences from the published recipe:"
        yield "\n".join(f"- {difference}" for difference in config.differences)


def _results_section(config: RunConfig, metrics: SplitMetrics) -> Iterator[str]:
    yield "## Results"
    yield f"On the {metrics.split} split, which influenced no choice:"
    published, band, error = config.recipe.published, metrics.undecided, metrics.calibration
    paper = {"accuracy": published.accuracy, "log-loss": published.loss} if published else {}
    levels = [_cells(level, metrics.too_few) for level in metrics.levels.values()]
    rows = [
        (title, *image, *clip, _four(paper[title]) if title in paper else "")
        for (title, *image), (_, *clip) in zip(*levels, strict=True)
    ]
    yield _markdown("| | per image | 95 % | per clip | 95 % | the paper |", rows)
    yield (
        f"Tested on {counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}; "
        "intervals are by family. The paper's results come from a split that shares families "
        "between training and test, so they are not comparable."
    )
    yield (
        f"Temperature {metrics.temperature:.4f}, fitted on validation: expected calibration error "
        f"{error.ece:.4f} before, {error.ece_calibrated:.4f} after."
    )
    yield f"Calibrated P(FAKE) from {band.low:.4f} to {band.high:.4f} is undecided: {band.why}."
    yield from metrics.remarks
    yield "![curves](curves.png) ![confusion](confusion.png) ![samples](samples.png)"
