"""Words of messages: numbers with nouns and units, lists, and values of unknown content."""

from collections.abc import Sequence
from typing import Any


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 clip", "2,000 clips", "3 families"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, to two digits: "0.8 s", "12 min", "3.4 h"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{1 if seconds < 9.95 * length else 0}f} {unit}"
    return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"


def data_size(size: float) -> str:
    """Bytes as "0.3 MB", "1.2 GB" or "470.0 GB"."""
    unit, length = next(
        (each for each in (("TB", 1e12), ("GB", 1e9)) if size >= each[1]), ("MB", 1e6)
    )
    return f"{size / length:,.1f} {unit}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    shown = (name if name.isprintable() else abbreviated(name) for name in names[:most])
    return ", ".join(shown) + more


def abbreviated(value: Any) -> str:
    """A value of unknown content: in ASCII, on one line, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
