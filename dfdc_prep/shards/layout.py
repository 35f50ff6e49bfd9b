"""Which crop becomes which record of which shard. Pure: it decides and touches no disk."""

import hashlib
import math
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.schema import SHARD_MANIFEST_SCHEMA

#: The name the shards are known by, no hyphen: TFDS takes it apart at hyphens.
DATASET = "dfdc_faces"

MEGABYTE = 1_000_000
#: What a shard should weigh, and how many train shards give a shuffle of files its worth.
SMALLEST, LARGEST, ENOUGH = 20 * MEGABYTE, 200 * MEGABYTE, 16


def shard_file(split: str, index: int, count: int) -> str:
    """The file name TFDS expects of one shard, numbered from zero."""
    return f"{DATASET}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def shard_count(size: int) -> int:
    """How many shards a split of `size` bytes gets: 16 of 20 to 200 MB where that can be."""
    return max(1, min(ENOUGH, size // SMALLEST), math.ceil(size / LARGEST))


def lay_out(
    table: pa.Table,
    splits: pa.Array,
    order: tuple[str, ...],
    sizes: npt.NDArray[np.int64],
    seed: int,
    train_shards: int | None = None,
) -> pa.Table:
    """The rows with their `split` and `shard`, in the order of the records.

    Args:
        table: a manifest; its `path` tells rows apart.
        splits: the name of the split of every row.
        order: the names of the splits in the order they are laid out; the first is the
            one whose size fixes the number of shards, the others follow in proportion.
        sizes: bytes of every row's record, int64 [rows].
        seed: of the shuffle within a split.
        train_shards: shards of the first split; None to choose by size.
    """
    names = np.asarray(splits.to_pylist(), dtype=object)
    shuffled = _shuffled(table["path"].to_pylist(), seed)
    taken, split_column, shard_column = [], [], []
    per_byte = 0.0
    for split in order:
        rows = shuffled[names[shuffled] == split]
        if not len(rows):
            continue
        size = int(sizes[rows].sum())
        if not per_byte:
            per_byte = (train_shards or shard_count(size)) / size
        files = list(_files(split, sizes[rows], max(1, round(per_byte * size))))
        taken.append(rows)
        split_column += [split] * len(rows)
        shard_column += files
    laid = table.take(pa.array(np.concatenate(taken)))
    for name, values in (("split", split_column), ("shard", shard_column)):
        if name in laid.column_names:
            laid = laid.drop_columns([name])
        laid = laid.append_column(SHARD_MANIFEST_SCHEMA.field(name), pa.array(values, pa.string()))
    return laid


def _shuffled(paths: list[str], seed: int) -> npt.NDArray[np.int64]:
    """Row numbers in an order that depends on the paths and the seed alone.

    Sorted by hash rather than drawn: no release of a random generator can change it.
    """
    keys = [hashlib.sha256(f"{seed}:{path}".encode()).digest() for path in paths]
    return np.array(sorted(range(len(paths)), key=lambda row: (keys[row], row)), dtype=np.int64)


def _files(split: str, sizes: npt.NDArray[np.int64], count: int) -> Iterator[str]:
    """The shard of every record: cut where the bytes so far come nearest to equal parts."""
    count = min(count, len(sizes))
    ends = np.cumsum(sizes)
    cut = 0
    for index in range(count):
        wanted = ends[-1] * (index + 1) / count
        nearest = int(np.abs(ends - wanted).argmin()) + 1
        until = min(max(nearest, cut + 1), len(sizes) - (count - 1 - index))
        yield from [shard_file(split, index, count)] * (until - cut)
        cut = until


def runs(laid: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The shards of a laid-out manifest in order: file name and rows, one a record."""
    at = 0
    for name, rows in groupby(laid["shard"].to_pylist()):
        length = sum(1 for _ in rows)
        yield name, laid.slice(at, length)
        at += length
