"""Reads the images of a table in threads: their checksums, and thumbnails to compare them by."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from dfdc_prep.parallel.threads import available_cores
from manifests.pictures.near_identical import rows_to_compare
from manifests.pictures.thumbnails import SIDE, Pictures, Thumbnails, thumbnail
from manifests.tables.codes import Mask

#: Images held in memory at a time, and handed to a thread at a time.
_BLOCK, _PART = 1024, 32


@dataclass(frozen=True)
class ImagesRead:
    """What was read of the images of a table.

    Attributes:
        hashes: the SHA-256 of the image of each row; None where there is none.
        pictures: the thumbnails of the rows that were wanted and could be decoded.
    """

    hashes: list[str | None]
    pictures: Pictures


def read_image(file: str) -> bytes | None:
    """Return the bytes of an image file; None if there is no such file."""
    return Path(file).read_bytes() if os.path.isfile(file) else None


def read_pictures(table: pa.Table, locate: Callable[[str], str | None]) -> Pictures:
    """Read the thumbnails of the images that the column `path` of a table names, if it has one.

    Args:
        locate: returns the file of a path; None if there can be none.
    """
    wanted = rows_to_compare(table)
    if "path" not in table.column_names:
        wanted[:] = False
        return read_images(iter([None] * len(wanted)), wanted).pictures
    paths = zip(table["path"].to_pylist(), wanted.tolist(), strict=True)
    files = (locate(path) if path and want else None for path, want in paths)
    return read_images((read_image(file) if file else None for file in files), wanted).pictures


def read_images(images: Iterator[bytes | None], wanted: Mask) -> ImagesRead:
    """Read the images of a table, one per row, a block at a time.

    Args:
        images: the encoded image of each row; None where there is none.
        wanted: bool [rows], the rows whose thumbnails are wanted.
    """
    hashes: list[str | None] = []
    found: list[tuple[int, Thumbnails]] = []
    bar = tqdm(total=len(wanted), desc="images", unit=" images", disable=None)
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(wanted), _BLOCK):
            block = list(islice(images, min(_BLOCK, len(wanted) - start)))
            kept = wanted[start : start + _BLOCK].tolist()
            parts = (slice(at, at + _PART) for at in range(0, len(block), _PART))
            tasks = [(block[part], kept[part]) for part in parts]
            read = [each for part in pool.map(_read_part, tasks) for each in part]
            hashes += [digest for digest, _ in read]
            found += [
                (start + at, small) for at, (_, small) in enumerate(read) if small is not None
            ]
            bar.update(len(block))
    rows = np.array([row for row, _ in found], np.int64)
    thumbnails = np.zeros((len(rows), SIDE, SIDE), np.uint8)
    for at, (_, small) in enumerate(found):
        thumbnails[at] = small
    return ImagesRead(hashes, Pictures(rows, thumbnails))


def _read_part(
    part: tuple[list[bytes | None], list[bool]],
) -> list[tuple[str | None, Thumbnails | None]]:
    return [
        (None, None)
        if image is None
        else (hashlib.sha256(image).hexdigest(), thumbnail(image) if wanted else None)
        for image, wanted in zip(*part, strict=True)
    ]
