"""Reads crop sets made by other tools: lists their images and derives rows from their paths."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from dfdc_prep.crops import MASK_SUFFIX
from dfdc_prep.errors import SourceError
from manifests.labels import parse_label
from manifests.tables.external import BY_EVIDENCE, NotedTable, Reading, normalize_table

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


def read_crop_folders(folder: Path, reading: Reading = BY_EVIDENCE) -> NotedTable:
    """Return one row per image of a folder with the layout `<split>/<real|fake>/.../<name>.jpg`.

    Images outside this layout are left out, and counted in the notes. Clips are read from the
    paths (`manifests.tables.clip_reading`).

    Returns:
        A table with the string columns split, label, path, and those that `normalize_table` adds.

    Raises:
        SourceError: no image has such a path, or as `list_images`.
        TableError: the clips cannot be told.
    """
    paths = list_images(folder)
    rows = [row for path in paths if (row := _parse_path(path))]
    if not rows:
        raise SourceError(
            f"expected crops in folders such as train/real and train/fake under {folder}, found "
            f"none; give a table with the columns split, label, video and original"
        )
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    found = normalize_table(pa.table(columns, ["split", "label", "path"]), str(folder), reading)
    outside = len(paths) - len(rows)
    left_out = (f"{outside:,} images are in no folder such as train/real: left out",)
    return replace(found, notes=(*found.notes, *left_out[: bool(outside)]))


def _parse_path(path: str) -> tuple[str, str, str] | None:
    """Return split, label and path of an image, None if outside the layout."""
    split, label, *rest = (*path.split("/", 2), "")[:3]
    return (split, label, path) if parse_label(label) and rest[0] else None
