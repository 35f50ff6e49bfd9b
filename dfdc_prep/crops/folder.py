"""A crop set somebody else made: the images in a folder, and what their places and names say."""

import os
from pathlib import Path

import pyarrow as pa

from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, parse_label
from manifests.tables import families

SUFFIXES = (".png", ".jpg", ".jpeg")


def images(folder: Path) -> list[str]:
    """The images under a folder, as sorted paths relative to it, with forward slashes.

    Raises:
        SourceError: there is no such folder, no image in it, or a name that is no text.
    """
    if not folder.is_dir():
        raise SourceError(f"expected a folder of crops at {folder}, found none; give its path")
    found = [
        Path(base, name).relative_to(folder).as_posix()
        for base, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    if not found:
        raise SourceError(
            f"expected images ({', '.join(SUFFIXES)}) under {folder}, found none; give the "
            f"folder of the crops"
        )
    odd = [path for path in found if not path.isascii() and not _encodes(path)]
    if odd:
        raise SourceError(
            f"expected the images under {folder} to have names in UTF-8, found {odd[0]!a}; "
            f"rename it or take it out"
        )
    return sorted(found)


def _encodes(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_folders(folder: Path) -> pa.Table:
    """The table that a folder `<split>/<real|fake>/<name>.jpg` stands for.

    A REAL crop is called `video_number`, a FAKE one `video_original_number`; the number may
    be missing. The rows have split, label, video, original, family and path.

    Raises:
        SourceError: no image lies in such a folder.
    """
    rows = [row for path in images(folder) if (row := _row(path))]
    if not rows:
        raise SourceError(
            f"expected crops in folders like train/real and train/fake under {folder}, found "
            f"none; give a table with the columns split, label, video and original"
        )
    names = ("split", "label", "video", "original", "path")
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    table = pa.table(columns, names=list(names))
    family = families.resolve_families(table["video"], table["label"], table["original"])
    return table.append_column("family", family)


def _row(path: str) -> tuple[str, str, str, str | None, str] | None:
    """Split, label, video, original and path of one image, or None outside the layout."""
    split, _, rest = path.partition("/")
    folder, _, name = rest.partition("/")
    label = parse_label(folder)
    if label is None or not name:
        return None
    words = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].split("_")
    original = words[1] if label == FAKE and len(words) > 1 else None
    return split, label, words[0], original, path
