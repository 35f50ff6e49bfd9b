"""The page of a run folder: training, results, calibration, mistakes, families, limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import (
    Block,
    Chart,
    Charts,
    Page,
    Section,
    Table,
    Text,
    TextList,
    settings_table,
)
from dfdc_prep.reports.run.cross_section import cross_section
from dfdc_prep.reports.run.mistakes_section import mistakes_section
from dfdc_prep.reports.run.prediction_sections import prediction_sections, roc_chart
from dfdc_prep.reports.run.predictions import Predictions
from dfdc_prep.reports.run.run_files import RunFiles, invalid_as_table_error
from manifests.folders import RunFolder
from manifests.labels import LABELS
from manifests.wording import counted

#: Objects of config.json shown as tables.
_SETTINGS = ("recipe", "options", "versions")
_CLASS_COLUMNS = ("precision", "recall", "f1", "support")


def run_page(path: Path) -> Page:
    """Return the page of a run folder, or of an evaluation inside one.

    Raises:
        TableError: a file is invalid.
    """
    files = RunFiles(path)
    config, metrics, predictions = files.config(), files.metrics(), files.predictions()
    with invalid_as_table_error(path / RunFolder.CROSS):
        cross = cross_section(files.cross())
    with invalid_as_table_error(path / RunFolder.METRICS):
        sections: list[Section] = []
        if config is not None or metrics is not None:
            sections += [*_state_section(config, metrics), *_training_section(files)]
        if metrics is not None:
            sections.append(_results_section(metrics, predictions))
        sections += cross
        if predictions is not None and len(predictions.label):
            sections += prediction_sections(metrics, predictions)
        sections += [*_robustness_section(files), *mistakes_section(files.mistakes(), metrics)]
        facts = _facts(metrics)
    with invalid_as_table_error(path / RunFolder.CONFIG):
        sections += _config_sections(config, files.limits())
    lead = "How a model was trained, and what it does on clips it has not seen."
    return Page(f"Run: {path.resolve().name}", lead, sections, facts)


def _facts(metrics: dict[str, Any] | None) -> list[tuple[str, object]]:
    if metrics is None:
        return []
    facts: list[tuple[str, object]] = []
    if metrics.get("too_few"):  # no figure that looks like a result
        facts = [("accuracy, ROC-AUC", metrics["too_few"])]
    else:
        for level in ("image", "clip"):
            facts += [(f"accuracy per {level}", metrics[level]["accuracy"])]
            facts += [(f"ROC-AUC per {level}", metrics[level]["auc"])]
    return [*facts, ("images", metrics["image"]["images"]), ("clips", metrics["clips"])]


def _state_section(config: dict[str, Any] | None, metrics: dict[str, Any] | None) -> list[Section]:
    if metrics is not None:
        return []
    what = "The run is not finished, or has not been tested: there is no metrics.json."
    do = " Run the same training.fit command again to go on." if config is not None else ""
    return [Section("State", [Text(what + do, "warning")])]


def _training_section(files: RunFiles) -> list[Section]:
    history = files.history()
    if not history:
        return [Section("Training", [Text("There is no history.csv.")])]
    with invalid_as_table_error(files.folder / RunFolder.HISTORY):
        epochs, best = history["epoch"], int(np.argmin(history["val_loss"]))
        drawn = []
        for name in ("accuracy", "loss"):
            series = {
                "training": (epochs, history[name]),
                "validation": (epochs, history[f"val_{name}"]),
            }
            axes = {"xlabel": "epoch", "ylabel": name, "mark": epochs[best], "whole": True}
            svg = charts.lines(series, name, **axes)
            last = f"training {history[name][-1]:.4f}, validation {history[f'val_{name}'][-1]:.4f}"
            alt = f"Line chart of {name} by epoch. Last epoch: {last}"
            drawn.append(Chart(name.capitalize(), svg, alt))
    kept = (
        f"Epochs trained: {len(epochs)}. Epoch {int(epochs[best])} had the lowest validation loss, "
        f"{history['val_loss'][best]:.4f}, and its model was kept; the dashed line marks it."
    )
    return [Section("Training", [Charts(drawn), Text(kept)])]


def _results_section(metrics: dict[str, Any], predictions: Predictions | None) -> Section:
    rows: list[tuple[object, ...]] = []
    for name, title in (("accuracy", "accuracy"), ("log_loss", "log-loss"), ("auc", "ROC-AUC")):
        cells: list[object] = []
        for level in ("image", "clip"):
            low, high = metrics[level]["interval"][name]
            undefined = low is None or high is None
            interval = metrics.get("too_few") if undefined else f"{low:.4f} to {high:.4f}"
            cells += [metrics[level][name], interval]
        rows.append((title, *cells))
    header = ("measure", "per image", "95 % interval", "per clip", "95 % interval")
    tested = f"{counted(metrics['clips'], 'clip')} of {counted(metrics['families'], 'family')}"
    caption = f"Results on the {metrics['split']} split, {tested}; intervals by family"
    drawn = [
        Chart(
            f"Confusion matrix, per {level}",
            charts.matrix(metrics[level]["confusion"], LABELS, f"confusion-{level}"),
            f"Confusion matrix per {level}, rows true, columns predicted, REAL first: "
            f"{metrics[level]['confusion']}",
        )
        for level in ("image", "clip")
    ]
    both = predictions is not None and len(np.unique(predictions.label)) == len(LABELS)
    if predictions is not None and both and not metrics.get("too_few"):
        drawn.append(roc_chart(predictions))
    table = Table(caption, header, rows)
    return Section("Results", [*_notes(metrics), table, Charts(drawn), _class_table(metrics)])


def _notes(metrics: dict[str, Any]) -> list[Text]:
    """What the figures do not say: too few clips, scores that decide nothing, remarks."""
    notes = [Text(f"Tested on {few}.", "warning")] if (few := metrics.get("too_few")) else []
    if band := metrics.get("undecided"):
        notes.append(
            Text(
                f"Calibrated scores from {band['low']:.4f} to {band['high']:.4f} are undecided: "
                f"{band['why']}."
            )
        )
    return [*notes, *(Text(str(remark), "warning") for remark in metrics.get("remarks") or ())]


def _class_table(metrics: dict[str, Any]) -> Table:
    rows = [
        (f"{label}, per {level}", *map(metrics[level]["classes"][label].get, _CLASS_COLUMNS))
        for level in ("image", "clip")
        for label in LABELS
    ]
    return Table("Results by class", ("class", "precision", "recall", "F1", "number"), rows)


def _robustness_section(files: RunFiles) -> list[Section]:
    rows = files.robustness()
    if not rows:
        return []
    with invalid_as_table_error(files.folder / "robustness.csv"):
        kinds = list(dict.fromkeys(row["disturbance"] for row in rows))
        clean = [row for row in rows if row["disturbance"] == "none"]
        drawn = [
            _robustness_chart(kind, [*clean, *(row for row in rows if row["disturbance"] == kind)])
            for kind in kinds
            if kind != "none"
        ]
    return [Section("Robustness", [Charts(drawn)])]


def _robustness_chart(kind: str, rows: Sequence[dict[str, str]]) -> Chart:
    positions = list(range(len(rows)))
    levels = [row["level"] for row in rows]
    series = {
        title: (positions, [float(row[name] or "nan") for row in rows])
        for name, title in (("accuracy", "accuracy"), ("auc", "ROC-AUC"))
    }
    said = "; ".join(
        f"{row['level']}: accuracy {row['accuracy'][:6]}, ROC-AUC {row['auc'][:6] or 'undefined'}"
        for row in rows
    )
    axes = {"ylim": (0, 1.04), "xticks": positions, "xticklabels": levels}
    svg = charts.lines(series, f"robustness-{kind}", **axes)
    return Chart(kind, svg, f"Line chart of {kind}. {said}")


def _config_sections(config: dict[str, Any] | None, limits: Sequence[str]) -> list[Section]:
    sections = []
    if config is not None:
        differences = [str(each) for each in config.get("differences") or ()]
        said: Block = (
            TextList(differences)
            if differences
            else Text("Nothing differs from the published recipe.", "good")
        )
        sections.append(Section("Differences from the published recipe", [said]))
    if limits:
        sections.append(Section("Limits", [TextList(limits)]))
    if config is not None:
        sections.append(Section("How it was made", _config_tables(config)))
    return sections


def _config_tables(config: dict[str, Any]) -> list[Block]:
    counts = config["data"]["counts"]
    rows = [(split, *(labels.get(label) for label in LABELS)) for split, labels in counts.items()]
    crops = Table("Crops trained and tested on", ("split", *LABELS), rows)
    return [crops, *(settings_table(name, config.get(name)) for name in _SETTINGS)]
