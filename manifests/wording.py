"""Words of messages: numbers with their nouns, lists, and values of unknown content."""

from collections.abc import Sequence
from typing import Any


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 clip", "2,000 clips", "3 families"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    shown = (name if name.isprintable() else abbreviated(name) for name in names[:most])
    return ", ".join(shown) + more


def abbreviated(value: Any) -> str:
    """A value of unknown content: in ASCII, on one line, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
