"""The assignment of crops to shards: counts, sizes, order."""

import numpy as np
import pyarrow as pa
import pytest

from dfdc_prep.writing.sharding import MEGABYTE, assign_shards, iter_shards, shard_count

ORDER = ("train", "validation", "test")


def table(rows: int) -> tuple[pa.Table, pa.Array]:
    splits = [ORDER[row % 25 // 14 + (row % 25 >= 20)] for row in range(rows)]
    return pa.table({"path": [f"{row}.png" for row in range(rows)]}), pa.array(splits)


def sizes(rows: int, mean: int = 89_000) -> np.ndarray:
    return np.random.default_rng(1).normal(mean, mean / 4, rows).clip(1000).astype(np.int64)


@pytest.mark.parametrize(
    ("size", "count"),
    [(1, 1), (39, 1), (40, 2), (319, 15), (320, 16), (3_200, 16), (3_201, 17), (20_000, 100)],
)
def test_sixteen_shards_or_as_many_as_keep_20_to_200_megabytes(size: int, count: int) -> None:
    assert shard_count(size * MEGABYTE) == count


@pytest.mark.parametrize(("rows", "mean"), [(32_000, 89_000), (32_000, 19_000), (8_000, 89_000)])
def test_shards_of_a_split_are_alike_in_size(rows: int, mean: int) -> None:
    crops, splits = table(rows)
    weight = sizes(rows, mean)
    sharded = assign_shards(crops, splits, ORDER, weight, 42)
    by_path = dict(zip(crops["path"].to_pylist(), weight.tolist(), strict=True))
    for split in ORDER:
        bytes_of = [
            sum(by_path[path] for path in part["path"].to_pylist())
            for name, _, _, part in iter_shards(sharded)
            if f"-{split}." in name
        ]
        assert max(bytes_of) < 1.1 * min(bytes_of)
        assert 20 * MEGABYTE <= max(bytes_of) <= 200 * MEGABYTE


@pytest.mark.parametrize("rows", [1, 2, 3, 26, 60])
def test_no_shard_is_empty_however_many_are_asked_for(rows: int) -> None:
    crops, splits = table(rows)
    sharded = assign_shards(crops, splits, ORDER, sizes(rows), 42, train_shards=40)
    assert sharded.num_rows == rows
    assert all(part.num_rows for *_, part in iter_shards(sharded))
    assert len({name for name, *_ in iter_shards(sharded)}) == len(list(iter_shards(sharded)))


@pytest.mark.parametrize("giant", range(4))
def test_one_giant_crop_leaves_the_other_shards_their_records(giant: int) -> None:
    crops, splits = pa.table({"path": ["a", "b", "c", "d"]}), pa.array(["train"] * 4)
    weight = np.where(np.arange(4) == giant, 10**9, 1)
    sharded = assign_shards(crops, splits, ORDER, weight, 42, train_shards=3)
    assert len(list(iter_shards(sharded))) == 3


def test_the_order_depends_on_the_seed_and_not_on_the_table() -> None:
    crops, splits = table(100)
    sharded = assign_shards(crops, splits, ORDER, sizes(100), 42)
    turned = np.arange(100)[::-1]
    other = assign_shards(crops.take(turned), splits.take(turned), ORDER, sizes(100)[turned], 42)
    assert sharded.equals(other)
    assert sharded["path"] != assign_shards(crops, splits, ORDER, sizes(100), 43)["path"]


def test_splits_are_in_order_and_their_records_are_shuffled() -> None:
    crops, splits = table(250)
    sharded = assign_shards(crops, splits, ORDER, sizes(250), 42).to_pandas()
    assert list(dict.fromkeys(sharded["split"])) == list(ORDER)
    rows = [int(path.removesuffix(".png")) for path in sharded["path"][sharded["split"] == "train"]]
    assert abs(np.corrcoef(rows, np.arange(len(rows)))[0, 1]) < 0.3
