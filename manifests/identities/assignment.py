"""Assigns an estimated identity to every clip, from the encodings and the settled pairs.

A family takes the identity of its original. Only good faces are grouped: a family whose faces
are all weak evidence (dark, profile, small, spread) and a family without a face are their own
identity, unless a settled pair says otherwise.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from manifests.identities.constraints import Constraints, SettledPair, resolve_pairs
from manifests.identities.evidence import (
    MARGIN_ABOVE,
    FamilyFaces,
    GroupPair,
    close_pairs,
    family_faces,
)
from manifests.identities.grouping import Encodings, Merge, group_by_average_linkage
from manifests.identities.quality import NEAR
from manifests.schema import IDENTITY_SCHEMA
from manifests.tables.factorize import Codes, factorize_sorted
from manifests.tables.families import connected_groups

#: Largest average distance at which two groups are joined.
THRESHOLD = 0.5
SOURCES = ("real", "uncertain", "none")


@dataclass(frozen=True)
class Identities:
    """The identities of a manifest, and what is uncertain about them.

    Attributes:
        table: with the columns of `IDENTITY_SCHEMA`, one row per clip, in the order given.
        families: string [families], sorted.
        identity: int64 [families], the family that names the identity.
        pairs: groups that may show one person, or were joined just so, not settled; their
            members are numbers of families.
        doubts: for each family the reasons why it is uncertain, if any.
        identified: bool for each family, whether it has a face or a settled pair.
    """

    table: pa.Table
    families: pa.Array
    identity: Codes
    pairs: tuple[GroupPair, ...]
    doubts: dict[int, tuple[str, ...]]
    identified: frozenset[int]

    @property
    def people(self) -> list[tuple[int, int]]:
        """The identities with a face, largest first: the family that names it, its families."""
        counts = Counter(int(self.identity[family]) for family in sorted(self.identified))
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def assign_identities(
    clips: pa.Table,
    encodings: pa.Table,
    settled: list[SettledPair],
    threshold: float = THRESHOLD,
) -> Identities:
    """Estimate who is filmed in every clip.

    Args:
        clips: one row per clip with the columns video, part, family and label.
        encodings: with the columns of `ENCODING_SCHEMA`.
        settled: pairs that a person decided.
        threshold: largest average distance at which two groups are joined.

    Raises:
        TableError: the settled pairs are not of these clips or contradict each other, or too
            many originals are linked by small distances.
    """
    (family,), names = factorize_sorted(clips["family"])
    rules = resolve_pairs(settled, clips["video"], family, names)
    faces = family_faces(encodings, names)
    good = np.array([not doubts for doubts in faces.doubts], bool)
    group, merges = _group_families(faces, good, rules, threshold)
    pairs = _uncertain_pairs(faces, good, group, merges, rules, threshold)
    doubts = _doubts(faces, group, pairs, rules)
    identified = frozenset([*faces.family.tolist(), *rules.same.ravel().tolist()])
    identity = _first_members(group)[group]
    columns = _Columns(faces, good, group, doubts, identified)
    return Identities(
        columns.table(clips, family, names.take(pa.array(identity))),
        names,
        identity,
        pairs,
        doubts,
        identified,
    )


def _group_families(
    faces: FamilyFaces, good: np.ndarray, rules: Constraints, threshold: float
) -> tuple[Codes, list[Merge]]:
    """Return the group of every family, int64 [families], and the merges just below the threshold.

    The members of the merges are numbers of families.
    """
    family = faces.family[good]
    closure = rules.closure[family]
    forbidden = _forbidden(closure, rules)
    # A settled pair joins whole groups, unless that would join people known to be different;
    # then linkage itself starts from the pairs, which keeps to every one of them.
    for same in (forbidden[:0], _chains(closure)):
        grouping = group_by_average_linkage(faces.mean[good], threshold, same, forbidden)
        first = _first_members(grouping.group)[grouping.group]
        edges = np.concatenate([np.stack([family, family[first]], axis=1), rules.same])
        group = connected_groups(len(rules.closure), edges[:, 0], edges[:, 1])
        if (group[rules.different[:, 0]] != group[rules.different[:, 1]]).all():
            break
    merges = [Merge(m.distance, family[m.first], family[m.second]) for m in grouping.merges]
    return group, merges


def _chains(code: Codes) -> Codes:
    """Return pairs of neighbours that connect all positions with equal codes, int64 [pairs, 2]."""
    order = np.argsort(code, kind="stable")
    equal = code[order[1:]] == code[order[:-1]]
    return np.stack([order[:-1][equal], order[1:][equal]], axis=1)


def _forbidden(closure: Codes, rules: Constraints) -> Codes:
    """Return all pairs of positions that must not be in one group, int64 [pairs, 2]."""
    pairs = [
        np.stack(np.meshgrid(*(np.flatnonzero(closure == c) for c in two)), axis=-1).reshape(-1, 2)
        for two in rules.closure[rules.different]
    ]
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


def _first_members(group: Codes) -> Codes:
    """Return the first member of each group, int64 [groups]."""
    return np.unique(group, return_index=True)[1]


def _uncertain_pairs(
    faces: FamilyFaces,
    good: np.ndarray,
    group: Codes,
    merges: list[Merge],
    rules: Constraints,
    threshold: float,
) -> tuple[GroupPair, ...]:
    """Return the pairs that are not settled, closest first."""
    used = _represents(faces, good, group)
    family, points = faces.family[used], faces.mean[used]
    compact = np.unique(group[family], return_inverse=True)[1]
    settled = {frozenset(pair) for pair in group[rules.different].tolist()}
    found = [
        GroupPair(pair.distance, int(family[pair.first]), int(family[pair.second]), False)
        for pair in close_pairs(points, compact, threshold + MARGIN_ABOVE)
    ]
    found = [p for p in found if frozenset((group[p.first], group[p.second])) not in settled]
    at = dict(zip(faces.family.tolist(), faces.mean, strict=True))
    found += [_joined(merge, at) for merge in merges if not _is_settled(merge, rules)]
    return tuple(sorted(found, key=lambda pair: (pair.joined, pair.distance, pair.first)))


def _represents(faces: FamilyFaces, good: np.ndarray, group: Codes) -> np.ndarray:
    """Return which faces stand for their group: the good ones, or all if there is none."""
    has_good = np.zeros(int(group.max(initial=-1)) + 1, bool)
    has_good[group[faces.family[good]]] = True
    return good | ~has_good[group[faces.family]]


def _joined(merge: Merge, mean: dict[int, np.ndarray]) -> GroupPair:
    from scipy.spatial.distance import cdist

    distance = cdist(
        *(np.array([mean[int(m)] for m in each]) for each in (merge.first, merge.second))
    )
    at = np.unravel_index(distance.argmin(), distance.shape)
    return GroupPair(merge.distance, int(merge.first[at[0]]), int(merge.second[at[1]]), True)


def _is_settled(merge: Merge, rules: Constraints) -> bool:
    """Whether a settled pair says that the two sides show the same person."""
    return bool(np.intersect1d(rules.closure[merge.first], rules.closure[merge.second]).size)


def _doubts(
    faces: FamilyFaces, group: Codes, pairs: tuple[GroupPair, ...], rules: Constraints
) -> dict[int, tuple[str, ...]]:
    """Return the reasons for doubt of each family that has any."""
    named = set(rules.named.tolist())
    near = {int(group[at]) for pair in pairs for at in (pair.first, pair.second)}
    found = {}
    for family, doubts in zip(faces.family.tolist(), faces.doubts, strict=True):
        reasons = () if family in named else doubts
        if int(group[family]) in near:
            reasons = (*reasons, NEAR)
        if reasons:
            found[family] = reasons
    return found


@dataclass(frozen=True)
class _Columns:
    """What the table says of each family."""

    faces: FamilyFaces
    good: np.ndarray
    group: Codes
    doubts: dict[int, tuple[str, ...]]
    identified: frozenset[int]

    def table(self, clips: pa.Table, family: Codes, identity: pa.Array) -> pa.Table:
        """Build the table of `clips`, whose rows belong to these families."""
        families = len(self.group)
        distance, faces = np.full(families, np.nan), np.zeros(families, np.int64)
        distance[self.faces.family] = self._distances()
        faces[self.faces.family] = self.faces.faces
        sources = [self._source(each) for each in range(families)]
        doubts = [",".join(self.doubts.get(each, ())) or None for each in range(families)]
        rows = pa.array(family)
        columns = {
            "identity": identity.take(rows),
            "identity_distance": pa.array(distance.round(4), from_pandas=True).take(rows),
            "identity_source": pa.array(sources, pa.string()).take(rows),
            "identity_faces": pa.array(faces).take(rows),
            "identity_doubts": pa.array(doubts, pa.string()).take(rows),
        }
        own = {name: clips[name] for name in ("video", "part", "family", "label")}
        return pa.table({**own, **columns}).cast(IDENTITY_SCHEMA)

    def _source(self, family: int) -> str:
        if family not in self.identified:
            return "none"
        return "uncertain" if family in self.doubts else "real"

    def _distances(self) -> Encodings:
        """Return the distance of each face to the mean of its group, float64 [n]."""
        used = _represents(self.faces, self.good, self.group)
        group = self.group[self.faces.family]
        sums = np.zeros((len(self.group), self.faces.mean.shape[1]))
        np.add.at(sums, group[used], self.faces.mean[used])
        counts = np.bincount(group[used], minlength=len(self.group))
        means = sums[group] / counts[group][:, None]
        distance: Encodings = np.linalg.norm(self.faces.mean - means, axis=1)
        return distance
