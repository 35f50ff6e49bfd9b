import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfdc_prep.video.sampling import SAMPLINGS, choose
from dfdc_prep.video.timeline import Timeline


def test_even_frames_leave_out_both_ends() -> None:
    assert choose("even", 10, Timeline(300, (0, 250))) == [
        *(27, 55, 82, 109, 136, 164, 191, 218),
        *(250, 273),  # a keyframe is near
    ]


def test_even_frames_are_such_as_others_refer_to_where_one_is_near() -> None:
    clip = Timeline(40, (0,), (0, 9, 21, 39))
    assert choose("even", 3, clip) == [9, 21, 30]


def test_a_single_even_frame_is_the_keyframe_nearest_the_middle() -> None:
    assert choose("even", 1, Timeline(300, (0, 175, 250))) == [175]


def test_without_keyframes_a_single_frame_is_the_middle() -> None:
    assert choose("even", 1, Timeline(300, ())) == [150]


def test_first_frames_come_first() -> None:
    assert choose("first", 3, Timeline(300, (0, 250))) == [0, 1, 2]


def test_keyframes_are_shared_out_evenly_with_what_follows_them() -> None:
    assert choose("keyframes", 6, Timeline(300, (0, 250))) == [0, 4, 8, 250, 254, 258]


def test_a_short_stretch_after_the_last_keyframe_is_filled_up_elsewhere() -> None:
    assert choose("keyframes", 4, Timeline(252, (0, 250))) == [0, 4, 8, 250]


def test_exact_frames_are_the_evenly_spaced_ones_whatever_is_near() -> None:
    clip = Timeline(300, (0, 175, 250), (0, 26, 175, 250))
    assert choose("even", 3, clip, exact=True) == [75, 150, 225]
    assert choose("even", 1, clip, exact=True) == [150]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@given(
    wanted=st.integers(1, 400),
    count=st.integers(1, 400),
    keys=st.sets(st.integers(0, 399)),
    referred=st.sets(st.integers(0, 399)),
)
def test_positions_are_ascending_distinct_and_as_many_as_there_are(
    sampling: str, wanted: int, count: int, keys: set[int], referred: set[int]
) -> None:
    keyframes = sorted(k for k in keys if k < count)
    references = sorted(r for r in referred if r < count)
    chosen = choose(sampling, wanted, Timeline(count, tuple(keyframes), tuple(references)))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(wanted, count)
    assert all(0 <= index < count for index in chosen)
