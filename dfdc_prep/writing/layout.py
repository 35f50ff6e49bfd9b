"""Assigns every crop to a shard and orders the records. Does no I/O."""

import hashlib
import math
from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.folders import ShardsFolder
from manifests.schema import SHARD_MANIFEST_SCHEMA

MEGABYTE = 1_000_000
#: Smallest and largest size of a shard, bytes.
MIN_SIZE, MAX_SIZE = 20 * MEGABYTE, 200 * MEGABYTE
#: Number of train shards that makes shuffling by file effective.
ENOUGH_SHARDS = 16


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
        order: names of the splits in output order. The size of the first one determines the
            bytes per shard of all splits.
        sizes: bytes of every row's record, int64 [rows].
        seed: seed of the shuffle within a split.
        train_shards: number of shards of the first split; None to choose it by size.
        file_name: the name of a shard file, of its split, its index and the number of shards.
    """
    names = np.asarray(splits.to_pylist(), dtype=object)
    shuffled = _shuffled_rows(table["path"].to_pylist(), seed)
    taken = []
    split_column: list[str] = []
    shard_column: list[str] = []
    shards_per_byte = 0.0
    for split in order:
        rows = shuffled[names[shuffled] == split]
        if not len(rows):
            continue
        size = int(sizes[rows].sum())
        if not shards_per_byte:
            shards_per_byte = (train_shards or shard_count(size)) / size
        count = max(1, round(shards_per_byte * size))
        taken.append(rows)
        split_column += [split] * len(rows)
        shard_column += _shard_names(split, sizes[rows], count, file_name)
    sharded = table.take(pa.array(np.concatenate(taken)))
    for name, values in (("split", split_column), ("shard", shard_column)):
        if name in sharded.column_names:
            sharded = sharded.drop_columns([name])
        sharded = sharded.append_column(
            SHARD_MANIFEST_SCHEMA.field(name), pa.array(values, pa.string())
        )
    return sharded


def _shuffled_rows(paths: list[str], seed: int) -> npt.NDArray[np.int64]:
    """Row numbers, int64 [rows], in an order that depends only on the paths and the seed.

    Sorting by hash keeps the order stable across versions of random number generators.
    """
    keys = [hashlib.sha256(f"{seed}:{path}".encode()).digest() for path in paths]
    return np.array(sorted(range(len(paths)), key=lambda row: (keys[row], row)), dtype=np.int64)


def _shard_names(
    split: str,
    sizes: npt.NDArray[np.int64],
    count: int,
    file_name: Callable[[str, int, int], str],
) -> Iterator[str]:
    """Yield the shard of every record; shards are contiguous and about equal in bytes."""
    count = min(count, len(sizes))
    ends = np.cumsum(sizes)
    cut = 0
    for index in range(count):
        wanted = ends[-1] * (index + 1) / count
        nearest = int(np.abs(ends - wanted).argmin()) + 1
        # Leave at least one record for this shard and for each of the following ones.
        until = min(max(nearest, cut + 1), len(sizes) - (count - 1 - index))
        yield from [file_name(split, index, count)] * (until - cut)
        cut = until


def iter_shards(sharded: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield each shard of a sharded manifest in order: its file name and its rows."""
    start = 0
    for name, rows in groupby(sharded["shard"].to_pylist()):
        length = sum(1 for _ in rows)
        yield name, sharded.slice(start, length)
        start += length
