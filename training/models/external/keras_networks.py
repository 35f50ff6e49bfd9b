"""The networks of the files of Keras 2 and 3."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from manifests.errors import TrainingError, out_of_memory
from manifests.files import parse_json
from training.models import keras_files
from training.models.external import legacy_layers, legacy_weights
from training.models.external.networks import Inputs, Network, first_line
from training.models.hdf5_files import is_hdf5, open_hdf5
from training.models.keras_objects import UnknownLayer

#: Height and width of the input where neither the file nor the caller tells.
DEFAULT_SIZE = 224
_ELSEWHERE = "export it to ONNX with the library it was made with"


def keras_network(path: Path, size: int | None, output: str | None) -> tuple[Network, list[str]]:
    """The network of a `.keras` or `.h5` file, and what was assumed about it.

    Args:
        size: height and width of the input where the file does not tell.
        output: "probability" or "logit" if the caller knows, else None.

    Raises:
        TrainingError: the file cannot be read, or has a layer that is not one of Keras.
    """
    try:
        data = keras_files.read_bytes(path)
        reader = _read_h5 if is_hdf5(data) else _read_keras
        model, form, notes = reader(data, size or DEFAULT_SIZE)
        return _network(model, form, path, output), notes
    except UnknownLayer as error:
        raise TrainingError(
            f"expected layers of Keras in {path}, found {error}, which is custom or runs code "
            f"that no model file may run here; {_ELSEWHERE}"
        ) from error
    except Exception as error:  # what Keras raises depends on the layer and on the damage
        if out_of_memory(error) or isinstance(error, TrainingError):
            raise
        raise TrainingError(
            f"expected a whole model of Keras in {path}, found: {first_line(error)}; {_ELSEWHERE}"
        ) from error


def _read_h5(data: bytes, size: int) -> tuple[Any, str, list[str]]:
    with open_hdf5(data) as file:
        version = _text(file.attrs.get("keras_version")) or "2"
        config = _text(file.attrs.get("model_config"))
        if config is None:
            return _read_weights(legacy_weights.weights_group(file), size)
        parsed = parse_json(config)
        if version.startswith("3"):
            model = keras_files.build(parsed, len(data))
            keras_files.load_hdf5_weights(model, data)
            return model, "Keras 3 .h5", []
        with keras_files.limited(len(data)):
            model = legacy_layers.build_legacy_model(parsed, size)
        legacy_weights.copy_legacy_weights(legacy_weights.weights_group(file), model)
        return model, "Keras 2 .h5", []


def _read_weights(group: Any, size: int) -> tuple[Any, str, list[str]]:
    model = legacy_weights.model_of_weights(group, size)
    legacy_weights.copy_legacy_weights(group, model)
    notes = [f"the file has weights but no layers; they were taken for those of {model.name}"]
    if legacy_weights.correct_imagenet_scale(model):
        notes.append('and the input for that of a network begun with weights="imagenet"')
    return model, "Keras 2 .h5, weights alone", ["; ".join(notes)]


def _read_keras(data: bytes, _size: int) -> tuple[Any, str, list[str]]:
    archive = keras_files.read_archive(data)
    if archive.version.startswith("2"):
        raise ValueError(
            f'one of Keras {archive.version}, of which .h5 files are read, model.save("model.h5")'
        )
    return keras_files.model_of_archive(archive), "Keras 3 .keras", []


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _network(model: Any, form: str, path: Path, output: str | None) -> Network:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TrainingError(
            f"expected one image input and one output of the model in {path}, found "
            f"{len(model.inputs)} and {len(model.outputs)}; save a model with one of each"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (3, None):
        raise TrainingError(
            f"expected an input of images, [batch, height, width, 3], of the model in {path}, "
            f"found {list(shape)}; give a model of color images"
        )
    activation = _final_activation(model)
    known = {"sigmoid": "probability", "softmax": "probability", "linear": "logit"}
    if output in (None, "probability") and known.get(activation) == "probability":
        # Without it, the output is a logit that no rounding to 0 or 1 has cut off.
        _final_layer(model).activation = keras.activations.linear
        output = "logit"

    def run(images: Inputs) -> Any:
        return np.asarray(model.predict_on_batch(images))

    described = f"{form} with {activation or 'another'} output"
    return Network(described, run, shape[1:3], output or known.get(activation))


def _final_layer(model: Any) -> Any:
    """The layer that gives the output, inside nested models too."""
    layer = model.outputs[0]._keras_history.operation
    if isinstance(model, keras.Sequential):
        layer = model.layers[-1]
    return _final_layer(layer) if isinstance(layer, keras.Model) else layer


def _final_activation(model: Any) -> str:
    """The activation of the output, by its name; empty if the last layer has none."""
    activation = getattr(_final_layer(model), "activation", None)
    return getattr(activation, "__name__", "")
