"""Splits that are not made of one data set: several sets, one split alone, and given splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.leakage import RowSplits, leaks_by_key
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.pictures.thumbnails import Pictures
from manifests.splitting.joins import Joins, drop_joined, join_families, joined_column
from manifests.splitting.spec import SplitPlan, check_split_name
from manifests.splitting.split import assign_splits, with_kinds
from manifests.tables import families
from manifests.tables.factorize import factorize_sorted, label_codes
from manifests.tables.family_sources import count_families
from manifests.tables.sets import DATASET

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class RowsInSplits:
    """The split of every row.

    Attributes:
        names: string [rows], the split of each row.
        joined: string [rows], the column `joined_family`.
        order: names of the splits, in output order.
        text: a description for the terminal.
        joins: what was joined because crops are alike; None if none were compared.
    """

    names: pa.Array
    joined: pa.Array
    order: tuple[str, ...]
    text: str
    joins: Joins | None = None


def only_test(group_by: str = "original", seed: int = 42) -> SplitPlan:
    """The plan that puts every row into the split test."""
    return SplitPlan(((TEST, 1.0),), group_by, seed)


def split_rows(table: pa.Table, plan: SplitPlan, pictures: Pictures | None = None) -> RowsInSplits:
    """Split the rows of one data set; see `assign_splits`.

    Args:
        pictures: of the rows; families whose crops are near-identical go to one split. None to
            compare none.
    """
    joins, table = None, drop_joined(table)
    if pictures is not None:
        table, joins = join_families(table, plan, pictures)
    found = with_kinds(assign_splits(table, plan), table, joins, pictures)
    return RowsInSplits(found.names, joined_column(table), plan.names, found.text(), joins)


def split_each_set(
    table: pa.Table, plan: SplitPlan, pictures: Pictures | None = None
) -> RowsInSplits:
    """Split each data set by itself, so that every split has the same share of each.

    Args:
        table: joined by `join_sets`, so that no family is in two data sets.
        pictures: as for `split_rows`; those of different data sets are not compared.

    Raises:
        TableError: as `assign_splits`, for one of the sets.
    """
    names, joined = np.empty(table.num_rows, object), np.empty(table.num_rows, object)
    lines, joins = [], []
    for dataset in sorted(pc.unique(table[DATASET]).to_pylist()):
        rows = np.flatnonzero(pc.equal(table[DATASET], dataset).to_numpy())
        shown = None if pictures is None else pictures.of(rows)
        found = split_rows(table.take(pa.array(rows)), plan, shown)
        names[rows], joined[rows] = found.names.to_pylist(), found.joined.to_pylist()
        joins += [found.joins] if found.joins else []
        lines += [f"{dataset}:", *(f"  {line}" for line in found.text.splitlines())]
    return RowsInSplits(
        pa.array(names, pa.string()),
        pa.array(joined, pa.string()),
        plan.names,
        "\n".join(lines),
        reduce(add, joins) if joins else None,
    )


def given_splits(table: pa.Table) -> RowsInSplits:
    """Take the splits of the column `split`.

    Raises:
        TableError: a name cannot be the name of a split.
    """
    found = pc.unique(table["split"]).to_pylist()
    for name in found:
        check_split_name(name, "the column split")
    usual = (TRAIN, VALIDATION, TEST)
    order = tuple(sorted(found, key=lambda name: (_rank(name, usual), name)))
    (family,), _ = factorize_sorted(families.family_column(table))
    label = label_codes(table)
    split = pc.index_in(table["split"], pa.array(order)).to_numpy().astype(np.int64)
    lines = [_count_text(table, name) for name in order]
    leaks = leaks_by_key(family, RowSplits(split, label, order, LABELS))
    fakes = count_families(table)
    shared = [leak.text("families") for leak in leaks if leak.shared]
    lines += [*fakes.lines(), *shared] if shared else fakes.apart_lines()
    return RowsInSplits(
        table["split"].combine_chunks(), joined_column(table), order, "\n".join(lines)
    )


def check_every_split(names: pa.Array, order: Sequence[str]) -> None:
    """Raise TableError if a split has no rows.

    Args:
        names: string [rows], the split of each row.
        order: names of the splits.
    """
    found = set(pc.unique(names).to_pylist())
    if empty := [name for name in order if name not in found]:
        raise TableError(
            f"expected crops in every split, found none in {' and '.join(empty)}: families, or "
            "the groups of --group-by, are kept whole, and there are too few; extract more "
            "originals, or give fewer splits, as in --split 80/20"
        )


def _rank(name: str, usual: tuple[str, ...]) -> int:
    return usual.index(name) if name in usual else len(usual)


def _count_text(table: pa.Table, split: str) -> str:
    labels = table["label"].filter(pc.equal(table["split"], split)).to_pylist()
    return f"{split}: " + ", ".join(f"{labels.count(label):,} {label}" for label in LABELS)
