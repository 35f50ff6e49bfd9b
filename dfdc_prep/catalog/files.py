"""Checks of names that come from a data set's files, which are untrusted input."""

import csv
import errno
import json
import os
from collections.abc import Container, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from dfdc_prep.errors import SourceError
from dfdc_prep.video.source_file import unreachable_error

#: Most bytes of a name in UTF-8, the limit of file systems.
_MAX_NAME = 255


def check_file_name(where: Path, name: str) -> None:
    """Reject names that are not plain file names.

    Args:
        where: the file that contains the name, for messages.

    Raises:
        SourceError: the name contains a path separator, a drive, or unprintable characters,
            or is longer than 255 bytes in UTF-8.
    """
    if not is_file_name(name):
        raise SourceError(
            f"expected plain file names in {where}, found {abbreviated(name)}; "
            "rename or remove the entry"
        )


def is_file_name(name: str) -> bool:
    """Whether a name is a plain file name; a clip with another is left out and counts as failed."""
    plain = name not in ("", ".", "..") and "/" not in name and "\\" not in name
    drive = len(name) > 1 and name[1] == ":"
    return plain and not drive and _fits(name) and name.isprintable()


def is_path(path: str) -> bool:
    """Whether `split_path` accepts a path."""
    names = [name for name in path.split("/") if name != "."]
    return bool(names) and not path.startswith("/") and all(map(is_file_name, names))


def check_text(where: Path, column: str, text: str) -> None:
    """Reject values that are no short printable text.

    Raises:
        SourceError: the value contains unprintable characters, or is longer than 255 bytes.
    """
    if not _fits(text) or not text.isprintable():
        raise SourceError(
            f"expected printable text of at most {_MAX_NAME} bytes as {column} in {where}, found "
            f"{abbreviated(text)}; correct the row"
        )


def split_path(where: Path, path: str) -> list[str]:
    """Split a relative path of a data set into its names, each a plain file name.

    Raises:
        SourceError: the path is absolute or leads out of its folder, or a name is invalid.
    """
    names = [name for name in path.split("/") if name != "."]
    if not names or path.startswith("/") or any(not name for name in names):
        raise SourceError(
            f"expected relative paths with / between names in {where}, found "
            f"{abbreviated(path)}; correct the entry"
        )
    for name in names:
        check_file_name(where, name)
    return names


def abbreviated(value: Any) -> str:
    """Format a value for a message: ASCII, on one line, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def shortened(names: list[str], most: int = 5) -> str:
    """List the first names, and say how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    shown = (name if name.isprintable() else abbreviated(name) for name in names[:most])
    return ", ".join(shown) + more


def _fits(name: str) -> bool:
    if name.isascii():
        return len(name) <= _MAX_NAME
    try:
        return len(name.encode()) <= _MAX_NAME
    except UnicodeEncodeError:
        return False


#: Extensions of the files that count as clips.
_VIDEO_EXTENSIONS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})


def is_video(name: str) -> bool:
    """Whether a file name has the extension of a video."""
    return os.path.splitext(name)[1].lower() in _VIDEO_EXTENSIONS


def stem(video: str) -> str:
    """The file name without its extension."""
    return os.path.splitext(video)[0]


def file_sizes(folder: Path, needed: Container[str] | None = None) -> dict[str, int]:
    """The sizes in bytes of the files in a folder, by name; symbolic links are followed.

    Args:
        needed: names whose size must be known; None for all videos.

    Raises:
        SourceError: the folder cannot be read.
        SourceUnreachable: the size of a needed file cannot be read.
    """
    sizes: dict[str, int] = {}
    with _scanned(folder) as files:
        for file in files:
            try:
                if file.is_file():
                    sizes[file.name] = file.stat().st_size
            except OSError as error:
                # Treat a symbolic link to itself like a dangling one: as a missing file.
                is_needed = is_video(file.name) if needed is None else file.name in needed
                if is_needed and error.errno != errno.ELOOP:
                    raise unreachable_error(Path(file.path), error) from error
    return sizes


def sizes_below(folder: Path, depth: int, prefix: str = "") -> dict[str, int]:
    """The sizes of the files at most `depth` levels below a folder, by relative path.

    Raises:
        SourceError, SourceUnreachable: as `file_sizes`.
    """
    sizes = {prefix + name: size for name, size in file_sizes(folder).items()}
    for name in subfolders(folder) if depth else ():
        sizes |= sizes_below(folder / name, depth - 1, f"{prefix}{name}/")
    return sizes


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted; empty if it is no folder.

    Raises:
        SourceError: the folder cannot be read.
    """
    if not os.path.isdir(folder):
        return []
    with _scanned(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _scanned(folder: Path) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except OSError as error:
        raise SourceError(
            f"expected to read the folder {folder}, found {error.strerror}; make it readable"
        ) from error


#: Largest file that is read, bytes: some ten million rows.
_MAX_BYTES = 1_000_000_000


def load_json(path: Path, again: str) -> Any:
    """Return the parsed JSON of a file; its values are not validated.

    Args:
        again: what to do if it is no JSON, for messages.

    Raises:
        SourceError: the file cannot be read, or is not JSON with unique keys.
    """

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        loaded = dict(pairs)
        if len(loaded) < len(pairs):
            raise SourceError(
                f"expected every name once in {path}, found one twice; remove one of the entries"
            )
        return loaded

    try:
        return json.loads(_read_text(path), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nesting that is too deep"
        raise SourceError(f"expected JSON in {path}, found {reason}; {again}") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers from 1.

    Raises:
        SourceError: the file cannot be read or is not text in UTF-8.
    """
    try:
        lines = _read_text(path).split("\n")
    except ValueError as error:
        raise SourceError(
            f"expected text in UTF-8 in {path}, found {error}; save the file as UTF-8"
        ) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, line.strip()


def read_csv(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...], others: bool = False
) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV as {column: value}, values trimmed; absent columns are "".

    Args:
        required: columns that the header must have, in lower case.
        optional: columns that are read where they are present.
        others: whether all other columns are read too, rather than ignored.

    Raises:
        SourceError: the file cannot be read or is no CSV, lacks a column or has it twice, or a
            row has more or fewer values than the header.
    """
    known = (*required, *optional)
    try:
        rows = csv.reader(StringIO(_read_text(path), newline=""), strict=True)
        header = [name.strip().lower() for name in next(rows, [])]
        at = _column_positions(path, header, required, known)
        if others:
            at = {name: index for index, name in enumerate(header)} | at
        names = dict.fromkeys([*known, *at])
        for row in rows:
            if len(row) != len(header):
                if not row:
                    continue
                raise SourceError(
                    f"expected {len(header)} values in line {rows.line_num} of {path}, found "
                    f"{len(row)}; correct the line"
                )
            yield {name: row[at[name]].strip() if name in at else "" for name in names}
    except (csv.Error, ValueError) as error:
        raise SourceError(
            f"expected a CSV in UTF-8 in {path}, found {error}; correct the file"
        ) from error


def _column_positions(
    path: Path, header: list[str], required: tuple[str, ...], known: tuple[str, ...]
) -> dict[str, int]:
    missing = [name for name in required if name not in header]
    if missing:
        raise SourceError(
            f"expected the columns {', '.join(required)} in the first line of {path}, found "
            f"{abbreviated(', '.join(header))}; add {' and '.join(missing)}"
        )
    twice = [name for name in known if header.count(name) > 1]
    if twice:
        raise SourceError(
            f"expected each column once in {path}, found {twice[0]} twice; remove one"
        )
    return {name: header.index(name) for name in known if name in header}


def _read_text(path: Path) -> str:
    """Read a UTF-8 file with or without a byte order mark.

    Raises:
        SourceError: the file is missing, too large or cannot be read.
        ValueError: it is not UTF-8.
    """
    try:
        if not path.is_file():
            raise SourceError(f"expected a file at {path}, found none; give its path")
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise SourceError(
                f"expected at most {_MAX_BYTES:,} bytes in {path}, found {size:,}; divide the file"
            )
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise
    except OSError as error:
        raise SourceError(
            f"expected to read {path}, found {error.strerror}; make the file readable"
        ) from error
