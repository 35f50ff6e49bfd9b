import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dfdc_prep.crops import encoding, placement
from dfdc_prep.crops.placement import Square
from dfdc_prep.detectors.base import Face
from dfdc_prep.video.picture import Still


@given(
    x=st.integers(-50, 500),
    y=st.integers(-50, 500),
    w=st.integers(1, 400),
    h=st.integers(1, 400),
    margin=st.floats(0, 2),
)
def test_the_square_is_centered_on_the_box(x: int, y: int, w: int, h: int, margin: float) -> None:
    square = placement.square(Face(x, y, w, h, 1.0), margin)
    assert abs(square.x + square.size / 2 - (x + w / 2)) <= 1
    assert abs(square.y + square.size / 2 - (y + h / 2)) <= 1
    assert abs(square.size - max(w, h) * (1 + 2 * margin)) <= 1


def test_a_crop_keeps_proportions() -> None:
    image = np.zeros((600, 600, 3), np.uint8)
    cv2.circle(image, (300, 300), 80, (255, 255, 255), -1)
    crop = placement.cut(Still(image), placement.square(Face(240, 220, 120, 160, 1.0)), 224)
    lit = np.argwhere(crop[..., 0] > 127)
    height, width = lit.max(axis=0) - lit.min(axis=0)
    assert crop.shape == (224, 224, 3)
    assert abs(int(height) - int(width)) <= 1


def test_pixels_beyond_the_border_are_black() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = placement.cut(Still(image), Square(-50, -50, 100), 100)
    assert not crop[:50].any()
    assert not crop[:, :50].any()
    assert (crop[50:, 50:] == 200).all()


def test_a_square_outside_the_picture_is_black() -> None:
    assert not placement.cut(Still(np.full((9, 9, 3), 7, np.uint8)), Square(50, 50, 10), 32).any()


def test_png_is_lossless_and_in_rgb_order() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    encoded = np.frombuffer(encoding.encode(crop, "png"), np.uint8)
    decoded = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(decoded, crop)
