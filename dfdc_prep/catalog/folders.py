"""Lists the files of a data set with their sizes. Does not open any video."""

import errno
import os
from collections.abc import Container
from pathlib import Path

from dfdc_prep.errors import SourceError
from dfdc_prep.video.source_file import unreachable_error

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
