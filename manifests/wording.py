"""Words of messages: numbers with nouns and units, lists, tables, names like an unknown one.

And the YAML that begins a card.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

#: Columns of a table that a message names one by one; of more, it names the nearest.
_FEW = 8
#: How alike two names are, 0 to 1, that are taken for spellings of one.
_ALIKE = 0.7
#: Text that YAML needs no quotes for; and what of it YAML 1.1 takes for another value.
_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[a-z][\w-]*", re.ASCII | re.IGNORECASE
)


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 clip", "2,000 clips", "3 families"."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that `name` may be a misspelling of, the most alike first."""
    lower: dict[str, str] = {}
    for each in known:
        lower.setdefault(each.lower(), each)
    return [lower[each] for each in get_close_matches(name.lower(), lower, 3, _ALIKE)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: "did you mean a or b?"; empty if none is like it."""
    found = nearest(name, known)
    return f"did you mean {' or '.join(found)}?" if found else ""


def columns_found(names: Sequence[str], wanted: str) -> str:
    """What a table has in place of the column `wanted`: its columns, or those of like names."""
    if len(names) <= _FEW:
        return listed(names, _FEW) or "no columns"
    like = nearest(wanted, names) or [name for name in names if wanted in name][:3]
    return (
        f"{counted(len(names), 'column')}, {f'such as {listed(like)}' if like else 'none like it'}"
    )


def aligned(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table: columns of text to the left, of numbers to the right."""
    body = [["" if c is None else c for c in row] for row in rows]
    text = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in (header, *body)]
    columns = []
    for name, *cells in zip(*text, strict=True):
        width = max(len(name), *map(len, cells)) if cells else len(name)
        side = ">" if all(re.fullmatch(r"[-+]?[\d,.]*(e[-+]\d+)?", c) for c in cells) else "<"
        columns.append([f"{cell:{side}{width}}" for cell in (name, *cells)])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


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


def front_matter(values: Mapping[str, Any]) -> str:
    """The YAML between two lines of dashes that the Hub reads at the head of a card."""
    return "\n".join(["---", *_yaml(values), "---", ""])


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """The lines of a value: mappings and lists as blocks, the rest as JSON, which YAML includes."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, Mapping | list):
                yield f"{indent}{_scalar(key)}:"
                yield from _yaml(each, f"{indent}  ")
            else:
                yield f"{indent}{_scalar(key)}: {_scalar(each)}"
    elif isinstance(value, list):
        for each in value:
            first, *rest = _yaml(each, f"{indent}  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
    else:
        yield f"{indent}{_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(character if character.isprintable() else " " for character in text)
