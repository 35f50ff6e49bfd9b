"""Which rows a split keeps together: families, and what connects them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.tables import families
from manifests.tables.factorize import Codes, factorize_sorted, text_column

#: The grouping by estimated person, `manifests.identities`.
IDENTITY = "identity"
#: The column that names the families joined because their crops are alike.
JOINED = "joined_family"


def group_rows(table: pa.Table, group_by: str, family: Codes, names: pa.Array) -> Codes:
    """Return the group of each row: its family, or families connected by the values of columns.

    The column `joined_family`, if there is one, connects families too.

    Args:
        group_by: original, or a column whose values connect families.
        family: int64 [rows], family of each row, numbered by name.
        names: string [families], in order.

    Returns:
        int64 [rows], numbered by name, independently of the order of the rows.

    Raises:
        TableError: there is no such column, or it has empty cells.
    """
    nodes = len(names)
    first, second = [], []
    if JOINED in table.column_names:
        joined = pc.index_in(table[JOINED].cast(pa.string()), names).fill_null(-1).to_numpy()
        if (joined >= 0).any():
            first.append(family[joined >= 0])
            second.append(joined[joined >= 0].astype(np.int64))
    if group_by not in ("original", "family"):
        value, values = _values(table, group_by)
        first.append(family)
        second.append(nodes + value)
        nodes += values
    if not first:
        return family
    return families.connected_groups(nodes, np.concatenate(first), np.concatenate(second))[family]


def _values(table: pa.Table, column: str) -> tuple[Codes, int]:
    """Return the value of each row of a column to group by, and the number of values."""
    if column == IDENTITY and column not in table.column_names:
        raise TableError(
            "expected the column identity to group by, found none; run dfdc-prep identify on the "
            "faces folder first"
        )
    if column not in table.column_names:
        raise TableError(
            f"expected original, none or a column to group by, found {column!r}; "
            f"the columns are {', '.join(table.column_names)}"
        )
    (value,), values = factorize_sorted(text_column(table, column))
    if value.min() < 0:
        raise TableError(
            f"expected a {column} in every row, found {int((value < 0).sum()):,} rows without; "
            f"group by another column"
        )
    return value, len(values)
