"""Families: the single definition of which clips belong together.

A family is an original clip and every fake made from it, whether the original is present in
the table or only named. Rules for inconsistent tables:

- A REAL clip is its own family; its `original`, if any, is ignored.
- The original of a FAKE is the clip of that name, however it is spelled
  (`manifests.tables.originals`); where there is none, the name itself.
- A FAKE that names no original is its own family, unless the names of the table give the originals
  (`manifests.tables.family_sources`).
- If the original of a FAKE is itself a FAKE, the chain is followed to its end.
- Clips whose originals form a cycle are one family, named after the first name in sort order.
- A name used by two clips, or with two originals, merges both families into one, because the
  clips may share frames.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.family_counts import OriginalMatches
from manifests.labels import FAKE
from manifests.tables.factorize import Codes, factorize
from manifests.tables.originals import Originals, match_originals
from manifests.tables.sets import names_are_qualified

_NULL = pa.scalar(None, pa.string())


def resolve_families(
    video: pa.ChunkedArray, label: pa.ChunkedArray, original: pa.ChunkedArray
) -> tuple[pa.Array, OriginalMatches]:
    """Return the family of every row: the name of the original at the end of its chain.

    Args:
        video: string [rows], file name of the clip; never null.
        label: string [rows], REAL or FAKE.
        original: string [rows], file name of the clip a fake was made from, or null.

    Returns:
        string [rows], which does not depend on the order of the rows; and how the originals were
        found.
    """
    found = _connect(video, _originals_of_fakes(label, original), [])
    return found.names.take(pa.array(found.family)), found.matches


def family_column(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return the family of every row: the family column, or derived from the originals."""
    if "family" in table.column_names:
        return table["family"]
    return resolve_families(table["video"], table["label"], table["original"])[0]


class Connected(NamedTuple):
    """Families that join all clips that are related.

    Attributes:
        clip, family: int64 [rows] each, indices into the names.
        names: string [names].
        matches: how the originals were found.
    """

    clip: Codes
    family: Codes
    names: pa.Array
    matches: OriginalMatches


def connected_families(table: pa.Table) -> Connected:
    """Return families that join clips related by the family column or by the originals.

    The audit uses this: a wrong family column cannot separate a fake from its original.
    """
    originals = _originals_of_fakes(table["label"], table["original"])
    differing = [_differing_families(table, originals)] if "family" in table.column_names else []
    return _connect(table["video"], originals, differing, names_are_qualified(table))


def _connect(
    video: pa.ChunkedArray,
    originals: pa.ChunkedArray,
    families: list[pa.ChunkedArray],
    qualified: bool = False,
) -> Connected:
    """Connect every clip with its original, and with the family that a column gives it."""
    (child, parent, *others), names = factorize(video, originals, *families)
    known = [parent >= 0, *(other >= 0 for other in others)]
    original = parent[known[0]]
    # Names are numbered in order of appearance, those of clips first.
    found = match_originals(names, int(child.max(initial=-1)) + 1, original, qualified)
    if found.matches.respelled or found.matches.absent:
        original = found.clip[original]
    made = np.concatenate([child[rows] for rows in known])
    given = [other[rows] for other, rows in zip(others, known[1:], strict=True)]
    source = np.concatenate([original, *given])
    return Connected(child, _family_names(made, source, found, names)[child], names, found.matches)


def _differing_families(table: pa.Table, originals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the family column where it adds to the originals, null elsewhere."""
    expected = pc.coalesce(originals, table["video"])
    return pc.if_else(pc.equal(table["family"], expected), _NULL, table["family"])


def _originals_of_fakes(label: pa.ChunkedArray, original: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the originals of FAKE rows; null for REAL rows."""
    return pc.if_else(pc.equal(label, FAKE), original, _NULL)


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


def _family_names(child: Codes, parent: Codes, found: Originals, names: pa.Array) -> Codes:
    """Return the family of each name, int64 [names], if child[i] was made from parent[i]."""
    family = np.arange(len(names))
    family[child] = parent
    # Fast path for all of DFDC: one original per fake and no chains.
    simple = (family[child] == parent).all() and (family[family] == family).all()
    if simple and not len(found.first):
        return family
    first, second = np.concatenate([child, found.first]), np.concatenate([parent, found.second])
    group = connected_groups(len(names), first, second)
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
