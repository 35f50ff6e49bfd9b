"""Estimates who is filmed in every clip, from pictures, faces, settled pairs and links.

To keep people apart, the safe error is to join:

1. Families with near-identical pictures are one person from the start.
2. Average linkage joins the families whose faces are close, weak ones too.
3. Settled pairs join whole groups.
4. Links join what linkage leaves apart; see `manifests.identities.evidence`.

Pairs that a person settled as different hold in every step. A family takes the identity of its
original, or that of the face of its fakes where no crop of the original is there. A family without
a face is its own identity, unless its pictures or a settled pair say otherwise.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from manifests.arrow import IDENTITY_SCHEMA
from manifests.identities.doubts import (
    GroupPair,
    Groups,
    doubts_of_families,
    represents,
    uncertain_pairs,
)
from manifests.identities.evidence import (
    NO_PICTURES,
    FamilyFaces,
    FamilyPictures,
    family_faces,
    find_links,
)
from manifests.identities.linkage import (
    Merge,
    group_by_average_linkage,
    join_links,
    number_by_first,
)
from manifests.identities.table import Constraints, SettledPair, resolve_pairs, write_pairs
from manifests.tables.codes import Codes, factorize_sorted
from manifests.tables.families import connected_groups

#: Largest average distance at which two groups are joined.
THRESHOLD = 0.5
#: Most families in a group that links have joined: this share of all with a face, at least so many.
MAX_SHARE, _MIN_LIMIT = 0.02, 50


@dataclass(frozen=True)
class Identities:
    """The identities of a manifest, and what is uncertain about them."""

    table: pa.Table  # with the columns of `IDENTITY_SCHEMA`, one row per clip, in the order given
    families: pa.Array  # string [families], sorted
    identity: Codes  # int64 [families], the family that names the identity
    # Groups that a person should look at, most important first; members are numbers of families.
    pairs: tuple[GroupPair, ...]
    doubts: dict[int, tuple[str, ...]]  # for each family the reasons why it is uncertain, if any
    # The families that have a face, a settled pair or a near-identical picture.
    identified: frozenset[int]
    faked: frozenset[int]  # those whose only face is that of fakes
    alike: int  # families with a picture that is near-identical to one of another family

    @property
    def people(self) -> list[tuple[int, int]]:
        """The identities with a face, largest first: the family that names it, its families."""
        counts = Counter(int(self.identity[family]) for family in sorted(self.identified))
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def write_pairs(self, path: Path) -> None:
        """Write the uncertain pairs, atomically, with an empty relation to be filled in."""
        rows = []
        for pair in self.pairs:
            first, second = (self.families[side].as_py() for side in (pair.first, pair.second))
            state = "joined" if pair.joined else "apart"
            rows.append((first, second, "", f"{pair.distance:.4f}", state))
        write_pairs(rows, path, ("distance", "state"))


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
    groups = _group_families(faces, pictures, rules, threshold)
    pairs = uncertain_pairs(faces, groups, rules, threshold)
    doubts = doubts_of_families(faces, groups.group, pairs, rules)
    known = np.concatenate([faces.family, rules.same.ravel(), pictures.alike.ravel()])
    identified, faked = frozenset(known.tolist()), frozenset(faces.family[~faces.filmed].tolist())
    identity = np.unique(groups.group, return_index=True)[1][groups.group]

    def source(number: int) -> str:
        if number not in identified:
            return "none"
        return "uncertain" if number in doubts else "fake" if number in faked else "real"

    distance, encoded = np.full(len(names), np.nan), np.zeros(len(names), np.int64)
    # The distance of each face to the mean of its group.
    standing, group = represents(faces, groups.group), groups.group[faces.family]
    sums = np.zeros((len(names), faces.mean.shape[1]))
    np.add.at(sums, group[standing], faces.mean[standing])
    counts = np.bincount(group[standing], minlength=len(names))
    apart = faces.mean - sums[group] / counts[group][:, None]
    distance[faces.family] = np.linalg.norm(apart, axis=1).round(4)
    encoded[faces.family] = faces.faces
    columns = {
        "identity": names.take(pa.array(identity)),
        "identity_distance": pa.array(distance, from_pandas=True),
        "identity_source": pa.array([source(each) for each in range(len(names))], pa.string()),
        "identity_faces": pa.array(encoded),
        "identity_doubts": pa.array(
            [",".join(doubts.get(each, ())) or None for each in range(len(names))], pa.string()
        ),
    }
    own = {name: clips[name] for name in ("video", "part", "family", "label")}
    table = pa.table(own | {name: each.take(pa.array(family)) for name, each in columns.items()})
    alike = len(np.unique(pictures.alike))
    return Identities(
        table.cast(IDENTITY_SCHEMA), names, identity, pairs, doubts, identified, faked, alike
    )


def _group_families(
    faces: FamilyFaces, pictures: FamilyPictures, rules: Constraints, threshold: float
) -> Groups:
    linked, merges = _linked(faces, pictures, rules, threshold)
    weight = np.zeros(len(linked), np.int64)
    weight[faces.family] = 1
    links = find_links(faces, pictures)
    pairs = np.stack([links["first"], links["second"]], axis=1)
    most = max(_MIN_LIMIT, round(MAX_SHARE * len(faces.family)))
    group, used, refused = join_links(linked, weight, pairs, rules.different, most)
    return Groups(number_by_first(group), merges, links, used, refused)


def _linked(
    faces: FamilyFaces, pictures: FamilyPictures, rules: Constraints, threshold: float
) -> tuple[Codes, list[Merge]]:
    """Return the groups without links, int64 [families], and the merges just below the threshold.

    The members of the merges are numbers of families.
    """
    families = len(rules.closure)
    alone, ones = np.arange(families), np.ones(families, np.int64)
    alike = join_links(alone, ones, pictures.alike, rules.different)[0]
    settled = join_links(rules.closure, ones, pictures.alike, rules.different)[0]
    family, means = faces.family[faces.filmed], faces.mean[faces.filmed]
    # All pairs of positions in `family` that must not be in one group.
    inside = settled[family]
    sides = ([np.flatnonzero(inside == c) for c in two] for two in settled[rules.different])
    pairs = [np.stack(np.meshgrid(*two), axis=-1).reshape(-1, 2) for two in sides]
    forbidden = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    # A settled pair joins whole groups, unless that would join people known to be different;
    # then linkage itself starts from the pairs, which keeps to every one of them.
    for start in (alike, settled):
        same = _chains(start[family])
        found, merges = group_by_average_linkage(means, threshold, same, forbidden)
        edges = np.concatenate([family[_chains(found)], _chains(settled)])
        group = connected_groups(families, edges[:, 0], edges[:, 1])
        if (group[rules.different[:, 0]] != group[rules.different[:, 1]]).all():
            break
    return group, [Merge(m.distance, family[m.first], family[m.second]) for m in merges]


def _chains(code: Codes) -> Codes:
    """Return pairs of neighbours that connect all positions with equal codes, int64 [pairs, 2]."""
    order = np.argsort(code, kind="stable")
    equal = code[order[1:]] == code[order[:-1]]
    return np.stack([order[:-1][equal], order[1:][equal]], axis=1)
