"""Pictures of the rows of a table, from crop files or from shards."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from dfdc_prep.crops.files import path_inside
from dfdc_prep.reports.page import Group, Picture, thumbnail
from dfdc_prep.writing.sharding import iter_shards
from dfdc_prep.writing.tfrecord import parse_example, read_records

#: Largest file read, bytes; a crop of 4096 x 4096 pixels as PNG fits.
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class CropFiles:
    """Images in files."""

    root: str  # real path (`os.path.realpath`) of the folder that paths are relative to
    paths: list[str]  # the manifest's `path` of every row

    def read(self, rows: Iterable[int]) -> dict[int, bytes | None]:
        """Return the encoded image of each row."""
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
    """Images inside the TFRecord files of a shards folder."""

    folder: Path  # the shards folder
    table: pa.Table  # its manifest, in the order of the records

    def read(self, rows: Iterable[int]) -> dict[int, bytes | None]:
        """Return the encoded image of each row; reads each shard up to the last row wanted.

        Raises:
            ShardError: a shard is damaged.
        """
        wanted, found, start = sorted(set(rows)), dict[int, bytes | None](), 0
        for name, part in iter_shards(self.table):
            inside = {row - start for row in wanted if start <= row < start + part.num_rows}
            records = read_records(self.folder / Path(name).name) if inside else iter(())
            for index, record in enumerate(islice(records, max(inside, default=-1) + 1)):
                if index in inside:
                    image = (parse_example(record).get("image") or [None])[0]
                    found[start + index] = image if isinstance(image, bytes) else None
            start += part.num_rows
        return {row: found.get(row) for row in wanted}


@dataclass(frozen=True)
class Gallery:
    """The crops of a manifest, to be shown."""

    table: pa.Table
    images: CropFiles | ShardRecords

    def pictures(self, rows: Iterable[int], notes: Sequence[str] = ()) -> list[Picture]:
        """The crops of some rows, captioned by label, clip and an optional note each."""
        wanted = [int(row) for row in rows]
        data = self.images.read(wanted)
        captions = self.table.select(["video", "label"]).take(pa.array(wanted, pa.int64()))
        return [
            Picture(
                thumbnail(data[row]),
                f"{caption['label']} crop of {caption['video']}",
                (f"{caption['label']} {note}".rstrip(), caption["video"]),
            )
            for row, caption, note in zip(
                wanted, captions.to_pylist(), [*notes] or [""] * len(wanted), strict=True
            )
        ]

    def pairs(self, pairs: Sequence[tuple[int, int]], lines: Iterable[str]) -> list[Group]:
        """Pairs of rows side by side, with a line about each."""
        pictures = iter(self.pictures([row for pair in pairs for row in pair]))
        return [Group([next(pictures), next(pictures)], line) for line in lines]
