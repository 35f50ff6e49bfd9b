"""Decides which families show one person: from pictures, faces, settled pairs and links, in turn.

To keep people apart, the safe error is to join:

1. Families with near-identical pictures are one person from the start.
2. Average linkage joins the families whose faces are close, weak ones too.
3. Settled pairs join whole groups.
4. Links join what linkage leaves apart; see `manifests.identities.links`.

Pairs that a person settled as different hold in every step.
"""

from dataclasses import dataclass

import numpy as np

from manifests.identities.constraints import Constraints
from manifests.identities.evidence import FamilyFaces
from manifests.identities.grouping import Merge, group_by_average_linkage, number_by_first
from manifests.identities.likeness import FamilyPictures
from manifests.identities.links import Joined, Links, find_links, join_links, largest_group
from manifests.tables.factorize import Codes
from manifests.tables.families import connected_groups


@dataclass(frozen=True)
class Groups:
    """The families that show one person, and what they rest on; all by numbers of families.

    Attributes:
        group: int64 [families], numbered by first member.
        merges: of linkage, just below the threshold.
        links: between families.
        joined: what came of them.
    """

    group: Codes
    merges: tuple[Merge, ...]
    links: Links
    joined: Joined


def group_families(
    faces: FamilyFaces, pictures: FamilyPictures, rules: Constraints, threshold: float
) -> Groups:
    """Group the families that show one person."""
    linked, merges = _linked(faces, pictures, rules, threshold)
    weight = np.zeros(len(linked), np.int64)
    weight[faces.family] = 1
    links = find_links(faces, pictures)
    joined = join_links(
        linked,
        weight,
        np.stack([links.first, links.second], axis=1),
        rules.different,
        largest_group(len(faces.family)),
    )
    return Groups(number_by_first(joined.group), merges, links, joined)


def _linked(
    faces: FamilyFaces, pictures: FamilyPictures, rules: Constraints, threshold: float
) -> tuple[Codes, tuple[Merge, ...]]:
    """Return the groups without links, int64 [families], and the merges just below the threshold.

    The members of the merges are numbers of families.
    """
    families = len(rules.closure)
    alone, ones = np.arange(families), np.ones(families, np.int64)
    alike = join_links(alone, ones, pictures.alike, rules.different).group
    settled = join_links(rules.closure, ones, pictures.alike, rules.different).group
    family = faces.family[faces.filmed]
    forbidden = _forbidden(settled, family, rules)
    # A settled pair joins whole groups, unless that would join people known to be different;
    # then linkage itself starts from the pairs, which keeps to every one of them.
    for start in (alike, settled):
        grouping = group_by_average_linkage(
            faces.mean[faces.filmed], threshold, _chains(start[family]), forbidden
        )
        first = _first_members(grouping.group)[grouping.group]
        edges = np.concatenate([np.stack([family, family[first]], axis=1), _chains(settled)])
        group = connected_groups(families, edges[:, 0], edges[:, 1])
        if (group[rules.different[:, 0]] != group[rules.different[:, 1]]).all():
            break
    merges = (Merge(m.distance, family[m.first], family[m.second]) for m in grouping.merges)
    return group, tuple(merges)


def _chains(code: Codes) -> Codes:
    """Return pairs of neighbours that connect all positions with equal codes, int64 [pairs, 2]."""
    order = np.argsort(code, kind="stable")
    equal = code[order[1:]] == code[order[:-1]]
    return np.stack([order[:-1][equal], order[1:][equal]], axis=1)


def _forbidden(closure: Codes, family: Codes, rules: Constraints) -> Codes:
    """Return all pairs of positions in `family` that must not be in one group, int64 [pairs, 2]."""
    inside = closure[family]
    pairs = [
        np.stack(np.meshgrid(*(np.flatnonzero(inside == c) for c in two)), axis=-1).reshape(-1, 2)
        for two in closure[rules.different]
    ]
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


def _first_members(group: Codes) -> Codes:
    """Return the first member of each group, int64 [groups]."""
    return np.unique(group, return_index=True)[1]
