"""The page of two runs side by side: results, curves, settings that differ."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import (
    Block,
    Chart,
    Charts,
    Folded,
    Page,
    Section,
    Table,
    Text,
    setting,
)
from dfdc_prep.reports.run_predictions import per_clip, read_predictions, roc_chart
from dfdc_prep.reports.run_report import test_result
from dfdc_prep.run_files import TITLES, RobustnessRow, RunConfig, RunFiles, SplitMetrics
from manifests.wording import counted

_NOT_TESTED = (
    "Whether a difference is more than chance was not tested. Intervals that overlap do not show "
    "that the models are equal; dfdc-prep compare tests it, clip by clip."
)


class _Run(NamedTuple):
    """What is known of a run; None for a file that is missing."""

    name: str
    config: RunConfig | None
    metrics: SplitMetrics | None
    history: Sequence[dict[str, float]]
    robustness: Sequence[RobustnessRow]
    predictions: pd.DataFrame | None


def comparison_page(first: Path, second: Path) -> Page:
    """Return the page of two runs, or of evaluations inside runs.

    Raises:
        TrainingError, TableError: a file is invalid.
    """
    names = [RunFiles(path).name for path in (first, second)]
    if names[0] == names[1]:
        names = [str(first), str(second)]
    runs = [_read(path, name) for path, name in zip((first, second), names, strict=True)]
    facts: list[tuple[str, object]] = [
        (f"{title} per clip, {run.name}", getattr(run.metrics.clip, name))
        for name, title in (("accuracy", "accuracy"), ("auc", "ROC-AUC"))
        for run in runs
        if run.metrics and not run.metrics.too_few
    ]
    sections = [
        Section("Results", [_results(runs), *_curves(runs)]),
        Section("Training", _training(runs)),
        *_robustness(runs),
        Section("Settings", _settings(runs)),
    ]
    lead = "Two runs side by side; differences are the second less the first."
    told = [(run.name, test_result(run.metrics)) for run in runs]
    verdict = [each._replace(text=f"{name}: {each.text}") for name, each in told]
    verdict += [_same_clips(runs), Text(_NOT_TESTED)]
    return Page(f"Runs: {names[0]} and {names[1]}", lead, sections, facts, verdict)


def _read(path: Path, name: str) -> _Run:
    files = RunFiles(path)
    return _Run(
        name,
        files.config() if files.config_file.is_file() else None,
        files.metrics() if files.metrics_file.is_file() else None,
        files.history(),
        files.robustness(),
        read_predictions(files.predictions_file),
    )


def _same_clips(runs: Sequence[_Run]) -> Text:
    """Whether the figures of the runs are of the same clips."""
    tested = [None if r.predictions is None else set(r.predictions["clip"]) for r in runs]
    first, second = tested
    if first is None or second is None:
        missing = [run.name for run in runs if run.predictions is None]
        has = f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'}"
        said = f"Whether both were tested on the same clips is not known: {has} no"
        return Text(f"{said} predictions.parquet.", "warning")
    if first == second:
        return Text(f"Both were tested on the same {counted(len(first), 'clip')}.")
    both = len(first & second)
    return Text(
        f"The runs were tested on different clips, {len(first):,} and {len(second):,}, of which "
        f"{both:,} are the same: their figures cannot be compared.",
        "warning",
    )


def _results(runs: Sequence[_Run]) -> Table:
    rows: list[tuple[object, ...]] = []
    for level in ("image", "clip"):
        for name, title in TITLES.items():
            cells: list[object] = []
            values = []
            for found in (run.metrics for run in runs):
                measured = found.levels[level] if found else None
                value = getattr(measured, name, None)
                interval = getattr(measured.interval, name) if measured else None
                cells += [value, interval.text(found.too_few) if found and interval else None]
                values += [] if value is None else [value]
            difference = f"{values[1] - values[0]:+.4f}" if len(values) == len(runs) else None
            rows.append((f"{title} per {level}", *cells, difference))
    header = ["measure"]
    for run in runs:
        header += [run.name, "95 % interval"]
    return Table("Results, with intervals by family", (*header, "difference"), rows)


def _curves(runs: Sequence[_Run]) -> list[Charts]:
    known = {run.name: run.predictions for run in runs if run.predictions is not None}
    clips = {name: per_clip(frame) for name, frame in known.items()}
    drawn = [*roc_chart(known, "ROC per image"), *roc_chart(clips, "ROC per clip")]
    return [Charts(drawn)] if drawn else []


def _training(runs: Sequence[_Run]) -> list[Block]:
    known = [run for run in runs if run.history]
    if not known:
        return [Text("Neither has a history.csv.")]
    drawn = []
    for name, title in (("val_loss", "Validation loss"), ("val_accuracy", "Validation accuracy")):
        series = {
            run.name: ([row["epoch"] for row in run.history], [row[name] for row in run.history])
            for run in known
        }
        last = ", ".join(f"{run.name} {run.history[-1][name]:.4f}" for run in known)
        svg = charts.lines(series, name, xlabel="epoch", ylabel=title.lower(), whole=True)
        drawn.append(Chart(title, svg, f"Line chart by epoch. Last epoch: {last}"))
    return [Charts(drawn)]


def _robustness(runs: Sequence[_Run]) -> list[Section]:
    """The accuracy of both at the levels of each disturbance that both were tested at."""
    by_level = [{(r.disturbance, r.level): r.accuracy for r in run.robustness} for run in runs]
    both = [key for key in by_level[0] if key in by_level[1]]
    drawn = []
    for kind in dict.fromkeys(kind for kind, _ in both if kind != "none"):
        keys = [key for key in both if key[0] in ("none", kind)]
        at = list(range(len(keys)))
        series = {
            run.name: (at, [found[key] for key in keys])
            for run, found in zip(runs, by_level, strict=True)
        }
        axes = {"ylim": (0, 1.04), "xticks": at, "xticklabels": [level for _, level in keys]}
        said = "; ".join(
            f"{level}: " + ", ".join(f"{each:.4f}" for each in values)
            for (_, level), *values in zip(keys, *(up for _, up in series.values()), strict=True)
        )
        svg = charts.lines(series, f"robustness-{kind}", ylabel="accuracy", **axes)
        drawn.append(Chart(kind, svg, f"Line chart of accuracy under {kind}. {said}"))
    return [Section("Robustness", [Charts(drawn)])] if drawn else []


def _settings(runs: Sequence[_Run]) -> list[Block]:
    """A table of the settings that differ, and one of the others."""
    first, second = (None if run.config is None else _flat(run.config) for run in runs)
    if first is None or second is None:
        return [Text("Not compared: a config.json is missing.")]
    rows = [(name, first.get(name), second.get(name)) for name in {**first, **second}]
    differ = [row for row in rows if row[1] != row[2]]
    same = [row[:2] for row in rows if row[1] == row[2]]
    folded = Folded(
        f"{counted(len(same), 'setting')} the same in both",
        [Table("The same in both", ("name", "value"), same)] if same else [],
    )
    if not differ:
        return [Text("No setting differs."), folded]
    header = ("name", *(run.name for run in runs))
    verb = "differs" if len(differ) == 1 else "differ"
    return [Table(f"{counted(len(differ), 'setting')} that {verb}", header, differ), folded]


def _flat(config: RunConfig) -> dict[str, str]:
    """Every setting as text."""
    values = asdict(config)
    groups = ("recipe", "options", "data", "versions")
    found = {f"{group}: {k}": setting(v) for group in groups for k, v in values[group].items()}
    return {**found, "shards": config.shards, "device": config.device}
