"""Assigns an estimated identity to every clip, from the encodings and the settled pairs.

A family takes the identity of its original, or that of the face of its fakes where no crop of the
original is there. A family without a face is its own identity, unless its pictures or a settled
pair say otherwise.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from manifests.identities.constraints import SettledPair, resolve_pairs
from manifests.identities.doubts import doubts_of_families, represents, uncertain_pairs
from manifests.identities.evidence import FamilyFaces, GroupPair, family_faces
from manifests.identities.grouping import Encodings
from manifests.identities.joining import group_families
from manifests.identities.likeness import NO_PICTURES, FamilyPictures
from manifests.schema import IDENTITY_SCHEMA
from manifests.tables.factorize import Codes, factorize_sorted

#: Largest average distance at which two groups are joined.
THRESHOLD = 0.5
SOURCES = ("real", "fake", "uncertain", "none")


@dataclass(frozen=True)
class Identities:
    """The identities of a manifest, and what is uncertain about them.

    Attributes:
        table: with the columns of `IDENTITY_SCHEMA`, one row per clip, in the order given.
        families: string [families], sorted.
        identity: int64 [families], the family that names the identity.
        pairs: groups that a person should look at, most important first; their members are
            numbers of families.
        doubts: for each family the reasons why it is uncertain, if any.
        identified: the families that have a face, a settled pair or a near-identical picture.
        faked: those whose only face is that of fakes.
        alike: families with a picture that is near-identical to one of another family.
    """

    table: pa.Table
    families: pa.Array
    identity: Codes
    pairs: tuple[GroupPair, ...]
    doubts: dict[int, tuple[str, ...]]
    identified: frozenset[int]
    faked: frozenset[int]
    alike: int

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
    pictures: FamilyPictures = NO_PICTURES,
) -> Identities:
    """Estimate who is filmed in every clip.

    Args:
        clips: one row per clip with the columns video, part, family and label.
        encodings: with the columns of `ENCODING_SCHEMA`.
        settled: pairs that a person decided.
        threshold: largest average distance at which two groups are joined.
        pictures: of the families, numbered by name.

    Raises:
        TableError: the settled pairs are not of these clips or contradict each other, or too
            many originals are linked by small distances.
    """
    (family,), names = factorize_sorted(clips["family"])
    rules = resolve_pairs(settled, clips, family, names)
    faces = family_faces(encodings, names)
    groups = group_families(faces, pictures, rules, threshold)
    pairs = uncertain_pairs(faces, groups, rules, threshold)
    doubts = doubts_of_families(faces, groups.group, pairs, rules)
    known = np.concatenate([faces.family, rules.same.ravel(), pictures.alike.ravel()])
    identified = frozenset(known.tolist())
    faked = frozenset(faces.family[~faces.filmed].tolist())
    identity = np.unique(groups.group, return_index=True)[1][groups.group]
    columns = _Columns(faces, groups.group, doubts, identified, faked)
    return Identities(
        columns.table(clips, family, names.take(pa.array(identity))),
        names,
        identity,
        pairs,
        doubts,
        identified,
        faked,
        len(np.unique(pictures.alike)),
    )


@dataclass(frozen=True)
class _Columns:
    """What the table says of each family."""

    faces: FamilyFaces
    group: Codes
    doubts: dict[int, tuple[str, ...]]
    identified: frozenset[int]
    faked: frozenset[int]

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
        if family in self.doubts:
            return "uncertain"
        return "fake" if family in self.faked else "real"

    def _distances(self) -> Encodings:
        """Return the distance of each face to the mean of its group, float64 [n]."""
        used = represents(self.faces, self.group)
        group = self.group[self.faces.family]
        sums = np.zeros((len(self.group), self.faces.mean.shape[1]))
        np.add.at(sums, group[used], self.faces.mean[used])
        counts = np.bincount(group[used], minlength=len(self.group))
        means = sums[group] / counts[group][:, None]
        distance: Encodings = np.linalg.norm(self.faces.mean - means, axis=1)
        return distance
