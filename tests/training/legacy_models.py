"""`python -m tests.training.legacy_models DIR`: write model files of legacy Keras (tf_keras).

Each NAME.h5 has its library's own outputs for images.npy in NAME.npy. A process of its own, since
both Keras in one take each other's defaults.
"""

import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

#: Height and width of the images.
SIDE = 64
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def backbone(keras: Any, folder: Path) -> Any:
    """EfficientNetB0 as `weights="imagenet"` builds it, with random weights in the file's place."""
    options = {"include_top": False, "input_shape": (SIDE, SIDE, 3)}
    stock = keras.applications.EfficientNetB0(weights=None, **options)
    for layer in stock.layers:
        if isinstance(layer, keras.layers.Normalization):
            normalization = layer
            layer.set_weights([MEAN, STD**2, np.array(0)])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    # Statistics of the images themselves: with those of others, all images score alike, or so much
    # apart that rounding decides.
    stock(draw_images().astype(np.float32), training=True)
    normalization.set_weights([MEAN, STD, np.array(0)])  # the deviation as variance, as in the file
    stock.save_weights(folder / "notop.h5")
    where = "tf_keras.src.utils.data_utils.get_file"
    with mock.patch(where, return_value=str(folder / "notop.h5")):
        return keras.applications.EfficientNetB0(weights="imagenet", **options)


def draw_images() -> Any:
    """Four images of different colors with stripes and noise."""
    rng = np.random.default_rng(3)
    colors, steps = rng.integers(0, 200, (4, 1, 1, 3)), np.arange(SIDE)[:, None] % 50
    return (colors + steps + rng.integers(0, 6, (4, SIDE, SIDE, 3))).astype(np.uint8)


def head(keras: Any, units: int, activation: str | None, spread: float = 0.05) -> list[Any]:
    layers, start = keras.layers, keras.initializers.RandomNormal(stddev=spread)
    bias = "zeros" if activation else keras.initializers.Constant(3)
    dense = layers.Dense(units, activation, kernel_initializer=start, bias_initializer=bias)
    return [layers.GlobalAveragePooling2D(), layers.Dropout(0.5), dense]


def models(keras: Any, folder: Path) -> dict[str, Any]:
    base = backbone(keras, folder)
    output = base.output
    for layer in head(keras, 1, "sigmoid"):
        output = layer(output)
    functional = keras.Model(base.input, output)
    for layer in functional.layers[:60]:
        layer.trainable = False
    functional.compile(keras.optimizers.SGD(0.01, momentum=0.9), "binary_crossentropy")
    plain = [
        keras.layers.Rescaling(1 / 255, input_shape=(SIDE, SIDE, 3)),
        keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
        keras.layers.BatchNormalization(),
    ]
    image = keras.Input((SIDE, SIDE, 3))
    doubled = keras.layers.Lambda(lambda x: x * 2)(image)
    for layer in head(keras, 1, "sigmoid"):
        doubled = layer(doubled)
    return {
        "functional": functional,
        "sequential": keras.Sequential([base, *head(keras, 2, "softmax")]),
        "plain": keras.Sequential([*plain, *head(keras, 1, None, 2.0)]),
        "lambda": keras.Model(image, doubled),
    }


def main(folder: Path) -> None:
    import tf_keras as keras

    keras.utils.set_random_seed(1)
    images = draw_images()
    np.save(folder / "images.npy", images)
    found = models(keras, folder)
    for name, model in found.items():
        model.save(folder / f"{name}.h5")
        np.save(folder / f"{name}.npy", model.predict(images.astype(np.float32), verbose=0))
    found["functional"].save_weights(folder / "functional_weights.h5")
    found["functional"].save_weights(folder / "numbered.weights.h5")
    found["plain"].save(folder / "plain.keras")
    found["plain"].save(folder / "savedmodel", save_format="tf")


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    main(Path(sys.argv[1]))
