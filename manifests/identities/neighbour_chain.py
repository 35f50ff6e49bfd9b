"""Average linkage up to a threshold, in memory that grows with the pairs within it.

scipy's linkage holds all distances. Here only the pairs within the threshold are held, and the
average distance of two groups is computed from their members when it is needed:

- Groups whose average distance is within the threshold have a pair of members within it, so the
  neighbours of a group are found among the pairs.
- The distance of two means is at most the average distance of their groups, so most neighbours
  are ruled out by their means.

The order of merges is that of the nearest-neighbour chain (Murtagh 1983; Müllner 2011,
arXiv:1109.2378), which gives the same groups as merging the closest pair of all each time.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from manifests.tables.factorize import Codes

Points = npt.NDArray[np.float64]

#: Rows of a distance matrix in memory at a time.
_BLOCK = 1024


class NeighbourChain:
    """Groups points; see the module.

    Args:
        points: float64 [n, d].
        closure: int64 [n], equal for points that are one group from the start, without gaps.
        different: int64 [pairs, 2], points that must not be in one group.
        pairs: int64 [pairs, 2], all pairs of points within the threshold.
        threshold: largest average distance at which two groups are joined.
    """

    def __init__(
        self, points: Points, closure: Codes, different: Codes, pairs: Codes, threshold: float
    ) -> None:
        count = int(closure.max()) + 1
        self._points = points
        self._threshold = threshold
        self._group = closure.copy()
        order = np.argsort(closure, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(closure))[:-1])
        self._means = np.empty((2 * count, points.shape[1]))
        self._means[:count] = [points[each].mean(axis=0) for each in self._members]
        # For each group the closures in it, and those that must stay out of it.
        self._inside = {int(c): {int(c)} for c in np.unique(closure[different])}
        self._outside: dict[int, set[int]] = {c: set() for c in self._inside}
        for first, second in closure[different].tolist():
            self._outside[first].add(second)
            self._outside[second].add(first)
        # Neighbours of point p: _neighbours[_starts[p] : _starts[p + 1]].
        both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int32)
        both = both[np.argsort(both[:, 0], kind="stable")]
        self._neighbours = np.ascontiguousarray(both[:, 1])
        self._starts = np.searchsorted(both[:, 0], np.arange(len(points) + 1))

    def run(self) -> Iterator[tuple[float, Codes, Codes]]:
        """Join groups until none are within the threshold.

        Yields:
            Every merge: the distance, and the points of both groups, int64 [members] each.
        """
        waiting = deque(range(len(self._members)))
        while waiting:
            start = waiting.popleft()
            if not len(self._members[start]):
                continue
            chain = [start]
            while chain:
                previous = chain[-2] if len(chain) > 1 else None
                nearest = self._nearest(chain[-1], previous)
                if nearest is None:
                    chain.pop()  # its distance to every later group is above the threshold too
                elif nearest[1] != previous:
                    chain.append(nearest[1])
                else:
                    first, second = sorted((chain.pop(), chain.pop()))
                    yield nearest[0], self._members[first], self._members[second]
                    waiting.append(self._join(first, second))

    @property
    def group(self) -> Codes:
        """The group of every point, int64 [n]; the numbers have gaps."""
        return self._group

    def _nearest(self, group: int, previous: int | None) -> tuple[float, int] | None:
        """Return the nearest group within the threshold and its distance; ties go to `previous`."""
        best: tuple[float, int] | None = None
        if previous is not None:
            best = self._average(group, previous), previous
        others = self._adjacent(group)
        bounds = np.linalg.norm(self._means[others] - self._means[group], axis=1)
        for at in np.argsort(bounds, kind="stable").tolist():
            limit = self._threshold if best is None else best[0]
            if bounds[at] > limit:
                break
            other = int(others[at])
            distance = self._average(group, other)
            if distance < limit or (best is None and distance <= limit):
                best = distance, other
        return best

    def _adjacent(self, group: int) -> Codes:
        """Return the groups with a neighbour of a member that may be joined, int64 [groups]."""
        slices = [
            self._neighbours[self._starts[point] : self._starts[point + 1]]
            for point in self._members[group].tolist()
        ]
        others: Codes = np.unique(self._group[np.concatenate(slices)])
        others = others[others != group]
        outside = self._outside.get(group)
        if not outside:
            return others
        allowed = [
            other for other in others.tolist() if not outside & self._inside.get(other, set())
        ]
        return np.array(allowed, np.int64)

    def _average(self, one: int, other: int) -> float:
        """Return the average distance of two groups, the same in either order."""
        from scipy.spatial.distance import cdist

        first, second = (self._members[each] for each in sorted((one, other)))
        if len(first) == len(second) == 1:
            return float(np.linalg.norm(self._points[first[0]] - self._points[second[0]]))
        total = sum(
            float(cdist(self._points[first[at : at + _BLOCK]], self._points[second]).sum())
            for at in range(0, len(first), _BLOCK)
        )
        return total / (len(first) * len(second))

    def _join(self, first: int, second: int) -> int:
        """Join two groups; return the number of the new one."""
        new, sizes = len(self._members), [len(self._members[each]) for each in (first, second)]
        members = np.sort(np.concatenate([self._members[first], self._members[second]]))
        self._means[new] = np.average(self._means[[first, second]], axis=0, weights=sizes)
        self._group[members] = new
        self._members.append(members)
        for sets in (self._inside, self._outside):
            joined = sets.get(first, set()) | sets.get(second, set())
            if joined:
                sets[new] = joined
        self._members[first] = self._members[second] = members[:0]
        return new
