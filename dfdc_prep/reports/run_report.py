"""The page of a run folder: training, results, calibration, mistakes, families, limits."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_prep.reports import charts
from dfdc_prep.reports.compared import Comparison
from dfdc_prep.reports.page import (
    Block,
    Chart,
    Charts,
    Group,
    Groups,
    Page,
    Picture,
    Section,
    Table,
    Text,
    TextList,
    percent,
    settings,
    shown,
    target_share,
    thumbnail,
)
from dfdc_prep.reports.run_predictions import (
    per_clip,
    prediction_sections,
    read_predictions,
    roc_chart,
)
from dfdc_prep.run_files import (
    LIMITS,
    MEASURES,
    NO_INTERVAL,
    TITLES,
    CrossRow,
    RobustnessRow,
    RunFiles,
    SplitMetrics,
    by_measure,
    overlap_lines,
    read_rows,
)
from manifests.labels import LABELS
from manifests.pictures.images import ImageError, open_image, to_rgb
from manifests.wording import counted

#: Measures of the tables of several data sets.
_CROSS = [name for name in MEASURES if name != "log_loss_calibrated"]
_CROSS_NOTE = (
    "At threshold is the accuracy at the threshold; AP the average precision, EER the equal error "
    "rate. The fakes of each method are measured against every REAL of their set. Intervals are "
    "95 %, by family, because the crops of a family are not independent; where a label has too few "
    "families to say more than the figure itself, there is none. "
    "Threshold and temperature are from a validation split, never from the set that is tested."
)


def run_page(path: Path) -> Page:
    """Return the page of a run folder, or of an evaluation inside one.

    Raises:
        TrainingError, TableError: a file is invalid.
    """
    files = RunFiles(path)
    config = files.config() if files.config_file.is_file() else None
    metrics = files.metrics() if files.metrics_file.is_file() else None
    predictions = read_predictions(files.predictions_file)
    sections: list[Section] = []
    verdict = [test_result(metrics)] if config or metrics else []
    if config and config.data.metadata.get("group_by") == "none":
        said = "The shards were split without regard to families, so the figures are too good."
        verdict.append(Text(f"{said} Split by original to test on unknown families.", "warning"))
    compared = Comparison.read(path)
    verdict += compared.verdict()
    alone = bool(compared.coverage) and not (config or metrics)
    unchecked = ["leaks between the splits (dfdc-prep audit)"] if config or alone else []
    if alone:
        unchecked.append("which of the clips the models were trained on")
    else:
        unchecked += [] if files.cross() else ["other data sets"]
        unchecked += [] if files.robustness() else ["disturbances such as blur and compression"]
    if unchecked:
        verdict.append(Text(f"Not checked here: {', '.join(unchecked)}."))
    if config or metrics:
        sections.append(_training_section(files.history()))
    if metrics:
        roc = {}
        if predictions is not None and not metrics.too_few:
            roc = {"per image": predictions, "per clip": per_clip(predictions)}
        sections.append(_results_section(metrics, roc_chart(roc)))
    sections += compared.sections()
    if files.cross() != compared.measures:  # which the section above has
        sections += _cross_section(files.cross())
    if predictions is not None:
        sections += prediction_sections(metrics, predictions)
    sections += _robustness_section(files.robustness())
    sections += _mistakes_section(files.mistakes, metrics)
    if config:
        differences: Block = Text("Nothing differs from the published recipe.", "good")
        if config.differences:
            differences = TextList(config.differences)
        sections.append(Section("Differences from the published recipe", [differences]))
        if metrics:
            limits = [limit.replace("`", "") for limit in LIMITS]
            sections.append(Section("Limits", [TextList(limits)]))
        counts = config.data.counts.items()
        total = sum(sum(labels.values()) for _, labels in counts)
        rows = [
            (
                *(split, *map(labels.get, LABELS)),
                *(percent(sum(labels.values()), total), target_share(config.data.metadata, split)),
            )
            for split, labels in counts
        ]
        header = ("split", *LABELS, "of all", "target")
        crops = Table("Crops trained and tested on", header, rows)
        values = asdict(config)
        names = ("recipe", "options", "versions")
        made = settings({name: values[name] for name in names})
        sections.append(Section("How it was made", [crops, made]))
    facts = _facts(metrics) + compared.facts()
    if alone:
        lead = "Several models on the same clips: how they differ, and how sure that is."
        return Page(f"Comparison: {files.name}", lead, sections, facts, verdict)
    lead = "How a model was trained, and what it does on clips it has not seen."
    return Page(f"Run: {path.resolve().name}", lead, sections, facts, verdict)


def test_result(metrics: SplitMetrics | None) -> Text:
    """What the test found, per clip."""
    if metrics is None:
        what = "The run is not finished, or has not been tested: there is no metrics.json."
        return Text(f"{what} Run the same dfdc-prep fit command again to resume.", "warning")
    if metrics.too_few:
        return Text(f"Tested on {metrics.too_few}.", "warning")
    found = metrics.clip
    figures = [
        f"{TITLES[name]} {shown(value)} (95 % interval {interval.text(metrics.too_few)})"
        for name, value, interval in (
            ("accuracy", found.accuracy, found.interval.accuracy),
            ("auc", found.auc, found.interval.auc),
        )
        if value is not None
    ]
    tested = f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"
    return Text(f"Per clip on the {metrics.split} split, {tested}: {' and '.join(figures)}.")


def _facts(metrics: SplitMetrics | None) -> list[tuple[str, object]]:
    if metrics is None:
        return []
    facts: list[tuple[str, object]] = [("accuracy, ROC-AUC", metrics.too_few)]
    if not metrics.too_few:  # else no figure that looks like a result
        facts = []
        for level, measured in metrics.levels.items():
            facts += [(f"accuracy per {level}", measured.accuracy)]
            facts += [(f"ROC-AUC per {level}", measured.auc)]
    return [*facts, ("images", metrics.image.images), ("clips", metrics.clips)]


def _training_section(history: Sequence[dict[str, float]]) -> Section:
    if not history:
        return Section("Training", [Text("There is no history.csv.")])
    best, last = min(history, key=lambda row: row["val_loss"]), history[-1]
    epochs = [row["epoch"] for row in history]
    drawn = []
    for name in ("accuracy", "loss"):
        series = {
            "training": (epochs, [row[name] for row in history]),
            "validation": (epochs, [row[f"val_{name}"] for row in history]),
        }
        axes = {"xlabel": "epoch", "ylabel": name, "mark": best["epoch"], "whole": True}
        values = f"training {last[name]:.4f}, validation {last[f'val_{name}']:.4f}"
        alt = f"Line chart of {name} by epoch. Last epoch: {values}"
        drawn.append(Chart(name.capitalize(), charts.lines(series, name, **axes), alt))
    kept = (
        f"Epochs trained: {len(epochs)}. Epoch {int(best['epoch'])} had the lowest validation "
        f"loss, {best['val_loss']:.4f}, and its model was kept; the dashed line marks it."
    )
    return Section("Training", [Charts(drawn), Text(kept)])


def _results_section(metrics: SplitMetrics, roc: Sequence[Chart]) -> Section:
    """The figures, and what they do not say: too few clips, scores that decide nothing, remarks."""
    band, levels = metrics.undecided, metrics.levels.items()
    undecided = f"Calibrated scores from {band.low:.4f} to {band.high:.4f} are undecided"
    notes = [Text(f"{undecided}: {band.why}.")]
    notes += [Text(remark, "warning") for remark in metrics.remarks]
    rows: list[tuple[object, ...]] = []
    for name, title in TITLES.items():
        cells: list[object] = []
        for _, measured in levels:
            interval = getattr(measured.interval, name).text(metrics.too_few)
            cells += [getattr(measured, name), interval]
        rows.append((title, *cells))
    header = ("measure", "per image", "95 % interval", "per clip", "95 % interval")
    tested = f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"
    caption = f"Results on the {metrics.split} split, {tested}; intervals by family"
    drawn, classes = [], []
    for level, measured in levels:
        title = f"Confusion matrix, per {level}"
        svg = charts.matrix(measured.confusion, LABELS, f"confusion-{level}")
        order = "rows true, columns predicted, REAL first"
        alt = f"Confusion matrix per {level}, {order}: {measured.confusion}"
        drawn.append(Chart(title, svg, alt))
        by_label = ((label, asdict(measured.classes[label]).values()) for label in LABELS)
        classes += [(f"{label}, per {level}", *values) for label, values in by_label]
    by_class = Table("Results by class", ("class", "precision", "recall", "F1", "number"), classes)
    results = Table(caption, header, rows)
    return Section("Results", [*notes, results, Charts([*drawn, *roc]), by_class])


def _robustness_section(rows: Sequence[RobustnessRow]) -> list[Section]:
    clean = [row for row in rows if row.disturbance == "none"]
    drawn = []
    for kind in dict.fromkeys(row.disturbance for row in rows if row.disturbance != "none"):
        levels = [*clean, *(row for row in rows if row.disturbance == kind)]
        positions = list(range(len(levels)))
        series = {
            "accuracy": (positions, [row.accuracy for row in levels]),
            "ROC-AUC": (positions, [np.nan if r.auc is None else r.auc for r in levels]),
        }
        said = "; ".join(
            f"{row.level}: accuracy {str(row.accuracy)[:6]}, ROC-AUC "
            f"{'undefined' if row.auc is None else str(row.auc)[:6]}"
            for row in levels
        )
        axes = {"ylim": (0, 1.04), "xticks": positions, "xticklabels": [r.level for r in levels]}
        svg = charts.lines(series, f"robustness-{kind}", **axes)
        drawn.append(Chart(kind, svg, f"Line chart of {kind}. {said}"))
    return [Section("Robustness", [Charts(drawn)])] if rows else []


def _cross_section(rows: Sequence[CrossRow]) -> list[Section]:
    """Tables of values and of intervals for each model and level; empty without rows."""
    blocks: list[Block] = [Text(_CROSS_NOTE)]
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        known = own[0].trained_on is not None
        blocks += [Text(s, "warning" if known else "plain") for s in overlap_lines(model, own)]
        for level in ("image", "clip"):
            blocks += _cross_tables(model, [row for row in own if row.level == level], level)
    return [Section("By data set and method", blocks)] if rows else []


def _cross_tables(model: str, rows: Sequence[CrossRow], level: str) -> list[Table]:
    values, intervals = [], []
    groups = by_measure(rows)
    names = [each for each in _CROSS if all(each in group for group in groups.values())]
    for (name, method, _), group in groups.items():
        first, shown = group["accuracy"], [group[each] for each in names]
        counts = (first.real, first.fake, first.families)
        values.append((f"{name}, {method}", *counts, *(each.value for each in shown)))
        cells: list[str | None] = []
        for row in shown:
            if row.low is not None and row.high is not None:
                cells.append(f"{row.low:.3f}–{row.high:.3f}")
            else:
                no_cell = row.value is None or row.measure in NO_INTERVAL
                cells.append(None if no_cell else "too few")
        intervals.append((f"{name}, {method}", *cells))
    threshold = rows[0].threshold if rows else None
    at = "" if threshold is None else f", threshold {threshold:.4f}"
    titles = [MEASURES[name] for name in names]
    header = ("set, method", "REAL", "FAKE", "families", *titles)
    return [
        Table(f"{model}, per {level}{at}", header, values),
        Table(f"{model}, per {level}: 95 % intervals", (header[0], *titles), intervals),
    ]


def _mistakes_section(folder: Path, metrics: SplitMetrics | None) -> list[Section]:
    """The most confident mistakes with their heatmaps; empty for a run without results."""
    groups = []
    for row in read_rows(folder / "mistakes.csv", dict[str, str | None]):
        score = float(row.get("score") or "nan")
        line = f"{row.get('label')} with P(FAKE) {score:.4f}"
        line += f", frame {row['frame']}" if row.get("frame") else ""
        what = f"{row.get('label')} crop of {row.get('video')}"
        pictures = _pictures(folder / Path(row.get("image") or "").name, what)
        groups.append(Group(pictures, f"{line}, {row.get('part')}/{row.get('video')}"))
    blocks: list[Block] = []
    if groups:
        note = "Bright places speak for FAKE (Grad-CAM). They show where the model looked, not why."
        blocks.append(Text(note))
        found = metrics.localization if metrics else None
        means = (found.pointing_game, found.energy, found.area) if found else (None,) * 3
        first, energy, area = (None if mean is None else f"{100 * mean:.1f} %" for mean in means)
        if found and first and energy and area:
            said = (
                f"Of {counted(found.images, 'image')} with a forged face, the heatmap is largest "
                f"on the mask in {first}; {energy} of its energy lies there. The masks cover "
                f"{area}."
            )
            blocks.append(Text(said))
        caption = "The most confident mistakes, one of each clip: crop, heatmap and, if known, mask"
        blocks.append(Groups(caption, groups))
    elif metrics is None:
        return []
    elif metrics.image.confusion[0][1] + metrics.image.confusion[1][0]:
        blocks.append(Text("There is no folder of mistakes; dfdc-prep evaluate writes it."))
    else:
        images = counted(metrics.image.images, "image")
        blocks.append(Text(f"Every image was predicted correctly, of {images}."))
    return [Section("Worst mistakes", blocks)]


def _pictures(path: Path, what: str) -> list[Picture]:
    """The crop, the heatmap and perhaps the mask of a mistake, side by side in one image."""
    try:
        with open_image(path, ("PNG",), max_pixels=4_000_000) as image:
            drawn: npt.NDArray[np.uint8] = to_rgb(image)
    except (OSError, ImageError):
        return [Picture(None, what)]
    height, width = drawn.shape[:2]
    if width < 2:
        return [Picture(None, what)]
    parts = np.array_split(drawn, 3 if width >= 3 * height else 2, axis=1)
    names = (what, f"heatmap of the {what}", f"mask of the {what}: white is forged")
    return [Picture(thumbnail(part), name) for part, name in zip(parts, names, strict=False)]
