"""Which image belongs to which row of a crop set's table. Pure: it touches no disk."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import SourceError

#: What no name and no path may hold: a climb, a NUL, a backslash, an absolute start.
_HOSTILE_PATH = r"(^|/)\.\.(/|$)|^/|\\|\x00"
_HOSTILE_NAME = r"/|\\|\x00|^\.{0,2}$"


@dataclass
class Matches:
    """What became of the rows and the images.

    Attributes:
        pairs: row number and image of every row that has one, in the order of the rows.
        missing: row number and path of the rows whose path names no image.
        imageless: row numbers of the rows for whose name there is no image.
        repeated: row number and image of the rows whose image an earlier row has taken.
        unnamed: images that no row names.
    """

    pairs: list[tuple[int, str]] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)
    imageless: list[int] = field(default_factory=list)
    repeated: list[tuple[int, str]] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


def match(table: pa.Table, images: list[str], prefix: str) -> Matches:
    """Find every row's image: by its `path`, or where it has none by the stem of its `video`.

    Args:
        images: the images there are, sorted paths relative to the folder of crops.
        prefix: the folder of crops as seen from the table's folder; paths may start with it.

    Raises:
        SourceError: a name or path leads out of the folder.
    """
    _refuse_hostile(table)
    there, stems = set(images), _by_stem(images)
    paths = table["path"].to_pylist() if "path" in table.column_names else [None] * len(table)
    found, taken = Matches(), set()
    for row, (path, video) in enumerate(zip(paths, table["video"].to_pylist(), strict=True)):
        image = stems.get(PurePosixPath(video).stem) if path is None else path
        if path is not None and path not in there:
            image = path.removeprefix(f"{prefix}/")
        if image is None:
            found.imageless.append(row)
        elif image not in there:
            found.missing.append((row, image))
        elif image in taken:
            found.repeated.append((row, image))
        else:
            taken.add(image)
            found.pairs.append((row, image))
    found.unnamed = [image for image in images if image not in taken]
    return found


def _by_stem(images: Iterable[str]) -> dict[str, str]:
    """The first image of every stem."""
    stems: dict[str, str] = {}
    for image in images:
        stems.setdefault(PurePosixPath(image).stem, image)
    return stems


def _refuse_hostile(table: pa.Table) -> None:
    patterns = {
        "video": _HOSTILE_NAME,
        "original": _HOSTILE_NAME,
        "family": _HOSTILE_NAME,
        "part": _HOSTILE_NAME,
        "path": _HOSTILE_PATH,
    }
    for name, pattern in patterns.items():
        if name not in table.column_names:
            continue
        hostile = table[name].filter(pc.match_substring_regex(table[name], pattern))
        if len(hostile):
            raise SourceError(
                f"expected names that stay inside their folder in the column {name}, found "
                f"{hostile[0].as_py()!r}; mend or drop that row"
            )
