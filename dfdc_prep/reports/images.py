"""Reads the encoded images of a table's rows, from crop files or from shards."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from dfdc_prep.crops.files import path_inside
from dfdc_prep.writing.layout import iter_shards
from dfdc_prep.writing.tfrecord import parse_example, read_records

#: Largest file read, bytes; a crop of 4096 x 4096 pixels as PNG fits.
MAX_BYTES = 64 << 20


class Images(Protocol):
    """The images of a table, by the number of the row."""

    def read(self, rows: Iterable[int]) -> dict[int, bytes | None]:
        """Return the encoded image of each row; None if it is missing."""
        ...


@dataclass(frozen=True)
class CropFiles:
    """Images in files.

    Attributes:
        root: real path (`os.path.realpath`) of the folder that paths are relative to.
        paths: the manifest's `path` of every row.
    """

    root: str
    paths: list[str]

    def read(self, rows: Iterable[int]) -> dict[int, bytes | None]:
        return {row: self.read_one(row) for row in rows}

    def read_one(self, row: int) -> bytes | None:
        """Return the file of a row; None if it is missing, too large or outside the folder."""
        file = path_inside(self.root, self.paths[row])
        if file is None:
            return None
        try:
            found = os.stat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
                return None
            return Path(file).read_bytes()
        except OSError:
            return None


@dataclass(frozen=True)
class ShardRecords:
    """Images inside the TFRecord files of a shards folder.

    Attributes:
        folder: the shards folder.
        table: its manifest, in the order of the records.
    """

    folder: Path
    table: pa.Table

    def read(self, rows: Iterable[int]) -> dict[int, bytes | None]:
        """Return the image of each row; reads each shard up to the last row wanted.

        Raises:
            ShardError: a shard is damaged.
        """
        wanted, found, start = sorted(set(rows)), dict[int, bytes | None](), 0
        for name, part in iter_shards(self.table):
            inside = {row - start for row in wanted if start <= row < start + part.num_rows}
            if inside:
                records = read_records(self.folder / Path(name).name)
                for index, record in enumerate(islice(records, max(inside) + 1)):
                    if index in inside:
                        found[start + index] = _image_of(record)
            start += part.num_rows
        return {row: found.get(row) for row in wanted}


def _image_of(record: bytes) -> bytes | None:
    image = (parse_example(record).get("image") or [None])[0]
    return image if isinstance(image, bytes) else None
