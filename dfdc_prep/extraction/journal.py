"""The journal of a run: one JSON line per finished family.

The journal is the only state of a run: a restarted run reads it and continues, and the final
tables are made from it alone. If the run is killed while it writes a line, the next run removes
the partial line and processes that family again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from dfdc_prep.catalog.clips import Family
from dfdc_prep.errors import OutputError
from manifests.columns import ClipRow, CropRow
from manifests.files import Journal, read_lines
from manifests.labels import LABELS, STATUSES

__all__ = ["Journal", "JournalEntry", "family_key", "read_journal"]


class JournalEntry(TypedDict):
    """One line of the journal: a finished family.

    `key` is that of `family_key`; `clips` and `crops` are the rows of the two tables. `versions`
    are those of the clips' files, in the order of `clips`; null for a clip that was missing.
    """

    key: str
    versions: list[str | None]
    clips: list[ClipRow]
    crops: list[CropRow]


def family_key(family: Family) -> str:
    """Hash of everything that determines the work on a family, 32 hexadecimal digits.

    The key changes if a clip is added or removed or its file size changes, so that a restarted run
    processes the family again. A file of the same size is known by its version, which is not part
    of the key: it would have to be computed for every clip at every start.
    """
    clips = [[c.part, c.video, c.label, c.original, c.folder, c.size] for c in family.clips]
    return hashlib.sha256(json.dumps([family.name, clips]).encode()).hexdigest()[:32]


def read_journal(path: Path) -> Iterator[JournalEntry]:
    """Yield the finished families in the order in which they finished; skip a partial last line.

    Raises:
        OutputError: a complete line is not a valid entry.
    """
    for number, entry in read_lines(path):
        if not _is_entry(entry):
            raise OutputError(
                f"expected a finished family in line {number} of {path}, found something "
                "else; remove the line to process the family again"
            )
        yield entry


def _is_entry(entry: Any) -> bool:
    """Whether a parsed line has the structure of an entry; not every value is checked."""
    try:
        return (
            isinstance(entry["key"], str)
            and len(entry["versions"]) == len(entry["clips"])
            and all(isinstance(version, str | None) for version in entry["versions"])
            and all(
                clip.keys() == ClipRow.__annotations__.keys()
                and clip["label"] in (*LABELS, None)
                and clip["status"] in STATUSES
                and isinstance(clip["faces"], int)
                for clip in entry["clips"]
            )
            and all(
                crop.keys() == CropRow.__annotations__.keys()
                and isinstance(crop["path"], str)
                and isinstance(crop["mask"], str | None)
                for crop in entry["crops"]
            )
        )
    except (TypeError, KeyError, AttributeError):
        return False
