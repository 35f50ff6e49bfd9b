"""Reads crop sets made by other tools: lists their images and derives rows from their paths."""

import os
from pathlib import Path

import pyarrow as pa

from dfdc_prep.crops import MASK_SUFFIX
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, parse_label
from manifests.tables import families

SUFFIXES = (".png", ".jpg", ".jpeg")


def list_images(folder: Path) -> list[str]:
    """Return the images below a folder as sorted relative paths with forward slashes.

    Masks are left out.

    Raises:
        SourceError: the folder does not exist, contains no image, or contains an image with a
            name that is not valid UTF-8.
    """
    if not folder.is_dir():
        raise SourceError(f"expected a folder of crops at {folder}, found none; give its path")
    found = [
        Path(base, name).relative_to(folder).as_posix()
        for base, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.lower().endswith(MASK_SUFFIX)
    ]
    if not found:
        raise SourceError(
            f"expected images ({', '.join(SUFFIXES)}) under {folder}, found none; give the "
            f"folder of the crops"
        )
    undecodable = [path for path in found if not path.isascii() and not _is_utf8(path)]
    if undecodable:
        raise SourceError(
            f"expected the images under {folder} to have names in UTF-8, found {undecodable[0]!a}; "
            f"rename it or remove it"
        )
    return sorted(found)


def _is_utf8(path: str) -> bool:
    """Whether a path has no surrogates, which stand for bytes that are not valid UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_crop_folders(folder: Path) -> pa.Table:
    """Return one row per image of a folder with the layout `<split>/<real|fake>/<name>.jpg`.

    The name of a REAL crop is `video_number`, that of a FAKE one `video_original_number`; the
    number is optional. Images outside this layout are ignored.

    Returns:
        A table with the string columns split, label, video, original, path and family.

    Raises:
        SourceError: no image has such a path, or as `list_images`.
    """
    rows = [row for path in list_images(folder) if (row := _parse_path(path))]
    if not rows:
        raise SourceError(
            f"expected crops in folders such as train/real and train/fake under {folder}, found "
            f"none; give a table with the columns split, label, video and original"
        )
    names = ("split", "label", "video", "original", "path")
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    table = pa.table(columns, names=list(names))
    family = families.resolve_families(table["video"], table["label"], table["original"])
    return table.append_column("family", family)


def _parse_path(path: str) -> tuple[str, str, str, str | None, str] | None:
    """Return split, label, video, original and path of an image, None if outside the layout."""
    split, _, rest = path.partition("/")
    folder, _, name = rest.partition("/")
    label = parse_label(folder)
    if label is None or not name:
        return None
    words = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].split("_")
    original = words[1] if label == FAKE and len(words) > 1 else None
    return split, label, words[0], original, path
