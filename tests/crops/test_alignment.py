"""Placement of crops: the similarity fits the template, and maps both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from dfdc_prep.crops import placement
from dfdc_prep.crops.placement import EYES, FIVE_POINT, NONE, place, template_points
from dfdc_prep.detectors.base import Face, Landmarks
from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.video.picture import Still

MARKS = Landmarks((250.0, 220.0), (310.0, 232.0), (276.0, 258.0), (246.0, 284.0), (290.0, 294.0))
FACE = Face(220, 180, 110, 150, 0.9, MARKS)
coordinate = st.floats(-500, 2500)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=9))
@pytest.mark.parametrize("align", placement.ALIGNMENTS)
def test_points_map_to_the_crop_and_back(align: str, points: list[tuple[float, float]]) -> None:
    affine = place(FACE, align, 0.3, 224).affine
    back = affine.inverse().map(affine.map(points).tolist())
    assert back == pytest.approx(np.array(points), abs=1e-6)


def test_five_points_are_fitted_as_scikit_image_fits_them() -> None:
    found = place(FACE, FIVE_POINT, 0.15, 256).affine
    theirs = SimilarityTransform.from_estimate(np.array(MARKS), template_points(0.15, 256))
    assert np.column_stack([found.linear, found.offset]) == pytest.approx(theirs.params[:2])


def test_the_template_is_enlarged_as_deepfakebench_does() -> None:
    """By 1.3 in all: moved by 0.15 of the side, then scaled by 1 / 1.3."""
    theirs = (np.array([38.2946, 51.6963]) * 256 / 112 + 0.15 * 256) / 1.3
    assert template_points(0.15, 256)[0] == pytest.approx(theirs)


def test_eyes_lie_on_the_template() -> None:
    mapped = place(FACE, EYES, 0.3, 224).affine.map(MARKS[:2])
    assert mapped == pytest.approx(template_points(0.3, 224)[:2])


def test_an_upright_crop_is_the_square_of_before() -> None:
    found, square = place(FACE, NONE, 0.3, 224), placement.square(FACE, 0.3)
    corners = [(square.x, square.y), (square.x + square.size, square.y + square.size)]
    assert found.affine.map(corners) == pytest.approx(np.array([[0, 0], [224, 224]]))
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    assert (found.cut(Still(image)) == placement.cut(Still(image), square)).all()


@pytest.mark.parametrize("align", [EYES, FIVE_POINT])
def test_pixels_are_where_the_matrix_says(align: str) -> None:
    """A dot in the source is found at its mapped position, to a tenth of a pixel."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[218:222, 248:252] = 255  # around (250, 220), the left eye
    found = place(FACE, align, 0.3, 224)
    levels = found.cut(Still(image))[..., 0].astype(float)
    y, x = np.mgrid[:224, :224] + 0.5
    middle = [(x * levels).sum() / levels.sum(), (y * levels).sum() / levels.sum()]
    assert middle == pytest.approx(found.affine.map([(250, 220)])[0], abs=0.1)


def test_beyond_the_border_is_black() -> None:
    far = Landmarks(*((x - 230, y - 200) for x, y in MARKS))
    cut = place(Face(0, 0, 110, 150, 0.9, far), FIVE_POINT, 0.3, 224)
    crop = cut.cut(Still(np.full((480, 640, 3), 200, np.uint8)))
    assert crop[0, 0].tolist() == [0, 0, 0]
    assert crop[112, 112].tolist() == [200, 200, 200]


def test_a_face_without_landmarks_is_refused() -> None:
    with pytest.raises(DfdcPrepError, match="use --detector yunet"):
        place(Face(1, 1, 9, 9, 1.0), EYES, 0.3, 224)
