"""Reads the JSON, CSV and text files of a data set, which are untrusted input."""

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.names import abbreviated
from dfdc_prep.errors import SourceError

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
