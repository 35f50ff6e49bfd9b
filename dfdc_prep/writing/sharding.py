"""Formats that store the crops in shards: which crop in which shard, in what order."""

import hashlib
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfdc_prep.crops.files import CropReader
from dfdc_prep.parallel.threads import RecordBar, ThreadPool
from dfdc_prep.writing.card import Card, unsaid
from dfdc_prep.writing.sources import SplitCrops
from dfdc_prep.writing.writer import Format, Written
from manifests.arrow import SHARD_MANIFEST_SCHEMA
from manifests.files import file_sha256, sync_file
from manifests.folders import ShardsFolder

#: Columns of the manifest that exports store with each crop, where the manifest has them.
_STORED = (
    *("video", "part", "original", "family", "dataset", "method", "identity", "face_identity"),
    *("official_split", "frame", "time_s", "face", "forged", "path", "sha256"),
)
#: Columns needed to read a crop, and to say what it is.
_NEEDED = ("label", "split", "path", "sha256", "mask", "mask_sha256")
MEGABYTE = 1_000_000
#: Smallest and largest size of a shard, bytes; train shards that make shuffling by file effective.
MIN_SIZE, MAX_SIZE, ENOUGH_SHARDS = 20 * MEGABYTE, 200 * MEGABYTE, 16


class Shard(NamedTuple):
    """One shard of a sharded manifest."""

    name: str  #: of its file
    split: str
    first: int  #: position of its first record among those of the split
    rows: pa.Table  #: its records


class Record(NamedTuple):
    """One crop to store."""

    key: str  #: its split and its position there: train-00000012
    row: dict[str, Any]  #: its row in the manifest; no NaN
    image: bytes  #: PNG or JPEG
    mask: bytes | None  #: a grey PNG; None without

    @property
    def suffix(self) -> str:
        """The suffix of the image's format: png or jpg."""
        return "jpg" if self.image.startswith(b"\xff\xd8") else "png"


@dataclass(frozen=True)
class ShardFormat(Format):
    """A format that stores the crops in shards."""

    # number of train shards, the other splits get shards in proportion; None to choose at least
    # 16 shards of 20 to 200 MB if there is enough data
    shards: int | None = None
    # `as-is` copies the crops; `jpeg` encodes those that are not JPEG files
    image_format: str = "as-is"
    quality: int = 95  # JPEG quality, 1 to 100
    card: Card = field(default_factory=dict)  # what `read_card` found

    schema: ClassVar[pa.Schema] = SHARD_MANIFEST_SCHEMA
    overhead: ClassVar[int]  # approximate bytes of a record in addition to its image and mask
    crop_size: ClassVar[int | None] = None  # required side of a crop, pixels; None for any
    described_in: ClassVar[str | None] = None  # the file with the fields of the card; None without

    @staticmethod
    @abstractmethod
    def file_name(split: str, index: int, count: int) -> str:
        """The file name of a shard; `index` counts from 0."""

    def columns(self, manifest: pa.Table) -> Sequence[str]:
        """The columns of the manifest that are stored with each crop."""
        return [name for name in _STORED if name in manifest.column_names]

    @abstractmethod
    def write_shard(self, path: Path, records: Iterator[Record], manifest: pa.Table) -> None:
        """Write the records of one shard; `manifest` has the rows of all."""

    def options(self) -> dict[str, Any]:
        options = {
            "shards": self.shards or "auto",
            "image_format": self.image_format,
            "quality": self.quality if self.image_format == "jpeg" else None,
        }
        return options | ({"card": self.card} if self.card else {})

    def write(self, crops: SplitCrops, folder: Path, workers: int | None) -> Written:
        """Write every shard, one per thread at a time."""
        reader = CropReader(crops.folders, self.image_format, self.quality, self.crop_size)
        sizes = reader.sizes(crops.table) + reader.mask_sizes(crops.table) + self.overhead
        layout = (crops.splits.names, crops.splits.order, sizes, crops.seed)
        manifest = assign_shards(crops.table, *layout, self.shards, self.file_name)
        return self.write_assigned(manifest, reader, folder, workers)

    def write_assigned(
        self, manifest: pa.Table, reader: CropReader, folder: Path, workers: int | None = None
    ) -> Written:
        """Write the shards that a manifest names, in the order of its rows; see `write`.

        Raises:
            ShardError: a crop or a mask is missing, or another than the manifest says.
        """
        columns = dict.fromkeys([*self.columns(manifest), *_NEEDED])
        with RecordBar(self.bar, manifest.num_rows) as bar, ThreadPool(workers) as pool:

            def records(shard: Shard) -> Iterator[Record]:
                rows = shard.rows.select(list(columns)).to_pylist()
                for number, row in enumerate(rows, shard.first):
                    pool.check_cancelled()
                    image = reader.image(row["path"], row["sha256"])
                    mask = None
                    if row["mask"]:
                        mask = reader.mask(row["mask"], row["mask_sha256"] or "")
                    for name, value in row.items():
                        if isinstance(value, float) and not math.isfinite(value):
                            row[name] = None  # JSON cannot hold it
                    yield Record(f"{shard.split}-{number:08d}", row, image, mask)
                    bar.add(len(image))

            def write(_: ThreadPool, shard: Shard) -> tuple[str, str]:
                file = folder / shard.name
                self.write_shard(file, records(shard), manifest)
                sync_file(file)
                return shard.name, file_sha256(file)

            hashes = dict(pool.map(write, iter_shards(manifest)))
        note = unsaid(self.card, self.described_in) if self.described_in else ""
        return Written(manifest, hashes, (note,) if note else ())


def shard_count(size: int) -> int:
    """Number of shards for a split of `size` bytes: 16 of 20 to 200 MB each if possible."""
    return max(1, min(ENOUGH_SHARDS, size // MIN_SIZE), math.ceil(size / MAX_SIZE))


def assign_shards(
    table: pa.Table,
    splits: pa.Array,
    order: tuple[str, ...],
    sizes: npt.NDArray[np.int64],
    seed: int,
    train_shards: int | None = None,
    file_name: Callable[[str, int, int], str] = ShardsFolder.shard,
) -> pa.Table:
    """Add the columns `split` and `shard`, and sort the rows into the order of the records.

    Args:
        table: a manifest; `path` identifies a row.
        splits: name of the split of every row, string [rows].
        order: names of the splits; the first determines the bytes per shard of all.
        sizes: bytes of every row's record, int64 [rows].
        train_shards: number of shards of the first split; None to choose it by size.
    """
    names = np.asarray(splits.to_pylist(), dtype=object)
    paths = table["path"].to_pylist()
    # Sorting by hash keeps the order stable across versions of random number generators.
    keys = [hashlib.sha256(f"{seed}:{path}".encode()).digest() for path in paths]
    shuffled = np.array(sorted(range(len(paths)), key=lambda row: (keys[row], row)), np.int64)
    taken = []
    shard_column: list[str] = []
    shards_per_byte = 0.0
    for split in order:
        rows = shuffled[names[shuffled] == split]
        if not len(rows):
            continue
        size = int(sizes[rows].sum())
        if not shards_per_byte:
            shards_per_byte = (train_shards or shard_count(size)) / size
        taken.append(rows)
        shards = _cut_evenly(sizes[rows], max(1, round(shards_per_byte * size)))
        for index, length in enumerate(shards):
            shard_column += [file_name(split, index, len(shards))] * length
    rows = pa.array(np.concatenate(taken))
    columns = {"split": splits.take(rows), "shard": pa.array(shard_column, pa.string())}
    kept = [name for name in table.column_names if name not in columns]
    sharded = table.select(kept).take(rows)
    for name, column in columns.items():
        sharded = sharded.append_column(SHARD_MANIFEST_SCHEMA.field(name), column)
    return sharded


def _cut_evenly(sizes: npt.NDArray[np.int64], count: int) -> list[int]:
    """Numbers of records that give shards of about equal bytes, none of them empty."""
    count = min(count, len(sizes))
    ends = np.cumsum(sizes)
    cuts = [0]
    for index in range(count):
        wanted = ends[-1] * (index + 1) / count
        nearest = int(np.abs(ends - wanted).argmin()) + 1
        # Leave at least one record for this shard and for each of the following ones.
        cuts.append(min(max(nearest, cuts[-1] + 1), len(sizes) - (count - 1 - index)))
    return np.diff(cuts).tolist()


def iter_shards(sharded: pa.Table) -> Iterator[Shard]:
    """Yield each shard of a sharded manifest in order."""
    start, before = 0, Counter[str]()
    for name, repeated in groupby(sharded["shard"].to_pylist()):
        rows = sharded.slice(start, sum(1 for _ in repeated))
        split = rows["split"][0].as_py()
        yield Shard(name, split, before[split], rows)
        start += rows.num_rows
        before[split] += rows.num_rows
