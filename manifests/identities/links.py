"""Links: weak evidence that two clips show one person, and the joining of groups along them.

To keep people apart, the safe error is to join. Average linkage leaves one person in several
groups: in another pose, dark, or where only a fake shows the clip. Two kinds of links join these:

- Faces in the same scene: the more alike the scenes are, the further apart the faces may be.
- A face that is weak evidence, and its nearest neighbour.

Links chain strangers where all are followed, so they join the closest first, and no group beyond a
size.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from manifests.identities.evidence import FamilyFaces
from manifests.identities.likeness import FamilyPictures
from manifests.pictures.scenes import LENGTH
from manifests.tables.factorize import Codes

Floats = npt.NDArray[np.float64]

#: Least correlation of two scenes that are alike.
MIN_SCENE = 0.9
#: Largest distance of two faces in scenes that are just alike, and how much more is allowed per
#: unit of correlation above it: 0.75 in the same picture.
SCENE_DISTANCE, _SCENE_WORTH = 0.45, 3.0
#: Largest distance of a weak face from its nearest neighbour.
WEAK_DISTANCE = 0.5
#: Most families in a group that links have joined: this share of all with a face, at least so many.
MAX_SHARE, _MIN_LIMIT = 0.02, 50
#: Rows of a matrix in memory at a time.
_BLOCK = 512


@dataclass(frozen=True)
class Links:
    """Links of families, the strongest first.

    Attributes:
        first, second: int64 [links], numbers of the families.
        distance: float64 [links], of their faces.
    """

    first: Codes
    second: Codes
    distance: Floats


@dataclass(frozen=True)
class Joined:
    """What came of links.

    Attributes:
        group: int64 [n], the group of each node; the numbers have gaps.
        used: int64 [joins, 2], the number of the link of each join, and the weight of the smaller
            of the two groups.
        refused: int64 [refused], links between groups that would have grown too large.
    """

    group: Codes
    used: Codes
    refused: Codes


def find_links(faces: FamilyFaces, pictures: FamilyPictures) -> Links:
    """Find the links of families that have a face."""
    found = [*_scene_links(faces, pictures), *_nearest_links(faces)]
    if not found:
        none = np.empty(0, np.int64)
        return Links(none, none, np.empty(0))
    first, second, distance, strength = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((second, first, strength))
    return Links(first[order], second[order], distance[order])


#: First and second families, the distance of their faces, and the strength: small is strong.
_Found: TypeAlias = tuple[Codes, Codes, Floats, Floats]


def _scene_links(faces: FamilyFaces, pictures: FamilyPictures) -> Iterator[_Found]:
    shown = np.isin(pictures.family, faces.family)
    family, scenes = pictures.family[shown], pictures.scenes[shown]
    face = np.searchsorted(faces.family, family)
    for start in range(0, len(scenes), _BLOCK):
        alike = scenes[start : start + _BLOCK] @ scenes[start:].T / np.float32(LENGTH**2)
        row, column = np.nonzero(alike >= MIN_SCENE)
        later = family[row + start] != family[column + start]
        later &= column > row
        row, column = row[later], column[later]
        worth = _SCENE_WORTH * (alike[row, column].astype(np.float64) - MIN_SCENE)
        row, column = row + start, column + start
        distance = np.linalg.norm(faces.mean[face[row]] - faces.mean[face[column]], axis=1)
        near = distance - worth <= SCENE_DISTANCE
        row, column, distance, worth = row[near], column[near], distance[near], worth[near]
        pair = np.sort(np.stack([family[row], family[column]]), axis=0)
        yield pair[0], pair[1], distance, distance - worth


def _nearest_links(faces: FamilyFaces) -> Iterator[_Found]:
    from scipy.spatial.distance import cdist

    weak, filmed = np.flatnonzero(faces.weak), np.flatnonzero(faces.filmed)
    for start in range(0, len(weak) if len(filmed) else 0, _BLOCK):
        first = weak[start : start + _BLOCK]
        distance = cdist(faces.mean[first], faces.mean[filmed])
        distance[first[:, None] == filmed] = np.inf
        second = filmed[distance.argmin(axis=1)]
        nearest = distance.min(axis=1)
        near = nearest <= WEAK_DISTANCE
        pair = faces.family[first[near]], faces.family[second[near]]
        yield *pair, nearest[near], nearest[near]


def largest_group(faces: int) -> int:
    """Return how many families links may join in one group, of so many with a face."""
    return max(_MIN_LIMIT, round(MAX_SHARE * faces))


def join_links(
    group: Codes, weight: Codes, links: Codes, different: Codes, most: int | None = None
) -> Joined:
    """Join groups along links in their order.

    Args:
        group: int64 [n], the group of each node.
        weight: int64 [n], what each node adds to the size of its group.
        links: int64 [links, 2], nodes.
        different: int64 [pairs, 2], nodes that must not be in one group.
        most: largest weight of a group that is joined; None for no limit.
    """
    union = _Union(group, weight, different)
    used, refused = [], []
    for number, (first, second) in enumerate(group[links].tolist()):
        one, other = union.root(first), union.root(second)
        if one == other or other in union.apart.get(one, ()):
            continue
        smaller, larger = sorted((union.weight[one], union.weight[other]))
        if most is not None and smaller + larger > most:
            refused.append(number)
        else:
            union.join(one, other)
            used.append((number, smaller))
    roots = np.array([union.root(each) for each in range(len(union.parent))], np.int64)
    return Joined(
        roots[group], np.array(used, np.int64).reshape(-1, 2), np.array(refused, np.int64)
    )


@dataclass
class _Union:
    """Disjoint sets of groups with pairs that stay apart."""

    group: Codes
    node_weight: Codes
    different: Codes
    parent: list[int] = field(init=False)
    weight: list[int] = field(init=False)
    apart: dict[int, set[int]] = field(init=False)

    def __post_init__(self) -> None:
        weights = np.zeros(int(self.group.max(initial=-1)) + 1, np.int64)
        np.add.at(weights, self.group, self.node_weight)
        self.parent, self.weight = list(range(len(weights))), weights.tolist()
        self.apart = {}
        for first, second in self.group[self.different].tolist():
            self.apart.setdefault(first, set()).add(second)
            self.apart.setdefault(second, set()).add(first)

    def root(self, group: int) -> int:
        while self.parent[group] != group:
            self.parent[group] = self.parent[self.parent[group]]
            group = self.parent[group]
        return group

    def join(self, one: int, other: int) -> None:
        """Join two roots; the lower number is the root of both."""
        one, other = min(one, other), max(one, other)
        self.parent[other] = one
        self.weight[one] += self.weight[other]
        for each in self.apart.pop(other, ()):
            self.apart[each] = (self.apart[each] - {other}) | {one}
            self.apart.setdefault(one, set()).add(each)
