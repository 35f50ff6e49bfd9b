"""Checks of names that come from a data set's files, which are untrusted input."""

from pathlib import Path
from typing import Any

from dfdc_prep.errors import SourceError

#: Most bytes of a name in UTF-8, the limit of file systems.
_MAX_BYTES = 255


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
            f"expected printable text of at most {_MAX_BYTES} bytes as {column} in {where}, found "
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
        return len(name) <= _MAX_BYTES
    try:
        return len(name.encode()) <= _MAX_BYTES
    except UnicodeEncodeError:
        return False
