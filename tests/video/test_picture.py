"""Parts and scaled copies of a frame agree with the whole frame."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdc_prep.video.picture import Frame, Still
from dfdc_prep.video.reader import open_clip
from tests.conftest import SHARED
from tests.encoded import moving_square

EDGE = ("mmaction2_test.avi", "torchcodec_h264_10bits.mp4", "video_90.mov", "video_180.mov")


def make_frame(pixels: str, colorspace: int, odd: int = 0) -> Frame:
    (image,) = moving_square(1)
    rgb = av.VideoFrame.from_ndarray(image[: 64 - odd, : 96 - odd].copy(), format="rgb24")
    decoded = rgb.reformat(format=pixels)
    decoded.colorspace = colorspace
    return Frame(0, 0.0, decoded)


def first_frame(path: Path) -> Frame:
    with open_clip(path) as video:
        return next(iter(video.frames([0])))


FRAMES = {
    "video range": make_frame("yuv420p", 2),
    "full range": make_frame("yuvj420p", 2),
    "BT.709": make_frame("yuv420p", 1),
    "4:2:2": make_frame("yuv422p", 2),
    "RGB": make_frame("rgb24", 2),
}


def parts(frame: Frame, draw: st.DataObject) -> tuple[int, int, int, int]:
    left, top = (draw.draw(st.integers(0, side - 1)) for side in (frame.width, frame.height))
    return (
        left,
        top,
        draw.draw(st.integers(left + 1, frame.width)),
        draw.draw(st.integers(top + 1, frame.height)),
    )


@pytest.mark.parametrize("name", FRAMES)
@given(draw=st.data())
def test_a_part_equals_that_of_the_whole(name: str, draw: st.DataObject) -> None:
    frame = FRAMES[name]
    left, top, right, bottom = parts(frame, draw)
    whole = frame.rgb()[top:bottom, left:right]
    assert np.array_equal(frame.rgb_part(left, top, right, bottom), whole)


@pytest.mark.parametrize(
    "name", ["dfdc/dfdc_train_part_0/aajsqyyjni.mp4", *(f"edge/{n}" for n in EDGE)]
)
@settings(max_examples=25, deadline=None)
@given(draw=st.data())
def test_a_part_of_a_real_frame_equals_that_of_the_whole(name: str, draw: st.DataObject) -> None:
    frame = first_frame(SHARED / "data" / name)
    left, top, right, bottom = parts(frame, draw)
    whole = frame.rgb()[top:bottom, left:right]
    assert np.array_equal(frame.rgb_part(left, top, right, bottom), whole)


def test_a_frame_with_odd_sides() -> None:
    decoded = av.VideoFrame(95, 63, "yuv420p")
    frame = Frame(0, 0.0, decoded)
    assert np.array_equal(frame.rgb_part(80, 50, 95, 63), frame.rgb()[50:63, 80:95])


def test_a_scaled_copy_is_close_to_the_scaled_whole(real_clips: Path) -> None:
    frame = first_frame(real_clips / "dfdc_train_part_0" / "aajsqyyjni.mp4")
    small = frame.rgb(640)
    expected = cv2.resize(
        frame.rgb(), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA
    )
    assert max(small.shape) == 640
    assert np.abs(small.astype(int) - expected).mean() < 1.5


def test_a_still_is_only_scaled_down() -> None:
    still = Still(np.zeros((100, 200, 3), np.uint8))
    assert still.rgb(50).shape == (25, 50, 3)
    assert still.rgb(500).shape == (100, 200, 3)
    assert still.rgb_part(3, 4, 13, 24).shape == (20, 10, 3)
