"""The section about an evaluation on several data sets, from cross.csv."""

from collections.abc import Sequence

from dfdc_prep.reporting.page import Block, Section, Table, Text

#: Measures of the table: the column of cross.csv's `measure`, and the title.
_MEASURES = {
    "accuracy": "accuracy",
    "accuracy_at_threshold": "accuracy at threshold",
    "log_loss": "log-loss",
    "auc": "ROC-AUC",
    "average_precision": "average precision",
    "eer": "EER",
}
_NOTE = (
    "The fakes of each method are measured against every REAL of their set. Intervals are 95 %, by "
    "bootstrap over families, because the crops of a family are not independent. Threshold and "
    "temperature are from a validation split, never from the set that is tested."
)


def cross_section(rows: Sequence[dict[str, str]]) -> list[Section]:
    """A table for each model and level; empty without rows.

    Args:
        rows: those of cross.csv.
    """
    if not rows:
        return []
    blocks: list[Block] = [Text(_NOTE)]
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        blocks += [
            *_overlaps(model, own),
            *(_table(model, own, each) for each in ("image", "clip")),
        ]
    return [Section("By data set and method", blocks)]


def _table(model: str, rows: Sequence[dict[str, str]], level: str) -> Table:
    groups: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        if row["level"] == level:
            groups.setdefault((row["set"], row["method"]), {})[row["measure"]] = row
    cells = [
        (
            *names,
            int(group["accuracy"]["real"]),
            int(group["accuracy"]["fake"]),
            *(_cell(group[name]) for name in _MEASURES),
        )
        for names, group in groups.items()
    ]
    header = ("set", "method", "REAL", "FAKE", *_MEASURES.values())
    threshold = rows[0]["threshold"]
    at = f", threshold {float(threshold):.4f}" if threshold else ""
    return Table(f"{model}, per {level}{at}", header, cells)


def _cell(row: dict[str, str]) -> str | None:
    """The value and its interval; None where undefined."""
    if not row["value"]:
        return None
    if not row["low"] or not row["high"]:
        return f"{float(row['value']):.3f}"
    return f"{float(row['value']):.3f} ({float(row['low']):.3f} to {float(row['high']):.3f})"


def _overlaps(model: str, rows: Sequence[dict[str, str]]) -> list[Text]:
    """A warning for each set with images that the model may know from its training."""
    whole = ("all", "image", "accuracy")
    images = [row for row in rows if (row["method"], row["level"], row["measure"]) == whole]
    if any(not row["trained_on"] for row in images):
        return [Text(f"Whether {model} was trained on clips of these sets is not known.")]
    return [
        Text(
            f"{int(row['trained_on']):,} of {int(row['real']) + int(row['fake']):,} images of "
            f"{row['set']} are of families or files that {model} was trained on: its figures there "
            "are too good.",
            "warning",
        )
        for row in images
        if int(row["trained_on"])
    ]
