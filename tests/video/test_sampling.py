import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dfdc_prep.video.timeline import SAMPLINGS, Timeline, choose_frames


def test_even_frames_omit_both_ends() -> None:
    assert choose_frames("even", 10, Timeline(300, (0, 250))) == [
        *(27, 55, 82, 109, 136, 164, 191, 218),
        *(250, 273),  # 250 is a nearby keyframe
    ]


def test_even_frames_prefer_nearby_reference_frames() -> None:
    clip = Timeline(40, (0,), (0, 9, 21, 39))
    assert choose_frames("even", 3, clip) == [9, 21, 30]


def test_a_single_even_frame_is_the_keyframe_nearest_the_middle() -> None:
    assert choose_frames("even", 1, Timeline(300, (0, 175, 250))) == [175]


def test_without_keyframes_a_single_frame_is_the_middle() -> None:
    assert choose_frames("even", 1, Timeline(300, ())) == [150]


def test_first_takes_the_first_frames() -> None:
    assert choose_frames("first", 3, Timeline(300, (0, 250))) == [0, 1, 2]


def test_frames_are_distributed_evenly_over_keyframes() -> None:
    assert choose_frames("keyframes", 6, Timeline(300, (0, 250))) == [0, 4, 8, 250, 254, 258]


def test_frames_missing_after_a_late_keyframe_are_taken_elsewhere() -> None:
    assert choose_frames("keyframes", 4, Timeline(252, (0, 250))) == [0, 4, 8, 250]


def test_exact_positions_ignore_nearby_keyframes() -> None:
    clip = Timeline(300, (0, 175, 250), (0, 26, 175, 250))
    assert choose_frames("exact", 3, clip) == [75, 150, 225]
    assert choose_frames("exact", 1, clip) == [150]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@given(
    wanted=st.integers(1, 400),
    count=st.integers(1, 400),
    keys=st.sets(st.integers(0, 399)),
    referred=st.sets(st.integers(0, 399)),
)
@example(wanted=128, count=266, keys=set(), referred={133})  # half a step from two positions
def test_positions_are_ascending_distinct_and_as_many_as_there_are(
    sampling: str, wanted: int, count: int, keys: set[int], referred: set[int]
) -> None:
    keyframes = sorted(k for k in keys if k < count)
    references = sorted(r for r in referred if r < count)
    chosen = choose_frames(sampling, wanted, Timeline(count, tuple(keyframes), tuple(references)))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(wanted, count)
    assert all(0 <= index < count for index in chosen)
