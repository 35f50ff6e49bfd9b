"""The section about an evaluation on several data sets, from cross.csv."""

from collections.abc import Sequence

from dfdc_prep.reports.page import Block, Section, Table, Text

#: Measures of the table: the column of cross.csv's `measure`, and the title.
_MEASURES = {
    "accuracy": "accuracy",
    "accuracy_at_threshold": "at threshold",
    "log_loss": "log-loss",
    "auc": "ROC-AUC",
    "average_precision": "AP",
    "eer": "EER",
}
_NOTE = (
    "At threshold is the accuracy at the threshold; AP the average precision, EER the equal error "
    "rate. The fakes of each method are measured against every REAL of their set. Intervals are "
    "95 %, by family, because the crops of a family are not independent; where a label has too few "
    "families to say more than the figure itself, there is none. "
    "Threshold and temperature are from a validation split, never from the set that is tested."
)


def cross_section(rows: Sequence[dict[str, str]]) -> list[Section]:
    """Tables of values and of intervals for each model and level; empty without rows.

    Args:
        rows: those of cross.csv.
    """
    if not rows:
        return []
    blocks: list[Block] = [Text(_NOTE)]
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        blocks += _overlaps(model, own)
        for level in ("image", "clip"):
            blocks += _tables(model, [row for row in own if row["level"] == level], level)
    return [Section("By data set and method", blocks)]


def _tables(model: str, rows: Sequence[dict[str, str]], level: str) -> list[Table]:
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(f"{row['set']}, {row['method']}", {})[row["measure"]] = row
    values, intervals = [], []
    for name, group in groups.items():
        counts = (int(group["accuracy"][each]) for each in ("real", "fake", "families"))
        values.append((name, *counts, *(_number(group[each]["value"]) for each in _MEASURES)))
        intervals.append((name, *(_interval(group[each]) for each in _MEASURES)))
    threshold = _number(rows[0]["threshold"]) if rows else None
    at = "" if threshold is None else f", threshold {threshold:.4f}"
    header = ("set, method", "REAL", "FAKE", "families", *_MEASURES.values())
    return [
        Table(f"{model}, per {level}{at}", header, values),
        Table(f"{model}, per {level}: 95 % intervals", (header[0], *header[4:]), intervals),
    ]


def _number(text: str) -> float | None:
    return float(text) if text else None


def _interval(row: dict[str, str]) -> str | None:
    low, high = _number(row["low"]), _number(row["high"])
    if low is None or high is None:
        return "too few" if row["value"] else None
    return f"{low:.3f}–{high:.3f}"


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
