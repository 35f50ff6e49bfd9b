import hashlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet
from keras.src.backend import config
from keras.src.legacy.saving import legacy_h5_format

from manifests.errors import TrainingError
from training.models import classifier
from training.models.classifier import FEATURE_LAYER, MEAN, STD, build_model
from training.recipes import BACKBONES, choose_recipe

RECIPE = choose_recipe("v1.3", {"backbone": "EfficientNetB0"})
NAME = "efficientnetb0_notop.h5"


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """Random weights in a file like Keras's own, whose Normalization variance is STD."""
    keras.utils.set_random_seed(1)
    stock = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(224, 224, 3)
    )
    scale = next(each for each in stock.layers if isinstance(each, keras.layers.Normalization))
    scale.set_weights([np.array(MEAN), np.array(STD), np.array(0)])
    path = tmp_path_factory.mktemp("keras") / "models" / NAME
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, stock)
    return path


@pytest.fixture
def in_cache(keras_file, monkeypatch):
    """Make Keras find that file in its cache, with its hash."""
    monkeypatch.setattr(config, "_KERAS_DIR", str(keras_file.parents[1]))
    monkeypatch.setenv("KERAS_HOME", str(keras_file.parents[1]))
    digest = hashlib.md5(keras_file.read_bytes()).hexdigest()
    monkeypatch.setitem(efficientnet.WEIGHTS_HASHES, "b0", ("", digest))
    monkeypatch.setitem(classifier.WEIGHTS_MD5, "EfficientNetB0", digest)


def features(model):
    images = np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3)).astype("float32")
    return keras.Model(model.input, model.get_layer(FEATURE_LAYER).output).predict(
        images, verbose=0
    )


def test_the_same_numbers_give_the_same_features_whichever_way_they_come(in_cache, keras_file):
    expected = features(
        keras.applications.EfficientNetB0(include_top=False, input_shape=(224, 224, 3))
    )
    by_name = features(
        build_model(RECIPE, classifier.resolve_weights("imagenet", "EfficientNetB0"))
    )
    by_file = features(
        build_model(RECIPE, classifier.resolve_weights(str(keras_file), "EfficientNetB0"))
    )
    assert np.array_equal(by_name, by_file)
    assert np.abs(by_file - expected).max() <= 1e-5 * np.abs(expected).max()


def test_weights_of_an_earlier_run(tmp_path):
    earlier = build_model(RECIPE)
    earlier.save(tmp_path / "model.keras")
    again = build_model(
        RECIPE, classifier.resolve_weights(str(tmp_path / "model.keras"), "EfficientNetB0")
    )
    assert np.array_equal(features(earlier), features(again))


def test_an_unreachable_server_stops_with_the_three_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(classifier, "WEIGHTS_URL", "http://127.0.0.1:9/")
    with pytest.raises(TrainingError) as caught:
        classifier.resolve_weights("imagenet", "EfficientNetB4")
    message = str(caught.value)
    assert str(tmp_path / "models" / "efficientnetb4_notop.h5") in message
    assert "--weights FILE" in message
    assert "--weights none" in message


def test_a_missing_file_and_a_file_of_another_backbone_are_refused(keras_file):
    with pytest.raises(TrainingError, match="found no file nowhere"):
        classifier.resolve_weights("nowhere.h5", "EfficientNetB0")
    with pytest.raises(TrainingError, match="give a file made for this backbone"):
        build_model(choose_recipe("v1.3", {"backbone": "EfficientNetB1"}), keras_file)


def test_weights_none_has_no_file():
    assert classifier.resolve_weights("none", "EfficientNetB4") is None


def test_the_copied_constants_are_those_of_keras():
    private = pytest.importorskip("keras.src.applications.efficientnet")
    assert classifier.WEIGHTS_URL == private.BASE_WEIGHTS_PATH
    assert tuple(classifier.WEIGHTS_MD5) == BACKBONES
    for backbone, digest in classifier.WEIGHTS_MD5.items():
        assert digest == private.WEIGHTS_HASHES[backbone[-2:].lower()][1]


def test_the_cache_folder_is_that_of_keras():
    private = pytest.importorskip("keras.src.backend.config")
    assert classifier._keras_home() == Path(private.keras_home())
