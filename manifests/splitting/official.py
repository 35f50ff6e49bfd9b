"""The split that a data set's own lists make: the column `official_split`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.leakage import RowSplits, leaks_by_key
from manifests.auditing.people import people_in_splits
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.splitting.spec import DEFAULT_NAMES, SplitPlan
from manifests.splitting.split import Assignment, count_rows
from manifests.tables import families
from manifests.tables.factorize import factorize_sorted, label_codes, text_column
from manifests.tables.family_sources import count_families

COLUMN = "official_split"
#: Value of `SplitPlan.group_by` of such a split.
OFFICIAL = "official"


def official_splits(table: pa.Table) -> Assignment:
    """Give every row the split that its data set gives it, and measure what the splits share.

    Args:
        table: with the columns of `assign_splits`, and `official_split`.

    Raises:
        TableError: the data set has no such split, rows are without one, or there is only one.
    """
    label = label_codes(table)
    names = _check_column(table)
    split = pc.index_in(text_column(table, COLUMN), pa.array(names)).to_numpy().astype(np.int64)
    shares = np.bincount(split, minlength=len(names)) / len(split)
    plan = SplitPlan(tuple(zip(names, shares.tolist(), strict=True)), OFFICIAL)
    (family,), _ = factorize_sorted(families.family_column(table))
    rows = RowSplits(split, label, plan.names, LABELS)
    placed = count_rows(split, label, len(names))
    people = people_in_splits(table, rows)
    return Assignment(
        pa.array(names).take(pa.array(split)),
        plan,
        placed,
        placed,
        tuple(leaks_by_key(family, rows)),
        count_families(table),
        shared_people=tuple(people.leaks) if people else (),
    )


def _check_column(table: pa.Table) -> tuple[str, ...]:
    """Return the names of the splits, in their usual order."""
    column = text_column(table, COLUMN) if COLUMN in table.column_names else pa.nulls(0)
    found: set[str] = set(column.drop_null().unique().to_pylist())
    if not found:
        raise TableError(
            f"expected the column {COLUMN} that extract fills from the lists of a data set, found "
            "none; put the lists beside the data and run extract again, or leave --official out"
        )
    if column.null_count:
        without = table.filter(pc.is_null(table[COLUMN]))
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
            f"expected at least two of {', '.join(usual)} in the column {COLUMN}, found "
            f"{', '.join(sorted(found))[:100]}; leave --official out"
        )
    return tuple(name for name in usual if name in found)
