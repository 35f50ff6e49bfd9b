import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.balancing.balance import choose_clips, largest_common_sum, reachable_sums

clips = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(deadline=None)
@given(clips, st.integers(0, 60))
def test_reachable_sums_match_brute_force(sizes: list[int], limit: int) -> None:
    sums = {0}
    for size in sizes:
        sums |= {one + size for one in sums}
    bits = reachable_sums(np.array(sizes), limit)
    assert {n for n in range(limit + 1) if bits >> n & 1} == {n for n in sums if n <= limit}


@settings(deadline=None)
@given(clips, clips, st.integers(0, 60))
def test_both_classes_are_filled_exactly(one: list[int], two: list[int], limit: int) -> None:
    rows = largest_common_sum((np.array(one), np.array(two)), limit)
    for sizes in (np.array(one), np.array(two)):
        assert sizes[choose_clips(sizes, rows)].sum() == rows


def test_the_first_clips_come_first() -> None:
    assert choose_clips(np.array([2, 2, 2, 2]), 4).tolist() == [True, True, False, False]
    assert choose_clips(np.array([2, 2, 3, 1]), 5).tolist() == [True, True, False, True]
