"""Links: weak evidence that two clips show one person, and the joining of groups along them.

To keep people apart, the safe error is to join. Average linkage leaves one person in several
groups: in another pose, dark, or where only a fake shows the clip. Two kinds of links join these:

- Faces in the same scene: the more alike the scenes are, the further apart the faces may be.
- A face that is weak evidence, and its nearest neighbour.

Links chain strangers where all are followed, so they join the closest first, and no group beyond a
size.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.identities.evidence import FamilyFaces
from manifests.pictures.near_identical import find_in_table
from manifests.pictures.thumbnails import SCENE_LENGTH, SCENE_SIDE, Pictures, Scenes, scenes
from manifests.tables.codes import Codes, factorize_sorted

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


#: A link of two families, by their numbers: the distance of their faces; the smaller the strength
#: the stronger it is.
LINK = np.dtype(
    [("first", np.int64), ("second", np.int64), ("distance", np.float64), ("strength", np.float64)]
)
Links: TypeAlias = npt.NDArray[Any]


class FamilyPictures(NamedTuple):
    """The pictures of families, which are numbered by name."""

    alike: Codes  # int64 [pairs, 2], families with near-identical pictures, the most alike first
    family: Codes  # int64 [pictures], the family of each
    scenes: Scenes  # float32 [pictures, pixels]


#: What is known of families whose pictures were not read.
NO_PICTURES = FamilyPictures(
    np.empty((0, 2), np.int64),
    np.empty(0, np.int64),
    np.empty((0, SCENE_SIDE * SCENE_SIDE), np.float32),
)


def compare_pictures(manifest: pa.Table, pictures: Pictures) -> FamilyPictures:
    """Compare the pictures of the families of a manifest.

    Args:
        pictures: of rows of the manifest.
    """
    (family,), _ = factorize_sorted(manifest["family"])
    near = find_in_table(pictures, family)
    # Equal pictures, then similar ones.
    seen = np.flatnonzero(near.picture >= 0)
    seen = seen[np.lexsort((family[seen], near.picture[seen]))]
    equal = near.picture[seen[1:]] == near.picture[seen[:-1]]
    same = np.stack([family[seen[:-1]][equal], family[seen[1:]][equal]], axis=1)
    first_row = seen[np.searchsorted(near.picture[seen], np.stack([near.first, near.second], 1))]
    similar = family[first_row][np.lexsort((near.second, near.first, -near.likeness))]
    alike = np.sort(np.concatenate([same, similar.reshape(-1, 2)]), axis=1)
    alike = alike[alike[:, 0] != alike[:, 1]]
    return FamilyPictures(alike, family[pictures.rows], scenes(pictures.thumbnails))


def find_links(faces: FamilyFaces, pictures: FamilyPictures) -> Links:
    """Find the links of families that have a face, the strongest first; [links] of `LINK`."""
    parts = [np.empty(0, LINK), *_scene_links(faces, pictures), *_nearest_links(faces)]
    found = np.concatenate(parts)
    return found[np.lexsort((found["second"], found["first"], found["strength"]))]


def _scene_links(faces: FamilyFaces, pictures: FamilyPictures) -> Iterator[Links]:
    shown = np.isin(pictures.family, faces.family)
    family, scenes = pictures.family[shown], pictures.scenes[shown]
    face = np.searchsorted(faces.family, family)
    for start in range(0, len(scenes), _BLOCK):
        alike = scenes[start : start + _BLOCK] @ scenes[start:].T / np.float32(SCENE_LENGTH**2)
        row, column = np.nonzero(alike >= MIN_SCENE)
        later = (family[row + start] != family[column + start]) & (column > row)
        row, column = row[later], column[later]
        worth = _SCENE_WORTH * (alike[row, column].astype(np.float64) - MIN_SCENE)
        row, column = row + start, column + start
        distance = np.linalg.norm(faces.mean[face[row]] - faces.mean[face[column]], axis=1)
        pair = np.sort(np.stack([family[row], family[column]]), axis=0)
        found = np.rec.fromarrays([*pair, distance, distance - worth], LINK)
        yield found[found["strength"] <= SCENE_DISTANCE]


def _nearest_links(faces: FamilyFaces) -> Iterator[Links]:
    from scipy.spatial.distance import cdist

    weak, filmed = np.flatnonzero(faces.weak), np.flatnonzero(faces.filmed)
    for start in range(0, len(weak) if len(filmed) else 0, _BLOCK):
        first = weak[start : start + _BLOCK]
        distance = cdist(faces.mean[first], faces.mean[filmed])
        distance[first[:, None] == filmed] = np.inf
        second, nearest = filmed[distance.argmin(axis=1)], distance.min(axis=1)
        columns = [faces.family[first], faces.family[second], nearest, nearest]
        yield np.rec.fromarrays(columns, LINK)[nearest <= WEAK_DISTANCE]


def largest_group(faces: int) -> int:
    """Return how many families links may join in one group, of so many with a face."""
    return max(_MIN_LIMIT, round(MAX_SHARE * faces))


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
    sets = _DisjointSets(group, weight, different)
    used, refused = [], []
    for number, (first, second) in enumerate(group[links].tolist()):
        one, other = sets.root(first), sets.root(second)
        if one == other or other in sets.apart.get(one, ()):
            continue
        smaller, larger = sorted((sets.weight[one], sets.weight[other]))
        if most is not None and smaller + larger > most:
            refused.append(number)
        else:
            sets.join(one, other)
            used.append((number, smaller))
    roots = np.array([sets.root(each) for each in range(len(sets.parent))], np.int64)
    return roots[group], used, refused


class _DisjointSets:
    """Disjoint sets of groups with pairs that stay apart."""

    def __init__(self, group: Codes, weight: Codes, different: Codes) -> None:
        weights = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
        np.add.at(weights, group, weight)
        self.parent, self.weight = list(range(len(weights))), weights.tolist()
        self.apart: dict[int, set[int]] = {}
        for first, second in group[different].tolist():
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
