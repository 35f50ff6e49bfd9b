"""Finds and loads the initial weights of a backbone.

`imagenet` weights and a weights file are loaded by the same code, so that equal weights give
equal features. Keras itself corrects the input scaling for `weights="imagenet"` only, not for
a file; `training.models.classifier` therefore defines the input scaling.
"""

import os
import socket
from pathlib import Path
from typing import Any

import keras

from manifests.errors import TrainingError, out_of_memory
from training.models import keras_files

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


def resolve_weights(weights: str, backbone: str) -> Path | None:
    """Find the file with the initial weights of a backbone.

    Args:
        weights: `none` for random weights; `imagenet` for Keras's own file, taken from its
            cache (`$KERAS_HOME/models`, checked by hash) or downloaded into it; otherwise
            the path of such a file or of the `model.keras` of an earlier run.
        backbone: one of `training.recipes.BACKBONES`.

    Returns:
        The path of the file, or None for `none`.

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
            "give the path of an .h5 or .keras file"
        )
    return path


def _imagenet_weights(backbone: str) -> Path:
    name = f"{backbone.lower()}_notop.h5"
    cache = _keras_home()
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        return Path(
            keras.utils.get_file(
                name,
                WEIGHTS_URL + name,
                cache_dir=str(cache),
                cache_subdir="models",
                file_hash=WEIGHTS_MD5[backbone],
            )
        )
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


def load_weights(stock: Any, path: Path) -> Any:
    """Load the weights of a backbone from a file.

    Args:
        stock: the Keras backbone, built with `weights=None`; an `.h5` file is loaded into it.
        path: an `.h5` of Keras's application weights, or the `.keras` model of an earlier
            run with the same backbone.

    Returns:
        A model with the loaded weights, whose layers have the names of the backbone's layers.

    Raises:
        TrainingError: the file does not fit the backbone.
    """
    try:
        if path.suffix != ".keras":
            keras_files.load_weights(stock, path)
            return stock
        earlier = keras_files.load_archive(path)
        copy_weights(earlier, stock)  # raises if a layer is missing or differs in shape
        return earlier
    except Exception as error:  # what Keras raises depends on the layer and on the damage
        if out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(
            f"expected weights of {stock.name} in {path}, found: {reason}; give a file "
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
