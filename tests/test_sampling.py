import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfdc_prep.sampling import SAMPLINGS, choose


def test_even_frames_leave_out_both_ends() -> None:
    assert choose("even", 10, 300, (0, 250)) == [27, 55, 82, 109, 136, 164, 191, 218, 245, 273]


def test_a_single_even_frame_is_the_keyframe_nearest_the_middle() -> None:
    assert choose("even", 1, 300, (0, 175, 250)) == [175]


def test_without_keyframes_a_single_frame_is_the_middle() -> None:
    assert choose("even", 1, 300, ()) == [150]


def test_first_frames_come_first() -> None:
    assert choose("first", 3, 300, (0, 250)) == [0, 1, 2]


def test_keyframes_are_shared_out_evenly_with_what_follows_them() -> None:
    assert choose("keyframes", 6, 300, (0, 250)) == [0, 4, 8, 250, 254, 258]


def test_a_short_stretch_after_the_last_keyframe_is_filled_up_elsewhere() -> None:
    assert choose("keyframes", 4, 252, (0, 250)) == [0, 4, 8, 250]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@given(wanted=st.integers(1, 400), count=st.integers(1, 400), keys=st.sets(st.integers(0, 399)))
def test_positions_are_ascending_distinct_and_as_many_as_there_are(
    sampling: str, wanted: int, count: int, keys: set[int]
) -> None:
    keyframes = sorted(k for k in keys if k < count)
    chosen = choose(sampling, wanted, count, keyframes)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(wanted, count)
    assert all(0 <= index < count for index in chosen)
