"""Reads names, folders and text files of a data set, which are untrusted input.

The functions turn faults into sentences (SourceError). No video is opened.
"""

import errno
import json
import os
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.clips import SPLITS
from dfdc_prep.errors import SourceError
from dfdc_prep.video.source_file import clip_size, frame_names, unreachable_error
from manifests.files import UTF_16, separator
from manifests.folders import path_meant
from manifests.labels import folder_label
from manifests.schemas import with_path
from manifests.wording import abbreviated, columns_found, counted

#: Most bytes of a name in UTF-8, the limit of file systems.
_MAX_NAME = 255
#: Largest file that is read, bytes: some ten million rows.
_MAX_BYTES = 1_000_000_000
#: Extensions of the files that count as clips.
_VIDEO_EXTENSIONS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
#: Names of folders that hold many clips or pictures, in lower case.
_CATEGORIES = frozenset(
    (*SPLITS, "frames", "images", "videos", "clips", "faces", "crops", "data", "dataset")
)
#: Folders that lie beside clips and hold none, in lower case.
_SKIPPED = frozenset(("mask", "masks", "landmark", "landmarks", "audio", "__macosx", "@eadir"))
#: Levels of folders that are searched for clips.
_MAX_DEPTH = 8

#: Folders, from the first one down.
Names = tuple[str, ...]


def is_video(name: str) -> bool:
    """Whether a file name has the extension of a video."""
    return os.path.splitext(name)[1].lower() in _VIDEO_EXTENSIONS


def is_file_name(name: str) -> bool:
    """Whether a name is a plain file name; a clip with another is left out and counts as failed.

    It has no path separator, no drive, no unprintable character, and at most 255 bytes.
    """
    plain = name not in ("", ".", "..") and "/" not in name and "\\" not in name
    drive = len(name) > 1 and name[1] == ":"
    return plain and not drive and _fits(name) and name.isprintable()


def check_file_name(where: Path, name: str) -> None:
    """Raise SourceError unless a name from a file, `where`, is a plain file name."""
    if not is_file_name(name):
        raise SourceError(
            f"expected plain file names in {where}, found {abbreviated(name)}; "
            "rename or remove the entry"
        )


def check_text(where: Path, column: str, text: str) -> None:
    """Raise SourceError unless a value is printable text of at most 255 bytes."""
    if not _fits(text) or not text.isprintable():
        raise SourceError(
            f"expected printable text of at most {_MAX_NAME} bytes as {column} in {where}, found "
            f"{abbreviated(text)}; correct the row"
        )


def _fits(name: str) -> bool:
    try:
        return len(name if name.isascii() else name.encode()) <= _MAX_NAME
    except UnicodeEncodeError:
        return False


def is_path(path: str) -> bool:
    """Whether `split_path` accepts a path."""
    names = _names(path)
    return bool(names) and not path.startswith("/") and all(map(is_file_name, names))


def split_path(where: Path, path: str) -> list[str]:
    """Split a relative path of a data set into its names, each a plain file name.

    Raises:
        SourceError: the path is absolute or leads out of its folder, or a name is invalid.
    """
    names = _names(path)
    if not names or path.startswith("/") or not all(names):
        raise SourceError(
            f"expected relative paths with / between names in {where}, found "
            f"{abbreviated(path)}; correct the entry"
        )
    for name in names:
        check_file_name(where, name)
    return names


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name != "."]


def check_unique(clips: Iterable[tuple[Any, ...]], where: Path) -> None:
    """Raise SourceError if two clips, each a tuple, begin with one part and one video."""
    counts = Counter(clip[:2] for clip in clips).most_common(1)
    for (part, video), count in counts if counts and counts[0][1] > 1 else ():
        raise SourceError(
            f"expected every clip once in {where}, found {part}/{video} {count} times; remove "
            "or rename all but one"
        )


def file_sizes(
    folder: Path, needed: Container[str] | None = None, depth: int = 0
) -> dict[str, int]:
    """The sizes in bytes of the files in a folder, by relative path; links are followed.

    Args:
        needed: names whose size must be known; None for all videos.
        depth: levels of folders below it whose files count too.

    Raises:
        SourceError: a folder cannot be read.
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
    for name in subfolders(folder) if depth else ():
        below = file_sizes(folder / name, needed, depth - 1)
        sizes |= {f"{name}/{path}": size for path, size in below.items()}
    return sizes


def clip_sizes(folder: Path) -> dict[str, int]:
    """The bytes of the clips in a folder, by name: videos, and folders of numbered frames.

    Raises:
        SourceError, SourceUnreachable: as `file_sizes`.
    """
    sizes = {name: size for name, size in file_sizes(folder).items() if is_video(name)}
    for name in searched_folders(folder):
        below = folder / name
        if _is_category(name) or searched_folders(below):
            continue
        frames = frame_names(below)
        numbered = sum(os.path.splitext(frame)[0][-1].isdigit() for frame in frames)
        # A picture of the whole clip may lie among its frames.
        if numbered > len(frames) / 2 and not any(map(is_video, listed_names(below))):
            sizes[name] = clip_size(below)
    return sizes


def clips_below(
    folder: Path, names: Names = (), above: frozenset[str] = frozenset()
) -> Iterator[tuple[Names, dict[str, int]]]:
    """Yield the folders that clips lie in, as names from the first folder down, and the clips.

    Links to folders are followed, but not back to a folder `above`.

    Raises:
        SourceError, SourceUnreachable: as `file_sizes`.
    """
    clips = clip_sizes(folder)
    if clips:
        yield names, clips
    below = [name for name in searched_folders(folder) if name not in clips]
    if "videos" in below:  # the frames beside them are theirs
        below = [name for name in below if name not in ("frames", "images")]
    above |= {os.path.realpath(folder)}
    for name in below if len(names) < _MAX_DEPTH else ():
        if os.path.realpath(folder / name) not in above:
            yield from clips_below(folder / name, (*names, name), above)


def unread_folders(
    folder: Path, read: Collection[Path], *, inside: bool = True, depth: int = _MAX_DEPTH
) -> Iterator[Path]:
    """Yield the folders with videos that were not read; with `inside`, also those in read ones."""
    if folder in read:
        if not inside:
            return
    elif any(map(is_video, listed_names(folder))):
        yield folder
    for name in searched_folders(folder) if depth else ():
        yield from unread_folders(folder / name, read, inside=inside, depth=depth - 1)


def _is_category(name: str) -> bool:
    """Whether a folder's name is a word for many clips or pictures, and so not that of a clip."""
    if name.lower() in _CATEGORIES:
        return True
    return folder_label(name) is not None and not name[-1].isdigit()


def unnamed_videos(sizes: dict[str, int], named: Iterable[str]) -> list[str]:
    """The videos among files that a data set does not name, sorted."""
    return sorted(name for name in sizes.keys() - set(named) if is_video(name))


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted; empty if it is no folder.

    Raises:
        SourceError: the folder cannot be read.
        SourceUnreachable: what a link leads to cannot be reached.
    """
    if not os.path.isdir(folder):
        return []
    with _scanned(folder) as entries:
        return sorted(entry.name for entry in entries if _is_folder(entry))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself is a missing file
            return False
        raise unreachable_error(Path(entry.path), error) from error


def searched_folders(folder: Path) -> list[str]:
    """The folders in a folder, without hidden ones and those that lie beside clips."""
    names = subfolders(folder)
    return [name for name in names if name.lower() not in _SKIPPED and not name.startswith(".")]


def listed_names(folder: Path) -> list[str]:
    """The names of all that is in a folder.

    Raises:
        SourceError: the folder cannot be read.
    """
    with _scanned(folder) as entries:
        return [entry.name for entry in entries]


def _scanned(folder: Path) -> "os._ScandirIterator[str]":
    try:
        return os.scandir(folder)
    except OSError as error:
        raise SourceError(
            f"expected to read the folder {folder}, found {error.strerror}; make it readable"
        ) from error


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
    yield from ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def read_csv(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...], others: bool = False
) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV as {column: value}, values trimmed; absent columns are "".

    Values may be separated by semicolons or tabs. Other names of a column of paths count as path.

    Args:
        required: columns that the header must have, in lower case.
        optional: columns that are read where they are present.
        others: whether all other columns are read too, rather than ignored.

    Raises:
        SourceError: the file cannot be read or is no CSV, lacks a column or has it twice, or a
            row has more or fewer values than the header.
    """
    import csv  # it loads slowly, and the command line needs the names of the layouts at once

    known = (*required, *optional)
    try:
        text = _read_text(path)
        delimiter = separator(text.partition("\n")[0])
        rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [name.strip().lower() for name in next(rows, [])]
        if "path" in known:
            header = with_path(header)
        missing = [name for name in required if name not in header]
        if missing:
            raise SourceError(
                f"expected the columns {', '.join(required)} in the first line of {path}, found no "
                f"{missing[0]}, but {abbreviated(columns_found(header, missing[0]))}; add "
                f"{' and '.join(missing)}"
            )
        if twice := [name for name in known if header.count(name) > 1]:
            raise SourceError(
                f"expected each column once in {path}, found {twice[0]} twice; remove one"
            )
        at = {name: i for i, name in enumerate(header) if others or name in known}
        names = dict.fromkeys([*known, *at])
        for row in rows:
            if row and len(row) != len(header):
                raise SourceError(
                    f"expected {counted(len(header), 'value')} in line {rows.line_num} of {path}, "
                    f"found {len(row)}; correct the line"
                )
            if row:
                yield {name: row[at[name]].strip() if name in at else "" for name in names}
    except (csv.Error, ValueError) as error:
        raise SourceError(
            f"expected a CSV in UTF-8 in {path}, found {error}; correct the file"
        ) from error


def _read_text(path: Path) -> str:
    """Read a file in UTF-8, or in UTF-16 with a byte order mark; raise ValueError for others."""
    try:
        if not path.is_file():
            advice = path_meant(path) or "give its path"
            raise SourceError(f"expected a file at {path}, found none; {advice}")
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise SourceError(
                f"expected at most {_MAX_BYTES:,} bytes in {path}, found {size:,}; divide the file"
            )
        content = path.read_bytes()
        return content.decode("utf-16" if content[:2] in UTF_16 else "utf-8-sig")
    except OSError as error:
        raise SourceError(
            f"expected to read {path}, found {error.strerror}; make the file readable"
        ) from error
