"""The classifier: EfficientNet backbone, global average pooling, one sigmoid unit.

Input: RGB, 0 to 255, uint8 or float, [B, 224, 224, 3]. Output: P(FAKE), float32 [B, 1].
"""

import math
import os
import socket
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dfdc_prep.hyperparameters import Recipe
from manifests.errors import TrainingError, out_of_memory
from manifests.folders import path_meant
from manifests.schemas import CROP_SIZE
from manifests.wording import did_you_mean
from training.models import keras_files

#: Mean and standard deviation of ImageNet's RGB channels, on a scale of 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

#: Momentum of BatchNormalization when training from scratch. With Keras's default of 0.99 the
#: moving statistics take about a thousand steps to leave their initial values, so a short run
#: would score at chance on the test split.
SCRATCH_MOMENTUM = 0.9

#: Where Keras publishes its ImageNet weights, and the MD5 of each backbone's file without the
#: classification head. Copied from BASE_WEIGHTS_PATH and WEIGHTS_HASHES of Keras 3's
#: keras/src/applications/efficientnet.py, which is not part of its public interface.
WEIGHTS_URL = "https://storage.googleapis.com/keras-applications/"
WEIGHTS_MD5 = {
    "EfficientNetB0": "50bc09e76180e00e4465e1a485ddc09d",
    "EfficientNetB1": "74c4e6b3e1f6a1eea24c589628592432",
    "EfficientNetB2": "111f8e2ac8aa800a7a99e3239f7bfb39",
    "EfficientNetB3": "af6d107764bb5b1abb91932881670226",
    "EfficientNetB4": "ebc24e6d6c33eaebbd558eafbeedf1ba",
    "EfficientNetB5": "38879255a25d3c92d5e44e04ae6cec6f",
    "EfficientNetB6": "9ecce42647a20130c1f39a5d4cb75743",
    "EfficientNetB7": "cbcfe4450ddf6f3ad90b1b398090fe4a",
}
#: Seconds to wait for a server that does not respond.
DOWNLOAD_TIMEOUT_S = 5

#: Names of the layers of the last feature map, [B, 7, 7, C], and of the sigmoid unit.
FEATURE_LAYER, HEAD_LAYER = "top_activation", "p_fake"


def build_model(recipe: Recipe, weights_file: Any = None, precision: str = "float32") -> Any:
    """Build the model of a recipe, not compiled.

    Args:
        weights_file: path from `resolve_weights`, or None for random weights.
        precision: a Keras dtype policy; input scaling and output are always float32.

    Raises:
        TrainingError: the file does not fit the backbone.
    """
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return _build(recipe, weights_file)
    finally:
        keras.config.set_dtype_policy(previous_policy)


def _build(recipe: Recipe, weights_file: Any) -> Any:
    images = keras.Input((CROP_SIZE, CROP_SIZE, 3))
    # Keras divides by the standard deviation only for `weights="imagenet"`; with the same weights
    # from a file the input would be 2.1 times too small. These layers scale in float32, whatever
    # the policy, and those of the backbone are made to change nothing.
    x = keras.layers.Rescaling(1 / 255, name="unit_range", dtype="float32")(images)
    offset = [-mean / std for mean, std in zip(MEAN, STD, strict=True)]
    x = keras.layers.Rescaling(
        [1 / std for std in STD], offset, name="imagenet_scale", dtype="float32"
    )(x)
    with keras.utils.custom_object_scope({"VarianceScaling": _Drawn}):
        backbone = getattr(keras.applications, recipe.backbone)(
            weights=None, include_top=False, input_tensor=x
        )
    x = keras.layers.GlobalAveragePooling2D(name="pooling", dtype="float32")(backbone.output)
    glorot = _Drawn(1.0, "fan_avg", "uniform")
    head = keras.layers.Dense(
        1, "sigmoid", name=HEAD_LAYER, dtype="float32", kernel_initializer=glorot
    )
    model = keras.Model(images, head(x), name=recipe.backbone.lower())
    if weights_file is not None:
        _load_weights(backbone, weights_file)
    for layer in model.layers:
        if layer is backbone.layers[3]:  # after the input and the two of ours
            layer.scale = 1.0
        elif isinstance(layer, keras.layers.Normalization):
            layer.set_weights([np.zeros(3), np.ones(3), np.zeros(())])
            # Arrays, which an export takes for constants; those of Keras would become its inputs.
            layer.mean, layer.variance = np.zeros((1, 1, 1, 3), "f4"), np.ones((1, 1, 1, 3), "f4")
        elif isinstance(layer, keras.layers.BatchNormalization) and weights_file is None:
            layer.momentum = SCRATCH_MOMENTUM
        # The file of the model shall name initializers of Keras, which anybody can read.
        for name in ("kernel_initializer", "depthwise_initializer"):
            if isinstance(drawn := getattr(layer, name, None), _Drawn):
                setattr(layer, name, keras.initializers.VarianceScaling(**drawn.get_config()))
    return model


class _Drawn(keras.initializers.VarianceScaling):  # type: ignore[misc]
    """Drawn by NumPy: the same on every backend, and JAX need not compile it for each shape."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        rng = np.random.default_rng(self.seed)
        fan_in, fan_out = (math.prod(shape[:-2]) * channels for channels in shape[-2:])
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            return rng.uniform(-1, 1, shape).astype(np.float32) * np.sqrt(3 * variance)
        values = rng.standard_normal(shape, np.float32)
        while (far := np.abs(values) > 2).any():
            values[far] = rng.standard_normal(int(far.sum()), np.float32)
        # Without what lies beyond 2, the standard deviation of a normal variable is 0.8796.
        return values * np.float32(np.sqrt(variance) / 0.87962566103423978)


def set_trainable_layers(model: Any, recipe: Recipe, *, head_only: bool) -> None:
    """Set which layers are trainable: the head only, or the recipe's blocks and the head.

    In Keras a frozen BatchNormalization layer uses its stored statistics. The change takes
    effect at the next `compile`.
    """
    unfrozen = not recipe.unfreeze_from
    for layer in model.layers:
        unfrozen = unfrozen or layer.name.startswith(recipe.unfreeze_from)
        frozen_norm = recipe.freeze_batchnorm and isinstance(layer, keras.layers.BatchNormalization)
        trained = unfrozen and not frozen_norm and not head_only
        layer.trainable = trained or layer.name == HEAD_LAYER


def compile_model(model: Any, recipe: Recipe, *, head_only: bool, steps: int) -> None:
    """Compile the model for one phase of a recipe, of `steps` optimizer steps."""
    set_trainable_layers(model, recipe, head_only=head_only)
    rate: Any = recipe.head_learning_rate if head_only else recipe.learning_rate
    if recipe.schedule == "cosine" and not head_only:
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=max(steps, 1))
    optimizer = keras.optimizers.SGD(
        rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay or None,
    )
    loss = keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)
    metrics = [keras.metrics.BinaryAccuracy("accuracy")]
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    # Otherwise the first step makes the optimizer's variables, and TensorFlow traces it twice.
    model.optimizer.build(model.trainable_variables)


def logit_model(model: Any) -> Any:
    """The model without its sigmoid: outputs logits, float32 [B, 1].

    Logits distinguish confident scores that a float32 sigmoid rounds to 1.
    """
    linear = keras.layers.Dense(1, name="logit", dtype="float32")
    logits = keras.Model(model.input, linear(model.get_layer("pooling").output))
    linear.set_weights(model.get_layer(HEAD_LAYER).get_weights())
    return logits


def feature_model(model: Any) -> Any:
    """The model up to its last feature map, [B, 7, 7, C], as `class_activation` expects."""
    return keras.Model(model.input, model.get_layer(FEATURE_LAYER).output)


def class_activation(model: Any, features: np.ndarray) -> np.ndarray:
    """Grad-CAM of the FAKE logit (Selvaraju et al., 2017, section 3.1), up to a constant.

    After global average pooling and one linear unit, d logit / d A_k equals w_k / 49 at each
    of the 7 x 7 positions, w_k being the unit's weight for channel k. Grad-CAM is therefore
    ReLU(sum_k w_k A_k) / 49 and needs no gradient; the factor 1 / 49 is left out.

    Args:
        features: output of `feature_model`, [B, 7, 7, C].

    Returns:
        Non-negative float32 [B, 7, 7], in logits.
    """
    kernel = np.asarray(model.get_layer(HEAD_LAYER).get_weights()[0])[:, 0]
    activation: np.ndarray = np.maximum(np.asarray(features, np.float32) @ kernel, 0)
    return activation


def resolve_weights(weights: str, backbone: str) -> Path | None:
    """Find the file with the initial weights of a backbone.

    Args:
        weights: `none` for random weights; `imagenet` for Keras's own file, taken from its
            cache (`$KERAS_HOME/models`, checked by hash) or downloaded into it; otherwise
            the path of such a file or of the `model.keras` of an earlier run.

    Raises:
        TrainingError: the file is missing, or the download fails.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return _imagenet_weights(backbone)
    path = Path(weights)
    if not path.is_file():
        raise TrainingError(
            f"expected imagenet, none or a file for --weights, found no file {weights}; "
            + (
                did_you_mean(weights, ["imagenet", "none"])
                or path_meant(path)
                or "give the path of an .h5 or .keras file"
            )
        )
    return path


def _imagenet_weights(backbone: str) -> Path:
    name = f"{backbone.lower()}_notop.h5"
    cache = _keras_home()
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    options = {"cache_dir": str(cache), "cache_subdir": "models"}
    try:
        md5 = WEIGHTS_MD5[backbone]
        return Path(keras.utils.get_file(name, WEIGHTS_URL + name, file_hash=md5, **options))
    except Exception as error:  # get_file raises a bare Exception if a download fails
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"expected to download the ImageNet weights of {backbone}, found: {reason}; put the "
            f"file at {cache / 'models' / name}, give --weights FILE, or train from scratch with "
            "--weights none"
        ) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)


def _keras_home() -> Path:
    """Keras's cache folder, found as Keras finds it: $KERAS_HOME, ~/.keras or /tmp/.keras."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"])
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"


def _load_weights(backbone: Any, path: Path) -> None:
    """Load an `.h5` of Keras or a `.keras` of an earlier run; TrainingError if it does not fit."""
    try:
        if path.suffix == ".keras":
            copy_weights(keras_files.load_archive(path), backbone)
        else:
            keras_files.load_weights(backbone, path)
    except Exception as error:  # what Keras raises depends on the layer and on the damage
        if out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(
            f"expected weights of {backbone.name} in {path}, found: {reason}; give a file "
            "made for this backbone, without the classification head"
        ) from error


def copy_weights(source: Any, target: Any) -> None:
    """Copy weights between models, matching layers by name; input scaling is not copied.

    Raises:
        ValueError: a layer of the target is missing in the source or has another shape.
    """
    for layer in target.layers:
        if layer.weights and not isinstance(layer, keras.layers.Normalization):
            layer.set_weights(source.get_layer(layer.name).get_weights())
