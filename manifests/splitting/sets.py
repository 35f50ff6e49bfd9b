"""Splits that are not made of one data set: several sets, a data set's own lists, given splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.leakage import RowSplits, leak_lines, leaks_by_key, people_in_splits
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.pictures.thumbnails import Pictures
from manifests.splitting.groups import Joins, drop_joined, join_families, joined_column
from manifests.splitting.split import (
    DEFAULT_NAMES,
    Assignment,
    SplitPlan,
    assign_splits,
    check_split_name,
    count_rows,
    with_kinds,
)
from manifests.tables import families
from manifests.tables.codes import DATASET, factorize_sorted, label_codes, text_column
from manifests.tables.families import count_families
from manifests.wording import listed

TRAIN, VALIDATION, TEST = DEFAULT_NAMES[3]


@dataclass(frozen=True)
class RowsInSplits:
    """The split of every row, and the text for the terminal."""

    names: pa.Array  # string [rows], the split of each row
    joined: pa.Array  # string [rows], the column `joined_family`
    order: tuple[str, ...]  # names of the splits, in output order
    text: str
    joins: Joins | None = None  # because crops are alike; None if none were compared


def only_test(group_by: str = "original", seed: int = 42) -> SplitPlan:
    """The plan that puts every row into the split test."""
    return SplitPlan(((TEST, 1.0),), group_by, seed)


def split_rows(table: pa.Table, plan: SplitPlan, pictures: Pictures | None = None) -> RowsInSplits:
    """Split the rows of one data set; see `assign_splits`.

    If there are pictures of the rows, families whose crops are near-identical go to one split.
    """
    joins, table = None, drop_joined(table)
    if pictures is not None:
        table, joins = join_families(table, plan.group_by, plan.weights.min(), pictures)
    found = with_kinds(assign_splits(table, plan), table, joins, pictures)
    return RowsInSplits(found.names, joined_column(table), plan.names, found.text(), joins)


def split_each_set(
    table: pa.Table, plan: SplitPlan, pictures: Pictures | None = None
) -> RowsInSplits:
    """Split each data set of a table of `join_sets` by itself; every split has its share of each.

    Pictures of different data sets are not compared.

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
    usual = DEFAULT_NAMES[3]
    further = sorted(name for name in found if name not in usual)
    order = (*(name for name in usual if name in found), *further)
    (family,), _ = factorize_sorted(families.family_column(table))
    label = label_codes(table)
    split = pc.index_in(table["split"], pa.array(order)).to_numpy().astype(np.int64)
    lines = []
    for name, rows in zip(order, count_rows(split, label, len(order)).tolist(), strict=True):
        counts = (f"{count:,} {label}" for label, count in zip(LABELS, rows, strict=True))
        lines.append(f"{name}: {', '.join(counts)}")
    leaks = leaks_by_key(RowSplits(split, label, order), family)
    fakes = count_families(table)
    shared = leak_lines(leaks, "families")
    lines += [*fakes.lines(), *shared] if shared else fakes.apart_lines()
    names = table["split"].combine_chunks()
    return RowsInSplits(names, joined_column(table), order, "\n".join(lines))


def check_every_split(names: pa.Array, order: Sequence[str]) -> None:
    """Raise TableError if a split of `order` has no rows in `names`, string [rows]."""
    found = set(pc.unique(names).to_pylist())
    if empty := [name for name in order if name not in found]:
        raise TableError(
            f"expected crops in every split, found none in {' and '.join(empty)}: families, or "
            "the groups of --group-by, are kept whole, and there are too few; extract more "
            "originals, or give fewer splits, as in --split 80/20"
        )


OFFICIAL_SPLIT = "official_split"
#: Value of `SplitPlan.group_by` of such a split.
OFFICIAL = "official"


def official_splits(table: pa.Table) -> Assignment:
    """Give every row the split of its column `official_split`, and measure what they share.

    Raises:
        TableError: the data set has no such split, rows are without one, or there is only one.
    """
    label = label_codes(table)
    names = _check_column(table)
    official = text_column(table, OFFICIAL_SPLIT)
    split = pc.index_in(official, pa.array(names)).to_numpy().astype(np.int64)
    shares = np.bincount(split, minlength=len(names)) / len(split)
    plan = SplitPlan(tuple(zip(names, shares.tolist(), strict=True)), OFFICIAL)
    (family,), _ = factorize_sorted(families.family_column(table))
    rows = RowSplits(split, label, plan.names)
    placed = count_rows(split, label, len(names))
    people = people_in_splits(table, rows)
    return Assignment(
        pa.array(names).take(pa.array(split)),
        plan,
        placed,
        placed,
        tuple(leaks_by_key(rows, family)),
        count_families(table),
        shared_people=tuple(people.leaks) if people else (),
    )


def _check_column(table: pa.Table) -> tuple[str, ...]:
    """Return the names of the splits, in their usual order."""
    found: set[str] = set()
    if OFFICIAL_SPLIT in table.column_names:
        column = text_column(table, OFFICIAL_SPLIT)
        found = set(column.drop_null().unique().to_pylist())
    if not found:
        raise TableError(
            f"expected the column {OFFICIAL_SPLIT} that extract fills from the lists of a data "
            "set, found none; put the lists beside the data and run extract again, or leave "
            "--official out"
        )
    if column.null_count:
        without = table.filter(pc.is_null(table[OFFICIAL_SPLIT]))
        where = f" in {without['part'][0].as_py()}" if "part" in table.column_names else ""
        raise TableError(
            f"expected an official split for every crop, found {without.num_rows:,} without, such "
            f"as those of {without['video'][0].as_py()}{where}; extract the other clips into a "
            "folder of their own, or leave --official out"
        )
    usual = DEFAULT_NAMES[3]
    strange = sorted(found - set(usual))
    if strange or len(found) < 2:
        raise TableError(
            f"expected at least two of {', '.join(usual)} in the column {OFFICIAL_SPLIT}, found "
            f"{listed(sorted(found))}; leave --official out"
        )
    return tuple(name for name in usual if name in found)
