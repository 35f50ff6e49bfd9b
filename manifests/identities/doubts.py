"""What a person should look at: the pairs of groups that would change a split most.

They were joined by linkage only just or by links, or are just apart, or would have grown too large.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from manifests.identities.evidence import ALONE, NEAR, Encodings, FamilyFaces, Links
from manifests.identities.linkage import Merge
from manifests.identities.table import Constraints
from manifests.tables.codes import Codes, Mask

#: Groups apart by at most the threshold plus this distance may show one person.
MARGIN_ABOVE = 0.10
#: Most pairs that a person is shown.
MAX_SHOWN = 400
#: Most pairs of groups that are compared, the closest means first.
MAX_PAIRS = 20_000
#: Rows of a distance matrix in memory at a time.
_BLOCK = 1024


class Groups(NamedTuple):
    """The families that show one person, and what they rest on; all by numbers of families."""

    group: Codes  # int64 [families], numbered by first member
    merges: list[Merge]  # of linkage, just below the threshold
    links: Links  # between families; of those the ones used and refused, as by `join_links`
    used: list[tuple[int, int]]
    refused: list[int]


class GroupPair(NamedTuple):
    """Two groups that may show one person."""

    distance: float  # the average distance of their members
    first: int  # and second: the closest members, one of each group
    second: int
    joined: bool  # whether they were joined
    moved: int  # families of the smaller group: what changes sides if a person decides otherwise


def represents(faces: FamilyFaces, group: Codes) -> Mask:
    """Return which faces stand for their group, bool [n]: the good ones, or all without one."""
    good = ~faces.weak
    has_good = np.zeros(int(group.max(initial=-1)) + 1, bool)
    has_good[group[faces.family[good]]] = True
    return good | ~has_good[group[faces.family]]


def uncertain_pairs(
    faces: FamilyFaces, groups: Groups, rules: Constraints, threshold: float
) -> tuple[GroupPair, ...]:
    """Return the pairs to show, those that move most families first; settled ones are left out."""
    group = groups.group
    apart = {frozenset(pair) for pair in group[rules.different].tolist()}
    found: dict[tuple[int, int] | frozenset[int], GroupPair] = {}
    for pair in _candidates(faces, groups, threshold):
        sides = frozenset((int(group[pair.first]), int(group[pair.second])))
        if sides in apart or rules.closure[pair.first] == rules.closure[pair.second]:
            continue
        found.setdefault((pair.first, pair.second) if pair.joined else sides, pair)
    order = sorted(found.values(), key=lambda p: (-p.moved, p.distance, p.first, p.second))
    return tuple(order[:MAX_SHOWN])


def _candidates(faces: FamilyFaces, groups: Groups, threshold: float) -> Iterator[GroupPair]:
    group, links = groups.group, groups.links
    sizes = np.bincount(group[faces.family], minlength=len(group))
    # What links did not join because it would be too large: the closest link of each.
    for at in groups.refused:
        first, second, distance, _ = links[at].tolist()
        if group[first] != group[second]:
            moved = int(min(sizes[group[first]], sizes[group[second]]))
            yield GroupPair(distance, first, second, False, moved)
    used = represents(faces, group)
    family = faces.family[used]
    compact = np.unique(group[family], return_inverse=True)[1]
    for pair in close_pairs(faces.mean[used], compact, threshold + MARGIN_ABOVE):
        yield pair._replace(first=int(family[pair.first]), second=int(family[pair.second]))
    for at, moved in groups.used:
        first, second, distance, _ = links[at].tolist()
        yield GroupPair(distance, first, second, True, moved)
    for merge in groups.merges:
        one, two = (np.searchsorted(faces.family, side) for side in (merge.first, merge.second))
        first, second = (int(faces.family[at]) for at in _closest(faces.mean, one, two)[:2])
        yield GroupPair(merge.distance, first, second, True, min(len(one), len(two)))


def close_pairs(points: Encodings, group: Codes, limit: float) -> list[GroupPair]:
    """Return the pairs of groups whose average distance is at most a limit, closest first.

    The distance of the means of two groups is at most their average distance, so only pairs
    with close means are compared, and at most `MAX_PAIRS`.

    Args:
        points: float64 [n, d].
        group: int64 [n], the group of each point, without gaps.
    """
    if not len(points):
        return []
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    means = np.array([points[each].mean(axis=0) for each in members]).reshape(-1, points.shape[1])
    found = []
    for one, two in _close_means(means, limit):
        first, second, distance = _closest(points, members[one], members[two])
        if distance <= limit:
            moved = min(len(members[one]), len(members[two]))
            found.append(GroupPair(distance, first, second, joined=False, moved=moved))
    return sorted(found)


def _closest(points: Encodings, one: Codes, two: Codes) -> tuple[int, int, float]:
    """Return the closest points of two groups, and the average distance of all of theirs."""
    from scipy.spatial.distance import cdist

    distance = cdist(points[one], points[two])
    first, second = np.unravel_index(distance.argmin(), distance.shape)
    return int(one[first]), int(two[second]), float(distance.mean())


def _close_means(means: Encodings, limit: float) -> list[tuple[int, int]]:
    """Return the pairs of means within a limit, at most `MAX_PAIRS`, the closest first."""
    from scipy.spatial.distance import cdist

    blocks = []
    for start in range(0, len(means), _BLOCK):
        distance = cdist(means[start : start + _BLOCK], means[start:])
        first, second = np.nonzero(np.triu(distance <= limit, 1))
        # Keep only what can be among the closest of all.
        near = np.argsort(distance[first, second], kind="stable")[:MAX_PAIRS]
        first, second = first[near], second[near]
        blocks.append((distance[first, second], first + start, second + start))
    distance, first, second = (np.concatenate(each) for each in zip(*blocks, strict=True))
    order = np.lexsort((second, first, distance))[:MAX_PAIRS]
    return list(zip(first[order].tolist(), second[order].tolist(), strict=True))


def doubts_of_families(
    faces: FamilyFaces, group: Codes, pairs: tuple[GroupPair, ...], rules: Constraints
) -> dict[int, tuple[str, ...]]:
    """Return why a person should look at the families of the pairs and at weak faces alone."""
    named = {*rules.same.ravel().tolist(), *rules.different.ravel().tolist()}
    near = {at for pair in pairs for at in (pair.first, pair.second)}
    sizes = np.bincount(group[faces.family], minlength=len(group))
    found = {}
    for family, flaws in zip(faces.family.tolist(), faces.doubts, strict=True):
        alone = bool(flaws) and family not in named and sizes[group[family]] == 1
        reasons = ((ALONE,) if alone else ()) + ((NEAR,) if family in near else ())
        if reasons:
            found[family] = tuple(sorted((*flaws, *reasons)))
    return found
