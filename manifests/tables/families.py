"""Which clips are relatives: the one place that says to which family a clip belongs.

A family is an original clip and every fake made from it, whether the original is on disk
or only named. The rules, for tables that are not what they should be:

- A REAL clip is its own family; an `original` beside it is not believed.
- A FAKE without an original is its own family.
- An original that is itself a FAKE is followed to the clip all of them go back to.
- Clips whose originals go round in a circle are one family, named after the first of them.
- A name that stands for two clips, or has two originals, ties both families into one,
  since nobody can say that they have no frame in common.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE
from manifests.tables.factorize import Codes, encode


def resolve(video: pa.ChunkedArray, label: pa.ChunkedArray, original: pa.ChunkedArray) -> pa.Array:
    """The family of every row: the name of the clip that all its relatives go back to.

    Args:
        video: string [rows], file name of the clip; never null.
        label: string [rows], REAL or FAKE.
        original: string [rows], file name of the clip a fake was made from, or null.

    Returns:
        string [rows], in the order of the rows; the order itself changes no name.
    """
    believed = _believed(label, original)
    (child, parent), names = encode(video, believed)
    made = parent >= 0
    return names.take(_founders(child[made], parent[made], names)[child])


def of(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """The family of every row of a table: its family column, or told from the originals.

    The column comes first: it was written when every clip was known, and the table may
    have lost the clips in between since.
    """
    if "family" in table.column_names:
        return table["family"]
    return resolve(table["video"], table["label"], table["original"])


def kin(table: pa.Table) -> tuple[Codes, Codes, pa.Array]:
    """The families of a table believing nothing: its family column and its originals together.

    Returns:
        The clip and the family of each row, int64 [rows] each, both numbers of a name;
        and the names.
    """
    believed = _believed(table["label"], table["original"])
    told = [_disputed(table, believed)] if "family" in table.column_names else []
    (child, *parents), names = encode(table["video"], believed, *told)
    made = [parent >= 0 for parent in parents]
    first = np.concatenate([child[tied] for tied in made])
    second = np.concatenate([parent[tied] for parent, tied in zip(parents, made, strict=True)])
    return child, _founders(first, second, names)[child], names


def _disputed(table: pa.Table, believed: pa.ChunkedArray) -> pa.ChunkedArray:
    """The family column where it says more than the original beside it, else null."""
    expected = pc.coalesce(believed, table["video"])
    nothing = pa.scalar(None, pa.string())
    return pc.if_else(pc.equal(table["family"], expected), nothing, table["family"])


def _believed(label: pa.ChunkedArray, original: pa.ChunkedArray) -> pa.ChunkedArray:
    """The originals of fakes; what stands beside a REAL clip is not believed."""
    return pc.if_else(pc.equal(label, FAKE), original, pa.scalar(None, pa.string()))


def tie(nodes: int, first: Codes, second: Codes) -> Codes:
    """Number the groups of nodes that the edges first[i] - second[i] tie together.

    Returns:
        int64 [nodes], the group of each node.
    """
    # Imported here: DFDC's own tables need no graph, and workers wait for every import.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(first), np.int8)
    graph = coo_matrix((ones, (first, second)), shape=(nodes, nodes))
    group: Codes = connected_components(graph, directed=False)[1].astype(np.int64)
    return group


def _founders(child: Codes, parent: Codes, names: pa.Array) -> Codes:
    """The name each name goes back to when child[i] was made from parent[i], int64 [names]."""
    founder = np.arange(len(names))
    founder[child] = parent
    if (founder[child] == parent).all() and (founder[founder] == founder).all():
        return founder  # one original each and no chain: all of DFDC
    tree = tie(len(names), child, parent)
    return _roots(tree, child[child != parent], names)[tree]


def _roots(tree: Codes, made: Codes, names: pa.Array) -> Codes:
    """The node each tree is named after: its root, or the first by name where it has not one."""
    trees = int(tree.max(initial=-1)) + 1
    rooted = np.ones(len(tree), bool)
    rooted[made] = False
    founder = np.zeros(trees, np.int64)
    founder[tree[rooted]] = np.flatnonzero(rooted)
    roots = np.bincount(tree[rooted], minlength=trees)
    contested = np.flatnonzero((roots[tree] == 0) | ((roots[tree] > 1) & rooted))
    last_first = pc.sort_indices(names.take(contested), sort_keys=[("", "descending")]).to_numpy()
    contested = contested[last_first]
    founder[tree[contested]] = contested
    return founder
