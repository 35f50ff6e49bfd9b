"""Files: written atomically, hashed, linked; JSON parsed safely; journals appended to.

A file or folder is written under a temporary name, then renamed. A journal is a file of JSON lines
that a run appends to and a restarted run reads: if the run is killed while it writes a line, the
next run removes the partial line.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from manifests.errors import OutputError
from manifests.locks import HALF, OLD, PARTIAL, HeldLock, folder_lock, lock


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` if the block succeeds.

    The temporary path is in the same folder and has the same suffix. If the block raises, the
    temporary file is removed and `path` is unchanged. A lock keeps concurrent runs from writing
    the same file; it names the temporary file, so that the next run removes it after a kill.

    Raises:
        OutputError: another run is writing the same file; the message names its process.
        OSError: the folder cannot be written.
    """
    with lock(path.with_name(f".{path.name}.lock"), path) as held:
        temporary = held.new_name(HALF)
        try:
            yield temporary
            sync_file(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to write to; rename it to `target` if the block succeeds.

    The temporary folder is beside the target, so that renaming is atomic. If the block raises,
    the temporary folder is removed and `target` is unchanged. A lock keeps concurrent runs from
    writing the same folder, and names its temporary folders, as that of `atomic_file` does.

    Raises:
        OutputError: another run is writing the same folder, or the folder cannot be written.
    """
    target = Path(os.path.realpath(target))
    try:
        with folder_lock(target) as held:
            temporary = held.new_name(PARTIAL)
            temporary.mkdir()
            try:
                yield temporary
                sync_file(temporary)
                _replace_folder(temporary, held)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    except OSError as error:
        raise OutputError(
            f"expected to write {target}, found {error.strerror or error}; "
            "choose another folder or make room in this one"
        ) from error


def _replace_folder(temporary: Path, held: HeldLock) -> None:
    """Rename the folder to its target; remove the previous target only after the rename."""
    target, old = held.guarded, None
    if target.exists():
        old = held.new_name(OLD)
        os.rename(target, old)
    os.rename(temporary, target)
    sync_file(target.parent)
    if old:
        shutil.rmtree(old)


def sync_file(path: Path) -> None:
    """Have the disk store the content of a file, or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not valid JSON, or is nested too deeply to parse.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nesting too deep") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, ensure_ascii: bool = True) -> None:
    """Write a JSON file, atomically; keys keep their order, so equal values give equal bytes.

    Args:
        ensure_ascii: escape characters outside ASCII.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON does not allow.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=ensure_ascii)
    write_text(path, text + "\n")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(file: Path | str, target: Path) -> None:
    """Link `target` to a file; copy it if it is on another file system, or one without links.

    Raises:
        OSError: the file cannot be copied either.
    """
    try:
        os.link(os.path.realpath(file), target)
    except OSError:
        shutil.copyfile(file, target)


#: Seconds between two calls of fsync. A killed process loses nothing even without it; a power
#: failure loses the lines written since the last call.
_SYNC_EVERY = 1.0


class Journal(AbstractContextManager["Journal"]):
    """A journal, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            _remove_partial_line(path)
        self._file = path.open("ab")
        self._synced = time.monotonic()

    def __exit__(self, *_: object) -> None:
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
    with path.open("rb+") as file:
        start = end = file.seek(0, os.SEEK_END)
        newline = -1
        while start and newline < 0:
            start, end = max(0, start - 65536), start
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
        file.truncate(start + newline + 1)
