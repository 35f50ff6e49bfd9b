import numpy as np
import pytest
from skimage.data import astronaut

from training.evaluation import robustness


@pytest.fixture
def faces():
    return np.stack([astronaut()[0:224, 110:334]] * 2)


def strength(change, images):
    return np.abs(change(images).astype(float) - images).mean()


def test_each_level_is_stronger_than_the_one_before(faces):
    seen = {}
    for kind, _, change in robustness.disturbances():
        changed = change(faces)
        assert (changed.shape, changed.dtype) == (faces.shape, np.uint8)
        seen.setdefault(kind, []).append(strength(change, faces))
    assert set(seen) == {
        "JPEG quality",
        "blur, sigma px",
        "noise, sigma",
        "resolution",
        "darker",
        "brighter",
    }
    for levels in seen.values():
        assert levels == sorted(levels)
        assert levels[0] > 0.2


def test_noise_has_the_given_standard_deviation(faces):
    middle = np.full_like(faces, 128)
    assert robustness.noise(10)(middle).astype(float).std() == pytest.approx(10, rel=0.02)
