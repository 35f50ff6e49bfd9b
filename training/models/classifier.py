"""The classifier: an EfficientNet, global average pooling, one sigmoid unit, P(FAKE).

It takes RGB, 0 to 255, uint8 or float, [B, 224, 224, 3], and gives float32 [B, 1].
"""

from typing import Any

import keras
import numpy as np

from training.models import pretrained
from training.recipes import Recipe

SIZE = 224

#: Mean and standard deviation of ImageNet's RGB values, 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

#: BatchNormalization's momentum where a training starts from nothing. Keras's own 0.99
#: remembers the blank start for a thousand steps, and a short run would test as a coin does.
FROM_NOTHING = 0.9

#: The last feature map, [B, 7, 7, C], and the sigmoid unit, by layer name.
FEATURES, HEAD = "top_activation", "p_fake"


def build(recipe: Recipe, weights_file: Any = None, precision: str = "float32") -> Any:
    """The model of a recipe, not compiled.

    Args:
        weights_file: the path `training.weights.resolve` gave, or None for a random start.
        precision: a Keras dtype policy; input scale and output stay float32 under each.

    Raises:
        TrainingError: the file does not fit the backbone.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return _built(recipe, weights_file)
    finally:
        keras.config.set_dtype_policy(before)


def _built(recipe: Recipe, weights_file: Any) -> Any:
    stock = getattr(keras.applications, recipe.backbone)(
        weights=None, include_top=False, input_shape=(SIZE, SIZE, 3)
    )
    momentum = None if weights_file else FROM_NOTHING
    backbone = keras.models.clone_model(stock, clone_function=lambda layer: _clone(layer, momentum))
    if weights_file is not None:
        pretrained.copy(pretrained.load(stock, weights_file), backbone)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooling", dtype="float32")(backbone.output)
    head = keras.layers.Dense(1, activation="sigmoid", name=HEAD, dtype="float32")(pooled)
    return keras.Model(backbone.input, head, name=recipe.backbone.lower())


def _clone(layer: Any, momentum: float | None) -> Any:
    """The layer anew, but the input scale our own: (RGB / 255 - mean) / std, in float32.

    Keras divides by the standard deviation only for `weights="imagenet"`; from a file the
    same numbers would see an input 2.1 times too small. Fixed scales make it one for all.

    Args:
        momentum: of BatchNormalization, None for the backbone's own.
    """
    if isinstance(layer, keras.layers.Rescaling):
        return keras.layers.Rescaling(1 / 255, name="unit_range", dtype="float32")
    if isinstance(layer, keras.layers.Normalization):
        scale = [1 / std for std in STD]
        offset = [-mean / std for mean, std in zip(MEAN, STD, strict=True)]
        return keras.layers.Rescaling(scale, offset, name="imagenet_scale", dtype="float32")
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization) and momentum is not None:
        config["momentum"] = momentum
    return layer.__class__.from_config(config)


def freeze(model: Any, recipe: Recipe, *, head_only: bool) -> None:
    """Say which layers train: the head alone, or the recipe's blocks and the head.

    A BatchNormalization layer that does not train uses its stored statistics (Keras).
    Takes effect at the next `compile`.
    """
    reached = not recipe.unfreeze_from
    for layer in model.layers:
        reached = reached or layer.name.startswith(recipe.unfreeze_from)
        norm = isinstance(layer, keras.layers.BatchNormalization) and recipe.freeze_batchnorm
        layer.trainable = layer.name == HEAD or (reached and not norm and not head_only)


def compile_for(model: Any, recipe: Recipe, *, head_only: bool, steps: int) -> None:
    """Compile for one phase of a recipe; XLA stays on Keras's `auto`.

    Args:
        steps: optimizer steps of the phase, the length of a cosine schedule.
    """
    freeze(model, recipe, head_only=head_only)
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
    model.compile(
        optimizer=optimizer, loss=loss, metrics=[keras.metrics.BinaryAccuracy("accuracy")]
    )


def logit_model(model: Any) -> Any:
    """The same model with a linear head: float32 logits [B, 1], the sigmoid not yet taken.

    A logit keeps apart what a float32 sigmoid rounds to 1.
    """
    head = model.get_layer(HEAD)
    linear = keras.layers.Dense(1, name="logit", dtype="float32")
    twin = keras.Model(model.input, linear(model.get_layer("pooling").output))
    linear.set_weights(head.get_weights())
    return twin


def heatmap_model(model: Any) -> Any:
    """Images to feature maps [B, 7, 7, C], for `class_activation`."""
    return keras.Model(model.input, model.get_layer(FEATURES).output)


def class_activation(model: Any, features: np.ndarray) -> np.ndarray:
    """Grad-CAM of the FAKE logit, [B, 7, 7] float32, 0 and up, in the logit's own units.

    Behind global average pooling and one linear unit, d logit / d A_k is the unit's weight
    w_k over the number of places, everywhere: Grad-CAM is ReLU(sum_k w_k A_k) up to that
    number, with no gradient to take (Selvaraju et al., 2017, section 3.1).
    """
    kernel = np.asarray(model.get_layer(HEAD).get_weights()[0])[:, 0]
    activation: np.ndarray = np.maximum(np.asarray(features, np.float32) @ kernel, 0)
    return activation
