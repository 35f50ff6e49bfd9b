"""What a person should look at: the pairs of groups that would change a split most.

These are groups that linkage left just apart or joined just so, groups that links joined, and those
that links did not join because they would have grown too large.
"""

from collections.abc import Iterator

import numpy as np

from manifests.identities.constraints import Constraints
from manifests.identities.evidence import FamilyFaces, GroupPair, close_pairs
from manifests.identities.grouping import Merge
from manifests.identities.joining import Groups
from manifests.identities.quality import ALONE, NEAR
from manifests.tables.factorize import Codes, Mask

#: Groups apart by at most the threshold plus this distance may show one person.
MARGIN_ABOVE = 0.10
#: Most pairs that a person is shown.
MAX_SHOWN = 400


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
    candidates = (
        *_too_large(groups, faces),
        *_left_apart(faces, group, threshold),
        *_joined_by_links(groups),
        *_joined_just_so(groups.merges, faces),
    )
    for pair in candidates:
        sides = frozenset((int(group[pair.first]), int(group[pair.second])))
        if sides in apart or rules.closure[pair.first] == rules.closure[pair.second]:
            continue
        found.setdefault((pair.first, pair.second) if pair.joined else sides, pair)
    order = sorted(found.values(), key=lambda p: (-p.moved, p.distance, p.first, p.second))
    return tuple(order[:MAX_SHOWN])


def _sizes(faces: FamilyFaces, group: Codes) -> Codes:
    return np.bincount(group[faces.family], minlength=int(group.max(initial=-1)) + 1)


def _too_large(groups: Groups, faces: FamilyFaces) -> Iterator[GroupPair]:
    """Yield the groups that links did not join, the closest link of each."""
    sizes, links = _sizes(faces, groups.group), groups.links
    for at in groups.joined.refused.tolist():
        first, second = int(links.first[at]), int(links.second[at])
        one, other = groups.group[first], groups.group[second]
        if one != other:
            moved = int(min(sizes[one], sizes[other]))
            yield GroupPair(float(links.distance[at]), first, second, False, moved)


def _left_apart(faces: FamilyFaces, group: Codes, threshold: float) -> Iterator[GroupPair]:
    used = represents(faces, group)
    family = faces.family[used]
    compact = np.unique(group[family], return_inverse=True)[1]
    for pair in close_pairs(faces.mean[used], compact, threshold + MARGIN_ABOVE):
        first, second = int(family[pair.first]), int(family[pair.second])
        yield GroupPair(pair.distance, first, second, False, pair.moved)


def _joined_by_links(groups: Groups) -> Iterator[GroupPair]:
    links = groups.links
    for at, moved in groups.joined.used.tolist():
        first, second = int(links.first[at]), int(links.second[at])
        yield GroupPair(float(links.distance[at]), first, second, True, moved)


def _joined_just_so(merges: tuple[Merge, ...], faces: FamilyFaces) -> Iterator[GroupPair]:
    from scipy.spatial.distance import cdist

    at = dict(zip(faces.family.tolist(), faces.mean, strict=True))
    for merge in merges:
        one, two = (np.array([at[int(m)] for m in side]) for side in (merge.first, merge.second))
        closest = np.unravel_index(cdist(one, two).argmin(), (len(one), len(two)))
        pair = int(merge.first[closest[0]]), int(merge.second[closest[1]])
        yield GroupPair(merge.distance, *pair, True, min(len(one), len(two)))


def doubts_of_families(
    faces: FamilyFaces, group: Codes, pairs: tuple[GroupPair, ...], rules: Constraints
) -> dict[int, tuple[str, ...]]:
    """Return the reasons for doubt of each family that a person should look at.

    These are the families of the pairs, and weak faces that resemble nobody's.
    """
    named = set(rules.named.tolist())
    near = {at for pair in pairs for at in (pair.first, pair.second)}
    sizes = _sizes(faces, group)
    found = {}
    for family, flaws in zip(faces.family.tolist(), faces.doubts, strict=True):
        alone = bool(flaws) and family not in named and sizes[group[family]] == 1
        reasons = ((ALONE,) if alone else ()) + ((NEAR,) if family in near else ())
        if reasons:
            found[family] = tuple(sorted((*flaws, *reasons)))
    return found
