"""Other people's model files: the same scores as in their own library, and no code from a file."""

import json
import subprocess
import sys

import h5py
import keras
import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from scipy.special import expit

from manifests.errors import TrainingError
from tests.training.legacy_models import MEAN, SIDE, STD
from training.models.model_file import (
    as_input,
    cut_margins,
    kept_shares,
    open_model,
)
from training.models.settings import PRESETS, InputSettings


@pytest.fixture(scope="module")
def legacy(tmp_path_factory):
    """Files of legacy Keras with their own library's outputs."""
    folder = tmp_path_factory.mktemp("legacy")
    command = [sys.executable, "-m", "tests.training.legacy_models", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def score(path, images, **settings):
    model = open_model(path, InputSettings(**settings))
    return expit(model.predict_on_batch(images)[:, 0]), model


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("functional.h5", "functional"),
        ("sequential.h5", "sequential"),
        ("plain.h5", "plain"),
        ("functional_weights.h5", "functional"),
    ],
)
def test_a_legacy_file_gives_the_scores_of_its_own_library(legacy, file, own):
    images, outputs = np.load(legacy / "images.npy"), np.load(legacy / f"{own}.npy")
    found, model = score(legacy / file, images, size=SIDE)
    expected = expit(outputs[:, 0]) if own == "plain" else outputs[:, -1]
    assert np.abs(found - expected).max() < 1e-5
    assert np.ptp(expected) > 1e-3
    assert (model.notes != []) == ("weights" in file)


def test_the_other_class_may_be_fake(legacy):
    images = np.load(legacy / "images.npy")
    first, _ = score(legacy / "sequential.h5", images)
    second, _ = score(legacy / "sequential.h5", images, fake_is=0)
    assert first + second == pytest.approx(1)


def test_a_stated_output_is_taken_at_its_word(legacy):
    images, outputs = np.load(legacy / "images.npy"), np.load(legacy / "functional.npy")
    found, _ = score(legacy / "functional.h5", images, output="logit")
    assert found == pytest.approx(expit(outputs[:, 0]), abs=1e-5)
    with pytest.raises(TrainingError, match="give --output logit"):
        score(legacy / "plain.h5", images, output="probability")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("lambda.h5", "found Lambda, which is custom or runs code"),
        ("plain.keras", r"found: one of Keras 2.*model.save\(.model.h5.\)"),
        ("numbered.weights.h5", "no list of layers; save the whole model"),
        ("notop.h5", "without their layers the model is unknown"),
        ("plain.npy", "found another file; export a PyTorch"),
        ("absent.h5", "found nothing"),
        ("savedmodel", "convert it where it was made"),
    ],
)
def test_a_file_that_cannot_be_read_gets_a_sentence(legacy, file, said):
    with pytest.raises(TrainingError, match=said):
        open_model(legacy / file, InputSettings())


def changed(legacy, tmp_path, change):
    """plain.h5 with another model_config."""
    (tmp_path / "changed.h5").write_bytes((legacy / "plain.h5").read_bytes())
    with h5py.File(tmp_path / "changed.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"], file)
        file.attrs["model_config"] = json.dumps(config)
    return tmp_path / "changed.h5"


def test_a_custom_layer_is_named(legacy, tmp_path):
    def change(layers, _):
        layers[2] |= {"class_name": "Attention9", "module": "os"}

    with pytest.raises(TrainingError, match="found Attention9, which is custom"):
        open_model(changed(legacy, tmp_path, change), InputSettings())


def test_a_layer_of_another_package_with_the_same_output_is_read(legacy, tmp_path):
    def change(layers, _):
        (dropout,) = (each for each in layers if each["class_name"] == "Dropout")
        dropout |= {"class_name": "FixedDropout", "module": "efficientnet.model"}
        dropout["config"]["noise_shape"] = [None, 1, 1, 1]

    images = np.load(legacy / "images.npy")
    found, _ = score(changed(legacy, tmp_path, change), images)
    assert found == pytest.approx(expit(np.load(legacy / "plain.npy")[:, 0]))


@pytest.mark.parametrize("place", ["external", "soft", "shape"])
def test_weights_outside_the_file_or_of_another_shape_are_refused(legacy, tmp_path, place):
    def change(_, file):
        group = file["model_weights"]["conv2d"]["conv2d"]
        values = group["bias:0"][:]
        del group["bias:0"]
        if place == "external":
            group["bias:0"] = h5py.ExternalLink(legacy / "plain.h5", "/model_weights")
        elif place == "soft":
            group["bias:0"] = h5py.SoftLink("/model_weights")
        else:
            group.create_dataset("bias:0", shape=(10**9,), dtype="f4", chunks=(1024,))
        assert values.shape == (4,)

    said = "more values than the file" if place == "shape" else "in the file itself"
    with pytest.raises(TrainingError, match=said):
        open_model(changed(legacy, tmp_path, change), InputSettings())


def test_a_keras_3_file_is_read_and_its_lambda_refused(tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model(image, keras.layers.Dense(2)(pooled)).save(tmp_path / "two.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    own = keras.saving.load_model(tmp_path / "two.keras").predict(images, verbose=0)
    found, model = score(tmp_path / "two.keras", images)
    assert found == pytest.approx(expit(own[:, 1] - own[:, 0]).astype(float))
    assert model.settings.output == "logit"
    doubled = keras.layers.Lambda(lambda x: x * 2)(pooled)
    keras.Model(image, keras.layers.Dense(1)(doubled)).save(tmp_path / "code.keras")
    with pytest.raises(TrainingError, match="found Lambda"):
        open_model(tmp_path / "code.keras", InputSettings())


def test_statistics_of_the_input_count_in_both_formats_of_keras_3(tmp_path):
    """Keras itself sets them in an `.h5` file and goes on with those of a new layer."""
    image = keras.Input((SIDE, SIDE, 3))
    scaling = keras.layers.Normalization()
    inner = keras.Sequential([image, scaling, keras.layers.GlobalAveragePooling2D()])
    scaling.set_weights([np.float32(MEAN * 255), np.float32(STD * 255) ** 2, np.array(0)])
    scaling.finalize_state()
    model = keras.Sequential([inner, keras.layers.Dense(1, "sigmoid")])
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    own = model.predict(images.astype(np.float32), verbose=0)[:, 0]
    for name in ("model.keras", "model.h5"):
        assert score(tmp_path / name, images)[0] == pytest.approx(own, abs=1e-5)


def test_a_network_of_keras_with_operations_gives_its_scores_in_both_formats(tmp_path):
    """Keras 3 cannot read the `.h5` that it writes of a network with `x * 2` in it."""
    image = keras.Input((SIDE, SIDE, 3))
    options = {"include_top": False, "weights": None, "input_tensor": image, "alpha": 0.35}
    network = keras.applications.MobileNetV3Small(pooling="avg", **options)
    spread = keras.initializers.RandomNormal(stddev=1e6, seed=1)
    output = keras.layers.Dense(1, "sigmoid", kernel_initializer=spread)(network.output)
    model = keras.Model(image, output)
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    own = model.predict(images.astype(np.float32), verbose=0)[:, 0]
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        assert score(tmp_path / name, images)[0] == pytest.approx(own, abs=1e-5)


def write_onnx(path, shape, final):
    """Mean of each channel, times 1, 2, 3, then `final`."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights"], ["sum"]),
        helper.make_node(final, ["sum"], ["out"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], axes),
        helper.make_tensor("weights", TensorProto.FLOAT, [3, 1], [1, 2, 3]),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "mean", [given], [result], constants)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


@pytest.mark.parametrize("shape", [["n", 3, SIDE, SIDE], [2, SIDE, SIDE, 3]])
@pytest.mark.parametrize("final", ["Sigmoid", "Identity"])
def test_onnx_with_channels_first_or_last_and_a_fixed_batch(tmp_path, shape, final):
    write_onnx(tmp_path / "model.onnx", shape, final)
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    found, model = score(tmp_path / "model.onnx", images, scale="imagenet", channels="bgr")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normal = (images.mean(axis=(1, 2)) / 255 - mean) / std
    assert found == pytest.approx(expit(normal @ [3, 2, 1]), abs=1e-5)
    assert model.settings.output == ("probability" if final == "Sigmoid" else "logit")


def test_a_model_of_another_size_is_refused(tmp_path):
    write_onnx(tmp_path / "model.onnx", ["n", 3, SIDE, SIDE], "Sigmoid")
    with pytest.raises(TrainingError, match="found one for 64x64; leave out --size"):
        open_model(tmp_path / "model.onnx", InputSettings(size=224))


def test_pixels_are_scaled_and_ordered():
    image = np.full((1, 8, 8, 3), (255, 51, 0), np.uint8)
    for scale, expected in {"0..255": 51, "0..1": 0.2, "-1..1": -0.6}.items():
        given = as_input(image, InputSettings("bgr", scale), (8, 8))
        assert given[0, 0, 0, 1] == pytest.approx(expected)
        assert given[0, 0, 0, 2] > given[0, 0, 0, 0]
    assert as_input(image, InputSettings(), (12, 16)).shape == (1, 12, 16, 3)


def test_a_margin_is_cut_down_where_it_is_known():
    rows = pa.table(
        {
            "w": pa.array([100, 100, None], pa.int32()),
            "h": pa.array([50, 90, None], pa.int32()),
            "crop_size": pa.array([160, 200, None], pa.int32()),
            "margin": pa.array([None, 0.5, None], pa.float64()),
        }
    )
    shares = kept_shares(rows, 0.0)
    assert shares == pytest.approx([0.625, 0.5, np.nan], nan_ok=True)
    assert kept_shares(rows, 0.5)[:2].tolist() == [1, 1]
    image = np.zeros((1, 224, 224, 3), np.uint8)
    image[0, 56:168, 56:168] = 200
    image[0, 112:168, 56:168] = 100
    cut = cut_margins(image, shares[1:2])[0]
    assert (cut[:110] == 200).all()
    assert (cut[114:] == 100).all()
    assert (cut_margins(image, shares[2:])[0] == image[0]).all()


def test_redeepfakes_settings_are_those_of_its_app():
    settings = PRESETS["redeepfake"].settings
    assert settings == InputSettings("bgr", "0..255", 224, 0.0, 1, None)
    assert any("not known" in note for note in PRESETS["redeepfake"].notes)
