"""What a run has finished, one line a family, durable line by line.

The journal is the run's whole memory: a run started again reads it and goes on, and the
tables at the end are made from it alone. A line that was being written when the run was
killed is cut off and its family done again.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from dfdc_prep.catalog.clips import Family
from dfdc_prep.errors import OutputError
from manifests.io.json_files import parse_json
from manifests.labels import LABELS, STATUSES

#: Seconds between two syncs to the disk itself. A killed process loses nothing without;
#: a machine that loses power loses this much.
_SYNC_EVERY = 1.0


def family_key(family: Family) -> str:
    """Names a family with all that decides its work: its clips, as they lie on the disk.

    A clip that has appeared, gone or changed its size gives another key, so that a run
    started again takes the family up anew.
    """
    said = [[c.part, c.video, c.label, c.original, c.folder, c.size] for c in family.clips]
    return hashlib.sha256(json.dumps([family.name, said]).encode()).hexdigest()[:32]


class Journal:
    """The journal of one output folder, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _cut_torn_line(path)
        self._file = path.open("ab")
        self._synced = time.monotonic()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, key: str, clips: list[dict[str, Any]], crops: list[dict[str, Any]]) -> None:
        """Write one finished family down."""
        line = json.dumps({"key": key, "clips": clips, "crops": crops}, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        now = time.monotonic()
        if now - self._synced >= _SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = now


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The finished families, in the order they were finished: key, clips, crops.

    Raises:
        OutputError: a line before the last is not what the journal writes.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = parse_json(line)
            except ValueError:
                entry = None
            if not _complete(entry):
                raise OutputError(
                    f"expected a finished family in line {number} of {path}, found something "
                    "else; remove the line to have the family done again"
                )
            yield entry


@cache
def _columns() -> tuple[set[str], set[str]]:
    """The columns of the rows of clips, and of crops."""
    # Imported here: a run that begins has its workers waiting, and no journal yet.
    from manifests.schema import CLIP_LOG, MANIFEST

    return set(CLIP_LOG.names), set(MANIFEST.names)


def _complete(entry: Any) -> bool:
    """Whether a line has the rows that the tables are made of, as far as is quickly seen."""
    clip_columns, crop_columns = _columns()
    try:
        return (
            isinstance(entry["key"], str)
            and all(
                clip.keys() == clip_columns
                and clip["label"] in (*LABELS, None)
                and clip["status"] in STATUSES
                and isinstance(clip["faces"], int)
                for clip in entry["clips"]
            )
            and all(
                crop.keys() == crop_columns and isinstance(crop["path"], str)
                for crop in entry["crops"]
            )
        )
    except (TypeError, KeyError, AttributeError):
        return False


def _cut_torn_line(path: Path) -> None:
    """Shorten the file to its last whole line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        file.truncate(end)
