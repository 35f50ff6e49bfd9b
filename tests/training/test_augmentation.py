import numpy as np
import pytest
import tensorflow as tf
from skimage.data import astronaut

from training.data import augmentation
from training.recipes import AUGMENTATIONS

SIDE = 224


@pytest.fixture(scope="module")
def face():
    return astronaut()[0:SIDE, 110 : 110 + SIDE]


def augmented(images, name, seed=1):
    labels = np.arange(len(images), dtype=np.float32)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4, drop_remainder=True)
    out = list(augmentation.augment(batches, name, seed).as_numpy_iterator())
    return np.concatenate([each for each, _ in out]), np.concatenate([each for _, each in out])


def test_every_augmentation_of_the_recipes_exists():
    assert tuple(augmentation.STEPS) == AUGMENTATIONS


@pytest.mark.parametrize("name", ["plain", "winning"])
def test_images_change_labels_do_not_and_the_seed_decides(face, name):
    images = np.stack([face] * 8)
    once, labels = augmented(images, name)
    assert once.shape == images.shape
    assert once.dtype == np.uint8
    assert labels.tolist() == list(range(8))
    assert len({each.tobytes() for each in once}) > 4
    assert np.array_equal(once, augmented(images, name)[0])
    assert not np.array_equal(once, augmented(images, name, seed=2)[0])


@pytest.mark.parametrize(
    ("step", "least", "most"),
    [
        (augmentation.jpeg, 0.3, 8),
        (augmentation.noise, 2, 8),
        (augmentation.blur, 0.3, 8),
        (augmentation.shift_scale, 3, 90),
        (augmentation.hue_saturation, 0.3, 40),
        (augmentation.greyscale, 1, 60),
        (augmentation.cutout, 1, 90),
    ],
)
def test_a_step_changes_an_image_by_its_strength(face, step, least, most):
    changed = [step(tf.constant(face), tf.constant([0, n], tf.int64)).numpy() for n in range(3)]
    difference = np.mean([np.abs(each.astype(float) - face).mean() for each in changed])
    assert least < difference < most


def test_a_cut_out_is_a_black_rectangle_of_a_fifth_to_half_of_each_side(face):
    white = tf.fill([SIDE, SIDE, 3], tf.constant(255, tf.uint8))
    for number in range(5):
        black = augmentation.cutout(white, tf.constant([1, number], tf.int64)).numpy()[..., 0] == 0
        rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
        assert black.sum() == len(rows) * len(columns)
        assert min(len(rows), len(columns)) >= 0.19 * SIDE
        assert max(len(rows), len(columns)) <= 0.51 * SIDE


def test_no_augmentation_touches_nothing(face):
    images = np.stack([face] * 4)
    assert np.array_equal(augmented(images, "none")[0], images)
