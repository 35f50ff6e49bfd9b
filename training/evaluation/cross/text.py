"""The rows of cross.csv as text, for report.txt and for a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from manifests.result import TextTable
from training.evaluation.cross.measures import MEASURES
from training.evaluation.cross.table import ALL, CrossRow
from training.evaluation.intervals import MIN_FAMILIES
from training.evaluation.metrics import temperature_remark

#: Measures in the text; the others are in cross.csv.
_SHOWN = [name for name in MEASURES if name != "log_loss_calibrated"]
_COUNTS = ("REAL", "FAKE", "families")
_HEADER = ("set", "method", "level", *_COUNTS, *(MEASURES[name] for name in _SHOWN))


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
        yield from _overlaps(model, own)
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


def _overlaps(model: str, rows: Sequence[CrossRow]) -> Iterator[str]:
    """How many images of each set are of families or files that the model was trained on."""
    images = [r for r in rows if (r.method, r.level, r.measure) == (ALL, "image", "accuracy")]
    if any(row.trained_on is None for row in images):
        yield f"Whether {model} was trained on clips of these sets is not known."
        return
    found = [row for row in images if row.trained_on]
    for row in found:
        yield (
            f"{row.trained_on:,} of {row.real + row.fake:,} images of {row.set} are of families or "
            f"files that {model} was trained on: its figures there are too good."
        )
    if not found:
        yield (
            f"No image of these sets is of a known family or a file that {model} was trained on; "
            "fakes of unknown families cannot be compared."
        )


def _table(rows: Sequence[CrossRow]) -> TextTable:
    """Values, and their intervals on a second line of the cell."""
    groups: dict[tuple[str, str, str], dict[str, CrossRow]] = {}
    for row in rows:
        groups.setdefault((row.set, row.method, row.level), {})[row.measure] = row
    cells = [
        (
            *names,
            str(group["accuracy"].real),
            str(group["accuracy"].fake),
            str(group["accuracy"].families),
            *(_cell(group[name]) for name in _SHOWN),
        )
        for names, group in groups.items()
    ]
    return TextTable(_HEADER, cells)


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
