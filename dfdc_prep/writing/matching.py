"""Matches the rows of a crop set's table to its images. Does no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import SourceError

#: Unsafe paths and names: parent folders, absolute paths, backslashes, NUL characters.
_UNSAFE_PATH = r"(^|/)\.\.(/|$)|^/|\\|\x00"
_UNSAFE_NAME = r"/|\\|\x00|^\.{0,2}$"


@dataclass
class Matches:
    """The rows and images that match, and those that do not.

    Attributes:
        pairs: row number and image of every match, in the order of the rows.
        missing: row number and path of each row whose `path` names no image.
        without_image: row numbers of the rows without `path` whose name matches no image.
        duplicates: row number and image of each row whose image matches an earlier row.
        unnamed: images that no row names.
    """

    pairs: list[tuple[int, str]] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    without_image: list[int] = field(default_factory=list)
    duplicates: list[tuple[int, str]] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


def match_images(table: pa.Table, images: list[str], prefix: str) -> Matches:
    """Find the image of every row: by its `path`, or by the stem of its `video` if that is null.

    Of several images with this stem, the one in a folder called like the row's `part` is taken,
    else the first.

    Args:
        images: sorted paths of all images, relative to the folder of crops.
        prefix: path of the folder of crops relative to the table's folder; the paths in the
            table may start with it.

    Raises:
        SourceError: a name or path leads out of its folder.
    """
    _check_names(table)
    existing, stems = set(images), _by_stem(images)
    paths = table["path"].to_pylist() if "path" in table.column_names else [None] * len(table)
    # `video` may have been read from another column; `videoname` still names the image.
    names = table["videoname" if "videoname" in table.column_names else "video"].to_pylist()
    parts = table["part"].to_pylist() if "part" in table.column_names else [None] * len(table)
    matches, taken = Matches(), set()
    for row, (path, video, part) in enumerate(zip(paths, names, parts, strict=True)):
        image = _of_part(stems.get(PurePosixPath(video).stem, []), part) if path is None else path
        if path is not None and path not in existing:
            image = path.removeprefix(f"{prefix}/")
        if image is None:
            matches.without_image.append(row)
        elif image not in existing:
            matches.missing.append((row, image))
        elif image in taken:
            matches.duplicates.append((row, image))
        else:
            taken.add(image)
            matches.pairs.append((row, image))
    matches.unnamed = [image for image in images if image not in taken]
    return matches


def _by_stem(images: Iterable[str]) -> dict[str, list[str]]:
    """The images with each stem."""
    stems: dict[str, list[str]] = {}
    for image in images:
        stems.setdefault(PurePosixPath(image).stem, []).append(image)
    return stems


def _of_part(images: list[str], part: str | None) -> str | None:
    """The first image in a folder called like the part; without one, the first."""
    inside = [image for image in images if part in PurePosixPath(image).parent.parts]
    return next(iter(inside or images), None)


def _check_names(table: pa.Table) -> None:
    """Raise SourceError if a name or path of the table leads out of its folder."""
    patterns = {
        "video": _UNSAFE_NAME,
        "original": _UNSAFE_NAME,
        "family": _UNSAFE_NAME,
        "part": _UNSAFE_NAME,
        "path": _UNSAFE_PATH,
    }
    for name, pattern in patterns.items():
        if name not in table.column_names:
            continue
        unsafe = table[name].filter(pc.match_substring_regex(table[name], pattern))
        if len(unsafe):
            raise SourceError(
                f"expected names that stay inside their folder in the column {name}, found "
                f"{unsafe[0].as_py()!r}; fix or remove that row"
            )
