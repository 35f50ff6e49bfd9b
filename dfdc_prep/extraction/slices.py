"""Slices of a run: families divided among machines that share an output folder.

A family belongs to a slice by a hash of its name, so that every machine divides the families in
the same way, wherever the clips lie. Each slice has a journal of its own. Families finished by
other slices count as finished, so that a run can go on with another number of slices.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.catalog.clips import Family
from manifests.wording import listed

_JOURNAL = re.compile(r"journal-(\d+)-of-(\d+)\.jsonl")
_TEXT = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)
#: Slices and families that a message names at most.
_MOST_NAMED = 10


@dataclass(frozen=True)
class Slice:
    """One of `count` slices; `index` is from 1 to `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Slice":
        """Read a slice from text such as 3/8.

        Raises:
            ValueError: the text has another form, or there is no such slice.
        """
        found = _TEXT.fullmatch(text)
        parsed = cls(int(found[1]), int(found[2])) if found else None
        if parsed is None or not 1 <= parsed.index <= parsed.count:
            raise ValueError(f"expected a slice from 1/N to N/N, found {text!a}")
        return parsed

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def journal(self) -> str:
        """File name of its journal."""
        return f"journal-{self.index}-of-{self.count}.jsonl"

    @property
    def lock(self) -> str:
        """File name of its lock."""
        return f".lock-{self.index}-of-{self.count}"

    def contains(self, family: Family) -> bool:
        """Whether a family belongs to this slice."""
        return self == slice_of(family, self.count)


def slice_of(family: Family, count: int) -> Slice:
    """The slice that a family belongs to, of `count` slices."""
    digest = hashlib.sha256(family.name.encode()).digest()
    return Slice(int.from_bytes(digest[:8]) % count + 1, count)


def slice_journals(folder: Path) -> list[Path]:
    """The journals of slices in an output folder; the one written to last comes last."""
    inside = folder.iterdir() if folder.is_dir() else ()  # a dry run has no folder
    found = [path for path in inside if _JOURNAL.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def describe_missing(journals: Iterable[str], missing: Iterable[Family]) -> str:
    """Name the families that are missing, by slice if there are journals of slices.

    Args:
        journals: file names of the slices' journals, the newest last; if they are of different
            numbers of slices, the newest counts.
    """
    counts = [int(found[2]) for name in journals if (found := _JOURNAL.fullmatch(name))]
    if not counts:
        return listed([family.name for family in missing], _MOST_NAMED)
    by_slice: dict[Slice, list[str]] = defaultdict(list)
    for family in missing:
        by_slice[slice_of(family, counts[-1])].append(family.name)
    slices = sorted(by_slice.items(), key=lambda item: item[0].index)
    named = [f"slice {each} ({len(names):,}: {listed(names, 3)})" for each, names in slices]
    return listed(named, _MOST_NAMED)
