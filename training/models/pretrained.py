"""Where a backbone's weights come from, and how they get into it.

`imagenet` is Keras's own file out of Keras's own cache; a file is loaded the same way, so
that the same numbers give the same features whichever way they came (`training.model`
owns the input scale; Keras ties it to the word "imagenet", a silent trap for files).
"""

import socket
from pathlib import Path
from typing import Any

import keras
from keras.src.applications import efficientnet
from keras.src.backend.config import keras_home

from training.errors import TrainingError

#: Seconds a silent server is waited for.
PATIENCE = 5


def resolve(weights: str, backbone: str) -> Path | None:
    """The file a backbone's weights are read from; None for `none`.

    `imagenet` is Keras's own file, found in its cache (`$KERAS_HOME/models`, by name and
    hash) or downloaded into it. Anything else is the path of such a file, or of the
    `model.keras` of an earlier run.

    Raises:
        TrainingError: the file is missing, or cannot be fetched within seconds.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return _imagenet(backbone)
    path = Path(weights)
    if not path.is_file():
        raise TrainingError(
            f"expected imagenet, none or a file for --weights, found no file {weights}; "
            "give the path of an .h5 or .keras file"
        )
    return path


def _imagenet(backbone: str) -> Path:
    variant = backbone.removeprefix("EfficientNet").lower()
    name = f"efficientnet{variant}_notop.h5"
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        return Path(
            keras.utils.get_file(
                name,
                efficientnet.BASE_WEIGHTS_PATH + name,
                cache_subdir="models",
                file_hash=efficientnet.WEIGHTS_HASHES[variant][1],
            )
        )
    except Exception as error:  # get_file raises bare Exception where a download fails
        reason = str(error).splitlines()[0]
        cache = Path(keras_home()) / "models" / name
        raise TrainingError(
            f"expected to download the ImageNet weights of {backbone}, found: {reason}; put the "
            f"file at {cache}, give --weights FILE, or train from nothing with --weights none"
        ) from error
    finally:
        socket.setdefaulttimeout(waited)


def load(stock: Any, path: Path) -> Any:
    """Fill a stock Keras backbone, built with `weights=None`, from a file.

    Args:
        path: an `.h5` of Keras's application weights, or the `.keras` model of an earlier
            run with the same backbone.

    Returns:
        A model whose layers hold the weights, by the names the backbone gives them.

    Raises:
        TrainingError: the file does not fit the backbone.
    """
    try:
        if path.suffix != ".keras":
            stock.load_weights(path)
            return stock
        earlier = keras.saving.load_model(path, compile=False)
        copy(earlier, stock)
        return earlier
    except (ValueError, OSError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"expected weights of {stock.name} in {path}, found: {reason}; give a file "
            "made for this backbone, without its top"
        ) from error


def copy(source: Any, target: Any) -> None:
    """Copy weights layer by layer, by name; the input scale is no weight and stays.

    Raises:
        ValueError: the target has a layer that the source lacks, or of another shape.
    """
    for layer in target.layers:
        if layer.weights and not isinstance(layer, keras.layers.Normalization):
            layer.set_weights(source.get_layer(layer.name).get_weights())
