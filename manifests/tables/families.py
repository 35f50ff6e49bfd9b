"""Families: the single definition of which clips belong together.

A family is an original clip and every fake made from it, whether the original is present in
the table or only named. Rules for inconsistent tables:

- A REAL clip is its own family; its `original`, if any, is ignored.
- A FAKE without an original is its own family.
- If the original of a FAKE is itself a FAKE, the chain is followed to its end.
- Clips whose originals form a cycle are one family, named after the first name in sort order.
- A name used by two clips, or with two originals, merges both families into one, because the
  clips may share frames.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import FAKE
from manifests.tables.factorize import Codes, factorize


def resolve_families(
    video: pa.ChunkedArray, label: pa.ChunkedArray, original: pa.ChunkedArray
) -> pa.Array:
    """Return the family of every row: the name of the original at the end of its chain.

    Args:
        video: string [rows], file name of the clip; never null.
        label: string [rows], REAL or FAKE.
        original: string [rows], file name of the clip a fake was made from, or null.

    Returns:
        string [rows]. The result does not depend on the order of the rows.
    """
    (child, parent), names = factorize(video, _originals_of_fakes(label, original))
    known = parent >= 0
    return names.take(_family_names(child[known], parent[known], names)[child])


def family_column(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return the family of every row: the family column, or derived from the originals.

    The column takes precedence because it was written when all clips were known; intermediate
    clips of a chain may be missing from this table.
    """
    if "family" in table.column_names:
        return table["family"]
    return resolve_families(table["video"], table["label"], table["original"])


def connected_families(table: pa.Table) -> tuple[Codes, Codes, pa.Array]:
    """Return families that join clips related by the family column or by the originals.

    The audit uses this: a wrong family column cannot separate a fake from its original.

    Returns:
        The clip and the family of each row, int64 [rows] each, both indices into the names;
        and the names, string [names].
    """
    originals = _originals_of_fakes(table["label"], table["original"])
    differing = [_differing_families(table, originals)] if "family" in table.column_names else []
    (child, *parents), names = factorize(table["video"], originals, *differing)
    known = [parent >= 0 for parent in parents]
    first = np.concatenate([child[rows] for rows in known])
    second = np.concatenate([parent[rows] for parent, rows in zip(parents, known, strict=True)])
    return child, _family_names(first, second, names)[child], names


def _differing_families(table: pa.Table, originals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the family column where it adds to the originals, null elsewhere."""
    expected = pc.coalesce(originals, table["video"])
    null = pa.scalar(None, pa.string())
    return pc.if_else(pc.equal(table["family"], expected), null, table["family"])


def _originals_of_fakes(label: pa.ChunkedArray, original: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the originals of FAKE rows; null for REAL rows."""
    return pc.if_else(pc.equal(label, FAKE), original, pa.scalar(None, pa.string()))


def connected_groups(nodes: int, first: Codes, second: Codes) -> Codes:
    """Number the connected components of the graph with edges first[i] - second[i].

    Returns:
        int64 [nodes], the component of each node.
    """
    # Imported here: DFDC's own tables need no graph, and scipy delays the start of workers.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(first), np.int8)
    graph = coo_matrix((ones, (first, second)), shape=(nodes, nodes))
    group: Codes = connected_components(graph, directed=False)[1].astype(np.int64)
    return group


def _family_names(child: Codes, parent: Codes, names: pa.Array) -> Codes:
    """Return the family of each name, int64 [names], if child[i] was made from parent[i]."""
    family = np.arange(len(names))
    family[child] = parent
    # Fast path for all of DFDC: one original per fake and no chains.
    if (family[child] == parent).all() and (family[family] == family).all():
        return family
    group = connected_groups(len(names), child, parent)
    return _group_names(group, child[child != parent], names)[group]


def _group_names(group: Codes, fakes: Codes, names: pa.Array) -> Codes:
    """Return the node that names each group, int64 [groups].

    It is the group's only original; of several originals, or of all nodes if there is none,
    the first by name.

    Args:
        group: int64 [names], the group of each node.
        fakes: nodes that were made from another node.
    """
    groups = int(group.max(initial=-1)) + 1
    is_original = np.ones(len(group), bool)
    is_original[fakes] = False
    named_after = np.zeros(groups, np.int64)
    named_after[group[is_original]] = np.flatnonzero(is_original)

    # Groups with no original or several: assign candidates in descending order, so that the
    # first by name is assigned last and stays.
    originals = np.bincount(group[is_original], minlength=groups)
    candidates = np.flatnonzero((originals[group] == 0) | ((originals[group] > 1) & is_original))
    descending = pc.sort_indices(names.take(candidates), sort_keys=[("", "descending")]).to_numpy()
    candidates = candidates[descending]
    named_after[group[candidates]] = candidates
    return named_after
