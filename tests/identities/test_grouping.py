from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from manifests.errors import TableError
from manifests.identities import linkage
from manifests.identities.linkage import group_by_average_linkage

NONE = np.empty((0, 2), np.int64)
seeds = st.integers(0, 2**32 - 1)


def made_up(count: int, people: int, seed: int) -> np.ndarray:
    """Encodings of made-up people, some of them hard to tell apart."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 0.12, (people, 16))
    return centres[random.integers(0, people, count)] + random.normal(0, 0.08, (count, 16))


def partition(group: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(group == each).tolist()) for each in set(group.tolist())}


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 80), st.integers(1, 9))
def test_the_groups_are_those_of_scipy_over_all(seed: int, count: int, people: int) -> None:
    points = made_up(count, people, seed)
    group, merges = group_by_average_linkage(points, 0.5, NONE, NONE)
    if count == 1:
        assert group.tolist() == [0]
        return
    tree = hierarchy.linkage(points, "average")
    assert partition(group) == partition(hierarchy.fcluster(tree, 0.5, "distance"))
    heights = [height for height in tree[:, 2] if 0.45 < height <= 0.5]
    assert sorted(merge.distance for merge in merges) == pytest.approx(heights)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_the_groups_are_those_of_scipy_with_settled_pairs(seed: int) -> None:
    points, same = made_up(60, 6, seed), np.array([[0, 1], [1, 2]])
    different = np.array([*([a, 3] for a in (0, 1, 2)), [4, 5]])
    group, _ = group_by_average_linkage(points, 0.5, same, different)
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    for pairs, value in ((combinations((0, 1, 2), 2), 0.0), (different.tolist(), 1e12)):
        for one, two in pairs:
            distance[one, two] = distance[two, one] = value
    tree = hierarchy.linkage(squareform(distance, checks=False), "average")
    assert partition(group) == partition(hierarchy.fcluster(tree, 0.5, "distance"))
    assert group[0] == group[1] == group[2] != group[3]
    assert group[4] != group[5]


def test_the_order_of_the_encodings_does_not_matter() -> None:
    points = made_up(70, 5, 3)
    order = np.random.default_rng(0).permutation(len(points))
    one = group_by_average_linkage(points, 0.5, NONE, NONE)[0]
    other = group_by_average_linkage(points[order], 0.5, NONE, NONE)[0]
    assert partition(one[order]) == partition(other)


def test_merges_name_the_two_sides() -> None:
    points = np.array([[0.0], [0.1], [0.53], [5.0]])
    _, (merge,) = group_by_average_linkage(points, 0.5, NONE, NONE)
    assert merge.distance == pytest.approx(0.48)
    assert sorted([merge.first.tolist(), merge.second.tolist()]) == [[0, 1], [2]]


def test_too_many_pairs_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkage, "MAX_PAIRS", 5)
    with pytest.raises(TableError, match=r"expected at most 5 pairs .* use a lower --threshold"):
        group_by_average_linkage(np.zeros((6, 3)), 0.5, NONE, NONE)


def test_no_encodings_make_no_groups() -> None:
    assert not len(group_by_average_linkage(np.empty((0, 128)), 0.5, NONE, NONE)[0])


def test_average_linkage_does_not_chain() -> None:
    points = np.arange(12.0)[:, None] * 0.3
    group = group_by_average_linkage(points, 0.5, NONE, NONE)[0]
    assert all(
        abs(points[a] - points[b]) < 1.2
        for a, b in combinations(range(12), 2)
        if group[a] == group[b]
    )
