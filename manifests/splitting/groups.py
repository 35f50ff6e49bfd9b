"""Groups of rows that must not be divided, and families joined because their crops are alike."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.arrow import SPLIT_SCHEMA
from manifests.errors import TableError
from manifests.pictures.near_identical import NearIdentical, find_in_table
from manifests.pictures.thumbnails import Pictures
from manifests.tables import families
from manifests.tables.codes import Codes, factorize_sorted, text_column
from manifests.wording import columns_found, counted, did_you_mean

#: The grouping by estimated person, `manifests.identities`.
IDENTITY = "identity"
#: The column that names the families joined because their crops are alike.
JOINED = "joined_family"


def group_rows(table: pa.Table, group_by: str, family: Codes, names: pa.Array) -> Codes:
    """Return the group of each row: its family, or families connected by the values of columns.

    The column `joined_family`, if there is one, connects families too.

    Args:
        group_by: original, or a column whose values connect families.
        family: int64 [rows], the index of each row's family in `names`, sorted. The groups are
            numbered by name too.

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
        if group_by == IDENTITY and group_by not in table.column_names:
            raise TableError(
                "expected the column identity to group by, found none; run dfdc-prep identify on "
                "the faces folder first"
            )
        if group_by not in table.column_names:
            raise TableError(
                f"expected original, identity, none or a column to group by, found {group_by!r}; "
                + (
                    did_you_mean(group_by, ["original", IDENTITY, "none", *table.column_names])
                    or f"the table has {columns_found(table.column_names, group_by)}"
                )
            )
        (value,), values = factorize_sorted(text_column(table, group_by))
        if value.min() < 0:
            raise TableError(
                f"expected a {group_by} in every row, found "
                f"{counted(int((value < 0).sum()), 'row')} without; group by another column"
            )
        first.append(family)
        second.append(nodes + value)
        nodes += len(values)
    if not first:
        return family
    return families.connected_groups(nodes, np.concatenate(first), np.concatenate(second))[family]


#: Largest group that joining makes, as a share of the smallest split.
_LARGEST = 0.5


@dataclass(frozen=True)
class Joins:
    """What was compared, and what was joined."""

    rows: int
    compared: int  # crops whose pictures were compared
    blank: int  # crops that were read and left out, because they are blank or nearly black
    pairs: int = 0  # near-identical pictures of different families
    families: int = 0  # that were joined with others
    groups: int = 0  # that these form
    apart: int = 0  # pairs not joined, because the group would be too large for a split

    def __add__(self, other: "Joins") -> "Joins":
        """What was joined in two data sets, each by itself."""
        return Joins(*(map(sum, zip(astuple(self), astuple(other), strict=True))))

    def lines(self) -> list[str]:
        """Describe it for the terminal."""
        if not self.compared:
            return ["pictures: not compared, no images available"]
        left_out = f", {self.blank:,} of the others blank or nearly black" if self.blank else ""
        pairs = counted(self.pairs, "pair")
        joined = f"of different families, but the same or nearly so: {pairs} of crops"
        if not self.pairs:
            joined = "no crops of different families are the same or nearly so"
        if self.families:
            joined = (
                f"{counted(self.families, 'family')} joined into {self.groups:,} through {pairs} "
                "of crops that are the same or nearly so"
            )
        lines = [f"pictures: {self.compared:,} of {self.rows:,} compared{left_out}; {joined}"]
        if self.apart:
            lines.append(
                f"{self.apart:,} of the {pairs} not joined: the groups would be larger than half "
                "the smallest split"
            )
        return lines


def join_families(
    table: pa.Table, group_by: str, smallest: float, pictures: Pictures
) -> tuple[pa.Table, Joins]:
    """Return the table with the column `joined_family`, if there is a picture, and what was joined.

    Args:
        smallest: share of the rows in the smallest split.

    Raises:
        TableError: as `group_rows`.
    """
    table = drop_joined(table)
    if not len(pictures.rows):
        return table, Joins(table.num_rows, 0, 0)
    (family,), names = factorize_sorted(families.family_column(table))
    group = group_rows(table, group_by, family, names)
    near = find_in_table(pictures, family)
    edges = list(_edges(near, family))
    whole, apart = _joined_groups(edges, group, _LARGEST * smallest * table.num_rows)
    together = np.unique(np.column_stack([whole[group], group]), axis=0)[:, 0]
    several = np.bincount(together, minlength=len(whole))[whole[group]] > 1

    # A group is named after its first family; families are numbered by name.
    first = np.full(len(whole), len(names))
    np.minimum.at(first, whole[group], family)
    joined = np.where(several, first[whole[group]], -1)
    column = names.take(pa.array(joined, mask=joined < 0))
    compared = int((near.picture >= 0).sum())
    counts = len(np.unique(family[several])), len(np.unique(joined[several]))
    blank = len(pictures.rows) - compared
    return (
        table.append_column(SPLIT_SCHEMA.field(JOINED), column),
        Joins(table.num_rows, compared, blank, len(edges), *counts, apart),
    )


def drop_joined(table: pa.Table) -> pa.Table:
    """Return the table without what an earlier split joined."""
    return table.drop_columns([JOINED]) if JOINED in table.column_names else table


def joined_column(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return the column `joined_family`, null where the table has none, string [rows]."""
    if JOINED in table.column_names:
        return table[JOINED]
    return pa.nulls(table.num_rows, pa.string())


def _edges(near: NearIdentical, family: Codes) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of different families with near-identical pictures, the most alike first.

    Of equal pictures each family has one row.
    """
    shown = np.flatnonzero(near.picture >= 0)
    key = np.column_stack([near.picture[shown], family[shown]])
    _, at = np.unique(key, axis=0, return_index=True)
    rows = shown[at]  # sorted by picture, then by family
    picture = near.picture[rows]
    for row, after in pairwise(rows):
        if near.picture[row] == near.picture[after]:
            yield int(row), int(after)
    first_row = rows[np.searchsorted(picture, np.arange(int(picture.max(initial=-1)) + 1))]
    for pair in np.lexsort((near.second, near.first, -near.likeness)):
        first, second = first_row[near.first[pair]], first_row[near.second[pair]]
        if family[first] != family[second]:
            yield int(first), int(second)


def _joined_groups(edges: list[tuple[int, int]], group: Codes, largest: float) -> tuple[Codes, int]:
    """Join groups along edges, unless the result has more than `largest` rows.

    Returns a number for each group, equal where they were joined; and how many edges are apart.
    """
    rows = np.bincount(group)
    parent = list(range(len(rows)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for first, second in edges:
        one, other = sorted((root(int(group[first])), root(int(group[second]))))
        if one != other and rows[one] + rows[other] <= largest:
            parent[other] = one
            rows[one] += rows[other]
    roots = np.array([root(at) for at in range(len(rows))], np.int64)
    apart = sum(roots[group[first]] != roots[group[second]] for first, second in edges)
    return roots, int(apart)
