"""Groups faces by average linkage, and groups along links; some must or must not be in one group.

Average linkage (UPGMA) joins two groups if their average distance is at most the threshold.
scipy's holds all distances. Here only the pairs within the threshold are held, and the average
distance of two groups is computed from their members when it is needed:

- Groups whose average distance is within the threshold have a pair of members within it, so the
  neighbours of a group are found among the pairs.
- The distance of two means is at most the average distance of their groups, so most neighbours
  are ruled out by their means.

The order of merges is that of the nearest-neighbour chain (Murtagh 1983; Müllner 2011,
arXiv:1109.2378), which gives the same groups as merging the closest pair of all each time.

Links (see `manifests.identities.evidence`) chain strangers where all are followed, so they join the
closest first, and no group beyond a size.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from manifests.errors import TableError
from manifests.identities.evidence import Encodings
from manifests.tables.codes import Codes
from manifests.tables.families import connected_groups

#: Most pairs within the threshold; they then need 2 GB.
MAX_PAIRS = 60_000_000
#: Merges above the threshold minus this distance are reported: they are uncertain.
MARGIN_BELOW = 0.05
#: Added to the threshold when pairs are sought, for the rounding of float32.
_SLACK = 1e-3
#: Rows of a distance matrix in memory at a time.
_BLOCK = 1024


class Merge(NamedTuple):
    """Two groups that were joined: their distance, and the indices of their faces, int64."""

    distance: float
    first: Codes
    second: Codes


def group_by_average_linkage(
    encodings: Encodings, threshold: float, same: Codes, different: Codes
) -> tuple[Codes, list[Merge]]:
    """Group encodings whose average distance is at most a threshold.

    Args:
        encodings: float64 [n, d].
        threshold: largest average Euclidean distance at which two groups are joined.
        same: int64 [pairs, 2], encodings that must be in one group.
        different: int64 [pairs, 2], encodings that must not, free of contradictions.

    Returns:
        The group of each encoding, int64 [n], numbered by first member; and the merges above the
        threshold minus `MARGIN_BELOW`.

    Raises:
        TableError: more than `MAX_PAIRS` pairs are within the threshold.
    """
    if not len(encodings):
        return np.empty(0, np.int64), []
    closure = connected_groups(len(encodings), same[:, 0], same[:, 1])
    chain = _NeighbourChain(encodings, closure, different, threshold)
    merges = [merge for merge in chain.run() if merge.distance > threshold - MARGIN_BELOW]
    return number_by_first(chain.group), merges


def number_by_first(group: Codes) -> Codes:
    """Renumber groups in the order of their first members."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _pairs_within(encodings: Encodings, threshold: float) -> Codes:
    """Return all pairs within the threshold and a few just above it, int32 [2, pairs]."""
    points = encodings.astype(np.float32)
    squares = np.einsum("ij,ij->i", points, points)
    blocks, count = [], 0
    for start in range(0, len(points), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distance = squares[rows, None] + squares[start:] - 2 * points[rows] @ points[start:].T
        pairs = np.nonzero(np.triu(distance <= (threshold + _SLACK) ** 2, 1))
        blocks.append(np.array(pairs, np.int32) + np.int32(start))
        count += len(pairs[0])
        if count > MAX_PAIRS:
            raise TableError(
                f"expected at most {MAX_PAIRS:,} pairs of originals within {threshold:g}, found "
                f"more among {len(points):,}, too many for the memory; use a lower --threshold"
            )
    return np.concatenate(blocks, axis=1)


class _NeighbourChain:
    """The groups, while they are joined; closures are the groups at the start."""

    def __init__(
        self, points: Encodings, closure: Codes, different: Codes, threshold: float
    ) -> None:
        from scipy.sparse import coo_array
        from scipy.spatial.distance import cdist

        # First, because its matrices need the most memory.
        one, two = _pairs_within(points, threshold)
        both = np.concatenate([one, two]), np.concatenate([two, one])
        shape = len(points), len(points)
        self._neighbours = coo_array((np.ones(len(both[0]), np.bool_), both), shape).tocsr()
        #: The group of every point; the numbers have gaps.
        self.group = closure.copy()
        self._points, self._threshold, self._distances = points, threshold, cdist
        order = np.argsort(closure, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(closure))[:-1])
        self._means = np.empty((2 * len(self._members), points.shape[1]))
        self._means[: len(self._members)] = [points[each].mean(axis=0) for each in self._members]
        # For each group the closures in it, and those that must stay out of it.
        self._inside = {int(c): {int(c)} for c in np.unique(closure[different])}
        self._outside: dict[int, set[int]] = {c: set() for c in self._inside}
        for first, second in closure[different].tolist():
            self._outside[first].add(second)
            self._outside[second].add(first)

    def run(self) -> Iterator[Merge]:
        """Join groups until none are within the threshold; yield every merge."""
        waiting = deque(range(len(self._members)))
        while waiting:
            start = waiting.popleft()
            # Each group of the chain, after its distance to the one before.
            chain = [(np.inf, start)] if len(self._members[start]) else []
            while chain:
                distance, group = chain[-1]
                previous = (distance, chain[-2][1]) if len(chain) > 1 else None
                nearest = self._nearest(group, previous)
                if nearest is None:
                    chain.pop()  # its distance to every later group is above the threshold too
                elif nearest != previous:
                    chain.append(nearest)
                else:
                    first, second = sorted((chain.pop()[1], chain.pop()[1]))
                    yield Merge(distance, self._members[first], self._members[second])
                    waiting.append(self._join(first, second))

    def _nearest(self, group: int, best: tuple[float, int] | None) -> tuple[float, int] | None:
        """Return the nearest group within the threshold, after its distance; ties go to `best`."""
        others = self._adjacent(group)
        apart = self._means[others] - self._means[group]
        bounds = np.sqrt((apart * apart).sum(axis=1))
        for at in bounds.argsort(kind="stable").tolist():
            limit = self._threshold if best is None else best[0]
            if bounds[at] > limit:
                break
            distance = self._average(group, int(others[at]))
            if distance < limit or (best is None and distance <= limit):
                best = distance, int(others[at])
        return best

    def _adjacent(self, group: int) -> Codes:
        """Return the groups with a neighbour of a member that may be joined, int64 [groups]."""
        indices, starts = self._neighbours.indices, self._neighbours.indptr
        slices = [indices[starts[p] : starts[p + 1]] for p in self._members[group].tolist()]
        others: Codes = np.unique(self.group[np.concatenate(slices)])
        others = others[others != group]
        if not (outside := self._outside.get(group)):
            return others
        allowed = (each for each in others.tolist() if not outside & self._inside.get(each, set()))
        return np.fromiter(allowed, np.int64)

    def _average(self, one: int, other: int) -> float:
        """Return the average distance of two groups, the same in either order."""
        first, second = self._members[min(one, other)], self._members[max(one, other)]
        if len(first) == len(second) == 1:
            apart = self._points[first[0]] - self._points[second[0]]
            return float(np.sqrt(apart @ apart))
        points, total = self._points[second], 0.0
        for at in range(0, len(first), _BLOCK):
            total += float(self._distances(self._points[first[at : at + _BLOCK]], points).sum())
        return total / (len(first) * len(second))

    def _join(self, first: int, second: int) -> int:
        """Join two groups; return the number of the new one."""
        new, sides = len(self._members), (self._members[first], self._members[second])
        members = np.sort(np.concatenate(sides))
        sums = self._means[first] * len(sides[0]) + self._means[second] * len(sides[1])
        self._means[new] = sums / len(members)
        self.group[members] = new
        self._members.append(members)
        for sets in (self._inside, self._outside):
            if joined := sets.get(first, set()) | sets.get(second, set()):
                sets[new] = joined
        self._members[first] = self._members[second] = members[:0]
        return new


def join_links(
    group: Codes, weight: Codes, links: Codes, different: Codes, most: int | None = None
) -> tuple[Codes, list[tuple[int, int]], list[int]]:
    """Join groups along links in their order.

    Args:
        group: int64 [n], the group of each node.
        weight: int64 [n], what each node adds to the size of its group.
        links: int64 [links, 2], nodes.
        different: int64 [pairs, 2], nodes that must not be in one group.
        most: largest weight of a group that is joined; None for no limit.

    Returns:
        The group of each node, int64 [n], whose numbers have gaps; for each join the number of its
        link, and the weight of the smaller group; and the numbers of the links between groups that
        would have grown too large.
    """
    weights = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.add.at(weights, group, weight)
    parent, sizes = list(range(len(weights))), weights.tolist()
    apart: dict[int, set[int]] = {}
    for first, second in group[different].tolist():
        apart.setdefault(first, set()).add(second)
        apart.setdefault(second, set()).add(first)

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    used, refused = [], []
    for number, (first, second) in enumerate(group[links].tolist()):
        one, other = sorted((root(first), root(second)))
        if one == other or other in apart.get(one, ()):
            continue
        if most is not None and sizes[one] + sizes[other] > most:
            refused.append(number)
            continue
        used.append((number, min(sizes[one], sizes[other])))
        # The lower number is the root of both.
        parent[other] = one
        sizes[one] += sizes[other]
        for each in apart.pop(other, ()):
            apart[each] = (apart[each] - {other}) | {one}
            apart.setdefault(one, set()).add(each)
    roots = np.array([root(member) for member in range(len(parent))], np.int64)
    return roots[group], used, refused
