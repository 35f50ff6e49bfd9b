"""Evidence of who is filmed: the mean face of each family, its doubts, and pairs too close."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.columns import ENCODING_SIZE
from manifests.identities.grouping import Encodings
from manifests.identities.quality import FAKED, MAX_SPREAD, SPREAD, flaws
from manifests.labels import FAKE
from manifests.tables.factorize import Codes, Mask

#: Most pairs of groups that are compared, the closest means first.
MAX_PAIRS = 20_000
#: Rows of a distance matrix in memory at a time.
_BLOCK = 1024


@dataclass(frozen=True)
class FamilyFaces:
    """The faces of the families that have one.

    Attributes:
        family: int64 [n], number of the family, ascending.
        mean: float64 [n, ENCODING_SIZE], mean encoding of the original, or of its fakes if none of
            its crops is there.
        faces: int64 [n], crops encoded.
        doubts: why the encoding is weak evidence, [n] tuples of the words in
            `manifests.identities.quality`.
    """

    family: Codes
    mean: Encodings
    faces: Codes
    doubts: tuple[tuple[str, ...], ...]

    @property
    def weak(self) -> Mask:
        """Which faces are weak evidence, bool [n]."""
        return np.array([bool(doubts) for doubts in self.doubts], bool)

    @property
    def filmed(self) -> Mask:
        """Which faces are those of originals, bool [n]."""
        return np.array([FAKED not in doubts for doubts in self.doubts], bool)


@dataclass(frozen=True)
class GroupPair:
    """Two groups that may show one person.

    Attributes:
        distance: the average distance of their members.
        first, second: the closest members, one of each group.
        joined: whether they were joined.
        moved: families of the smaller group: what changes sides if a person decides otherwise.
    """

    distance: float
    first: int
    second: int
    joined: bool
    moved: int


def encoding_matrix(encodings: pa.Table) -> Encodings:
    """Return the column `encoding` as an array, float64 [rows, ENCODING_SIZE]."""
    flat = encodings["encoding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix: Encodings = flat.reshape(-1, ENCODING_SIZE).astype(np.float64)
    return matrix


def family_faces(encodings: pa.Table, names: pa.Array) -> FamilyFaces:
    """Average the faces of each family.

    Args:
        encodings: with the columns of `ENCODING_SCHEMA`.
        names: string [families], sorted; families that it lacks are ignored.
    """
    number = pc.index_in(encodings["family"], names)
    encodings = encodings.filter(pc.is_valid(number))
    number = number.drop_null().to_numpy().astype(np.int64)
    matrix = encoding_matrix(encodings)
    looks = encodings.select(["light", "asymmetry", "size"]).to_pylist()
    fake = np.array([label == FAKE for label in encodings["label"].to_pylist()], bool)
    order = np.argsort(number, kind="stable")
    families, starts = np.unique(number[order], return_index=True)
    rows = np.split(order, starts[1:])
    return FamilyFaces(
        families,
        np.array([matrix[each].mean(axis=0) for each in rows if len(each)]).reshape(
            -1, ENCODING_SIZE
        ),
        np.array([len(each) for each in rows if len(each)], np.int64),
        tuple(
            _doubts(matrix[each], [looks[row] for row in each], bool(fake[each].any()))
            for each in rows
            if len(each)
        ),
    )


def _doubts(faces: Encodings, looks: list[dict[str, float]], fake: bool) -> tuple[str, ...]:
    from scipy.spatial.distance import pdist

    found = {flaw for look in looks for flaw in flaws(**look)} | ({FAKED} if fake else set())
    if len(faces) > 1 and pdist(faces).max() > MAX_SPREAD:
        found.add(SPREAD)
    return tuple(sorted(found))


def close_pairs(points: Encodings, group: Codes, limit: float) -> list[GroupPair]:
    """Return the pairs of groups whose average distance is at most a limit, closest first.

    The distance of the means of two groups is at most their average distance, so only pairs
    with close means are compared, and at most `MAX_PAIRS`.

    Args:
        points: float64 [n, d].
        group: int64 [n], the group of each point, without gaps.
    """
    from scipy.spatial.distance import cdist

    if not len(points):
        return []
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    means = np.array([points[each].mean(axis=0) for each in members]).reshape(-1, points.shape[1])
    found = []
    for first, second in _close_means(means, limit):
        one, two = members[first], members[second]
        distance = cdist(points[one], points[two])
        if distance.mean() <= limit:
            at = np.unravel_index(distance.argmin(), distance.shape)
            pair = int(one[at[0]]), int(two[at[1]])
            moved = min(len(one), len(two))
            found.append(GroupPair(float(distance.mean()), *pair, joined=False, moved=moved))
    return sorted(found, key=lambda pair: (pair.distance, pair.first, pair.second))


def _close_means(means: Encodings, limit: float) -> list[tuple[int, int]]:
    """Return the pairs of means within a limit, at most `MAX_PAIRS`, the closest first."""
    blocks = list(_close_in_blocks(means, limit))
    distance, first, second = (np.concatenate(each) for each in zip(*blocks, strict=True))
    order = np.lexsort((second, first, distance))[:MAX_PAIRS]
    return list(zip(first[order].tolist(), second[order].tolist(), strict=True))


def _close_in_blocks(
    means: Encodings, limit: float
) -> Iterator[tuple[npt.NDArray[np.float64], Codes, Codes]]:
    from scipy.spatial.distance import cdist

    for start in range(0, len(means), _BLOCK):
        distance = cdist(means[start : start + _BLOCK], means[start:])
        first, second = np.nonzero(np.triu(distance <= limit, 1))
        # Keep only what can be among the closest of all.
        near = np.argsort(distance[first, second], kind="stable")[:MAX_PAIRS]
        first, second = first[near], second[near]
        yield distance[first, second], first + start, second + start
