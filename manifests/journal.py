"""A journal: a file of JSON lines that a run appends to and a restarted run reads.

If the run is killed while it writes a line, the next run removes the partial line.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from manifests.files import parse_json

#: Seconds between two calls of fsync. A killed process loses nothing even without it; a power
#: failure loses the lines written since the last call.
_SYNC_EVERY = 1.0


class Journal:
    """A journal, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _remove_partial_line(path)
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

    def append(self, entry: Any) -> None:
        """Write one entry, which must be valid JSON."""
        line = json.dumps(entry, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced >= _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Write what was appended to the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number of each complete line, from 1, and its value; None if it is not JSON."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                value = parse_json(line)
            except ValueError:
                value = None
            yield number, value


def _remove_partial_line(path: Path) -> None:
    """Truncate the file after its last complete line."""
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
