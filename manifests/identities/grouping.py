"""Groups encodings by average linkage, with pairs that must or must not be in one group.

Average linkage (UPGMA) joins two groups only if their average distance is at most the
threshold, and then at least one pair of their members is that close. So no group crosses a
connected component of the graph of such pairs. The components are found block by block, and
each is grouped alone: a small one by scipy, whose memory is quadratic, a large one by
`manifests.identities.neighbour_chain`. The groups are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manifests.errors import TableError
from manifests.identities.neighbour_chain import NeighbourChain
from manifests.tables.factorize import Codes
from manifests.tables.families import connected_groups

Encodings = npt.NDArray[np.float64]

#: Most encodings of a component that scipy groups; it then needs 0.8 GB.
MAX_DENSE = 10_000
#: Most pairs within the threshold of a larger component; they then need 2 GB.
MAX_PAIRS = 60_000_000
#: Merges above the threshold minus this distance are reported: they are uncertain.
MARGIN_BELOW = 0.05

#: Added to the threshold when components are sought, for the rounding of float32.
_SLACK = 1e-3
#: Rows of the distance matrix in memory at a time.
_BLOCK = 1024
#: Distance of a pair that must not be in one group: no average with it can be small.
_FORBIDDEN = 1e12


@dataclass(frozen=True)
class Merge:
    """Two groups joined just below the threshold.

    Attributes:
        first, second: int64 [members], indices of the encodings of each.
    """

    distance: float
    first: Codes
    second: Codes


@dataclass(frozen=True)
class Grouping:
    """The group of every encoding.

    Attributes:
        group: int64 [n], numbered by first member.
        merges: those above the threshold minus `MARGIN_BELOW`.
    """

    group: Codes
    merges: tuple[Merge, ...]


def group_by_average_linkage(
    encodings: Encodings, threshold: float, same: Codes, different: Codes
) -> Grouping:
    """Group encodings whose average distance is at most a threshold.

    Args:
        encodings: float64 [n, d].
        threshold: largest average Euclidean distance at which two groups are joined.
        same: int64 [pairs, 2], encodings that must be in one group.
        different: int64 [pairs, 2], encodings that must not; with `same`, free of contradictions
            and complete: it has every pair that follows from another by `same`.

    Raises:
        TableError: a large component has more than `MAX_PAIRS` pairs within the threshold.
    """
    closure = connected_groups(len(encodings), same[:, 0], same[:, 1])
    component = _components(encodings, threshold, closure)
    group, merges = np.zeros(len(encodings), np.int64), []
    count = 0
    for members in _members(component):
        link = _link if len(members) <= MAX_DENSE else _link_sparsely
        found = link(encodings[members], closure[members], _inside(different, members), threshold)
        group[members] = count + found.group
        count += int(found.group.max()) + 1
        merges += [Merge(m.distance, members[m.first], members[m.second]) for m in found.merges]
    return Grouping(number_by_first(group), tuple(merges))


def _components(encodings: Encodings, threshold: float, closure: Codes) -> Codes:
    """Return the connected components of all pairs within the threshold, int64 [n]."""
    component = closure
    for first, second in _pairs_within(encodings, threshold):
        one, two = component[first], component[second]
        apart = one != two
        if apart.any():
            count = int(component.max()) + 1
            component = connected_groups(count, one[apart], two[apart])[component]
    return component


def _pairs_within(encodings: Encodings, threshold: float) -> Iterator[tuple[Codes, Codes]]:
    """Yield all pairs within the threshold in blocks, and a few just above it.

    Yields:
        Two arrays, int64 [pairs] each; the first index is at most the second.
    """
    points = encodings.astype(np.float32)
    squares = np.einsum("ij,ij->i", points, points)
    for start in range(0, len(points), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distance = squares[rows, None] + squares[start:] - 2 * points[rows] @ points[start:].T
        first, second = np.nonzero(np.triu(distance <= (threshold + _SLACK) ** 2))
        yield first + start, second + start


def _members(group: Codes) -> Iterator[Codes]:
    """Yield the members of each group in ascending order, groups in the order of their numbers."""
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    yield from (part for part in np.split(order, ends) if len(part))


def _inside(pairs: Codes, members: Codes) -> Codes:
    """Return the pairs whose encodings are both members, as positions in `members`."""
    at = np.searchsorted(members, pairs)
    known = (members[np.minimum(at, len(members) - 1)] == pairs).all(axis=1)
    found: Codes = at[known]
    return found


def _link_sparsely(
    points: Encodings, closure: Codes, different: Codes, threshold: float
) -> Grouping:
    """As `_link`, with memory for the pairs within the threshold only."""
    blocks, count = [], 0
    for first, second in _pairs_within(points, threshold):
        apart = first != second
        blocks.append(np.stack([first[apart], second[apart]], axis=1).astype(np.int32))
        count += len(blocks[-1])
        if count > MAX_PAIRS:
            raise TableError(
                f"expected at most {MAX_PAIRS:,} pairs of originals within {threshold:g}, found "
                f"more among {len(points):,}, too many for the memory; use a lower --threshold"
            )
    _, closure = np.unique(closure, return_inverse=True)
    chain = NeighbourChain(points, closure, different, np.concatenate(blocks), threshold)
    merges = [Merge(*merge) for merge in chain.run() if merge[0] > threshold - MARGIN_BELOW]
    return Grouping(np.unique(chain.group, return_inverse=True)[1], tuple(merges))


def _link(points: Encodings, closure: Codes, different: Codes, threshold: float) -> Grouping:
    """Group one component; indices are positions in it."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    if len(points) == 1:
        return Grouping(np.zeros(1, np.int64), ())
    distance = pdist(points)
    for members in _members(closure):
        first, second = np.triu_indices(len(members), 1)
        distance[_condensed(members[first], members[second], len(points))] = 0.0
    ordered = np.sort(different, axis=1)
    distance[_condensed(ordered[:, 0], ordered[:, 1], len(points))] = _FORBIDDEN
    tree = linkage(distance, "average")
    group = fcluster(tree, threshold, "distance").astype(np.int64) - 1
    close = np.flatnonzero((tree[:, 2] <= threshold) & (tree[:, 2] > threshold - MARGIN_BELOW))
    return Grouping(group, tuple(_merge(tree, int(row)) for row in close))


def _condensed(first: Codes, second: Codes, count: int) -> Codes:
    """Return positions in scipy's condensed distance matrix of pairs with first < second."""
    return count * first - first * (first + 1) // 2 + second - first - 1


def _merge(tree: npt.NDArray[np.float64], row: int) -> Merge:
    first, second = (np.sort(_leaves(tree, int(node))) for node in tree[row, :2])
    return Merge(float(tree[row, 2]), first, second)


def _leaves(tree: npt.NDArray[np.float64], node: int) -> Codes:
    """Return the encodings below a node of scipy's tree."""
    count, found, waiting = len(tree) + 1, [], [node]
    while waiting:
        node = waiting.pop()
        if node < count:
            found.append(node)
        else:
            waiting += [int(child) for child in tree[node - count, :2]]
    return np.array(found, np.int64)


def number_by_first(group: Codes) -> Codes:
    """Renumber groups in the order of their first members."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
