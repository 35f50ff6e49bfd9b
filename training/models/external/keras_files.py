"""Reads networks from the files of Keras 2 and 3; no code from a file is run."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from manifests.errors import out_of_memory
from manifests.io.json_files import parse_json
from training.errors import TrainingError
from training.models.external import legacy_layers, legacy_weights
from training.models.external.legacy_layers import UnknownLayer
from training.models.external.networks import Inputs, Network

#: Height and width of the input where neither the file nor the caller tells.
DEFAULT_SIZE = 224
#: Largest config.json that is read, in bytes; that of EfficientNetB7 has 0.6 MB.
_MAX_CONFIG = 20_000_000

_ELSEWHERE = "save it as a SavedModel or ONNX file with the library it was made with"


def keras_network(path: Path, size: int | None, output: str | None) -> tuple[Network, list[str]]:
    """The network of a `.keras` or `.h5` file, and what was assumed about it.

    Args:
        size: height and width of the input where the file does not tell.
        output: "probability" or "logit" if the caller knows, else None.

    Raises:
        TrainingError: the file cannot be read, or has a layer that is not one of Keras.
    """
    reader = _read_h5 if h5py.is_hdf5(path) else _read_keras
    try:
        model, form, notes = reader(path, size or DEFAULT_SIZE)
    except UnknownLayer as error:
        raise TrainingError(
            f"expected layers of Keras in {path}, found {error}, which is custom or runs code "
            f"that no model file may run here; {_ELSEWHERE}"
        ) from error
    except Exception as error:  # what Keras raises depends on the layer and on the damage
        if out_of_memory(error) or isinstance(error, TrainingError):
            raise
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise TrainingError(
            f"expected a whole model of Keras in {path}, found: {reason[:300]}; {_ELSEWHERE}"
        ) from error
    return _network(model, form, path, output), notes


def _read_h5(path: Path, size: int) -> tuple[Any, str, list[str]]:
    with h5py.File(path, "r") as file:
        version = _text(file.attrs.get("keras_version")) or "2"
        config = _text(file.attrs.get("model_config"))
        if config is None:
            group = legacy_weights.weights_group(file)
            model = legacy_weights.model_of_weights(group, size)
            legacy_weights.copy_legacy_weights(group, model)
            notes = [
                f"the file has weights but no layers; they were taken for those of {model.name}"
            ]
            if legacy_weights.correct_imagenet_scale(model):
                notes.append('and the input for that of a network begun with weights="imagenet"')
            return model, "Keras 2 .h5, weights alone", ["; ".join(notes)]
        parsed = parse_json(config.encode())
        if not version.startswith("3"):
            model = legacy_layers.build_legacy_model(parsed, size)
            legacy_weights.copy_legacy_weights(legacy_weights.weights_group(file), model)
            return model, "Keras 2 .h5", []
    _check_classes(parsed)
    return keras.saving.load_model(path, compile=False, safe_mode=True), "Keras 3 .h5", []


def _read_keras(path: Path, _size: int) -> tuple[Any, str, list[str]]:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("config.json").file_size > _MAX_CONFIG:
            raise ValueError("a config.json of more than 20 MB")
        config = parse_json(archive.read("config.json"))
        made_by = parse_json(archive.read("metadata.json")).get("keras_version", "")
    if str(made_by).startswith("2"):
        raise TrainingError(
            f"expected a .keras file of Keras 3 in {path}, found one of Keras {made_by}; save it "
            'there as .h5, model.save("model.h5"), which is read here'
        )
    _check_classes(config)
    return keras.saving.load_model(path, compile=False, safe_mode=True), "Keras 3 .keras", []


def _check_classes(config: Any) -> None:
    """Refuse what Keras would import from elsewhere, or build from code in the file."""
    for found in _objects(config):
        module, kind = found.get("module"), str(found["class_name"])
        outside = module is not None and not f"{module}.".startswith(("keras.", "builtins."))
        custom = str(found.get("registered_name") or "").partition(">")
        if outside or (custom[1] and custom[0] != "keras") or kind in legacy_layers.REFUSED:
            raise UnknownLayer(kind)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a class in a configuration."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


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
