"""Builds the model that a Keras 2 file describes from layers of Keras 3.

Only what decides the output is kept of a layer's configuration: how its weights were initialized,
regularized or constrained does not. A layer must be one of `training.models.keras_objects`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from training.models.keras_objects import ACTIVATIONS, LAYERS, UnknownLayer, known

#: Names of nested models in a configuration.
_GRAPHS, _SEQUENCE = ("Functional", "Model"), "Sequential"
#: Layers of packages that were common beside Keras 2, and the one of Keras that gives the same
#: output. FixedDropout, of the package `efficientnet`, drops nothing outside training.
_SAME_OUTPUT = {"FixedDropout": "Dropout"}
#: Endings of the settings of training.
_TRAINING_SETTINGS = ("_initializer", "_regularizer", "_constraint")
#: Settings that Keras 3 does not know, and that decide nothing where they have this value.
_FORMER = {
    "ragged": False, "sparse": False, "groups": 1, "renorm": False, "fused": None,
    "virtual_batch_size": None, "adjustment": None, "time_major": False, "autocast": True,
    "experimental_autocast": True,
}  # fmt: skip


#: A TensorFlow operation in a graph of layers.
_OPERATION = "TFOpLambda"
#: Operations on a tensor and a constant, as (scale, offset) of a Rescaling layer.
_SCALINGS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "math.multiply": lambda constant: (constant, 0.0),
    "math.truediv": lambda constant: (1 / constant, 0.0),
    "math.add": lambda constant: (1.0, constant),
    "math.subtract": lambda constant: (1.0, -constant),
}


def build_legacy_model(config: Mapping[str, Any], size: int) -> Any:
    """Build the model of a Keras 2 `model_config`, with random weights.

    Args:
        size: height and width of the input where the file does not tell.

    Raises:
        UnknownLayer: a layer is custom, or runs code of the file.
        ValueError, TypeError, KeyError: the configuration is invalid.
    """
    translated = _layer(config)
    known(translated)
    kind, settings = translated["class_name"], translated["config"]
    if kind == _SEQUENCE:
        model = keras.Sequential.from_config(settings)
        if not model.built:
            model.build((None, size, size, 3))
        return model
    if kind != "Functional":
        raise ValueError(f"a {kind} instead of a model")
    return keras.Model.from_config(settings)


def _single(ends: Any) -> Any:
    """The only input or output of a graph, which Keras 3 would pass on as a list of one."""
    return ends[0] if len(ends) == 1 and isinstance(ends[0], list) else ends


def _node(found: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a layer of a graph, with the layers that its inputs come from."""
    nodes = found["inbound_nodes"]
    if found["class_name"] == _OPERATION:
        translated, nodes = _scaling(found)
    else:
        translated = _layer(found)
    return {**translated, "name": found["name"], "inbound_nodes": nodes}


def _scaling(found: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Translate an operation on a tensor and a constant to a Rescaling layer, and its input.

    With `weights="imagenet"`, EfficientNet multiplies its input by such a constant.
    """
    operation = str(found["config"].get("function"))
    nodes = found["inbound_nodes"]
    if operation not in _SCALINGS or len(nodes) != 1 or len(nodes[0]) != 4:
        raise UnknownLayer(f"operation {operation}")
    *source, arguments = nodes[0]
    try:
        constant = np.asarray(arguments["y"], np.float64).reshape(-1)
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownLayer(f"operation {operation}") from error
    scale, offset = _SCALINGS[operation](constant)
    config = {"name": found["name"], "dtype": "float32"}
    config |= {"scale": np.asarray(scale).tolist(), "offset": np.asarray(offset).tolist()}
    return {"class_name": "Rescaling", "config": config}, [[[*source, {}]]]


def _layer(found: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a layer or a nested model; a configuration without `module` is a former one."""
    kind, config = str(found["class_name"]), found["config"]
    if kind in _GRAPHS:
        layers = [_node(each) for each in config["layers"]]
        ends = {name: _single(config[name]) for name in ("input_layers", "output_layers")}
        kept = {"name": config["name"], **ends}
        return {"class_name": "Functional", "config": {**kept, "layers": layers}}
    if kind == _SEQUENCE:
        return {"class_name": kind, "config": _sequence(config)}
    kind = _SAME_OUTPUT.get(kind, kind)
    if kind not in LAYERS:
        raise UnknownLayer(kind)
    return {"class_name": kind, "config": _settings(kind, config)}


def _sequence(config: Any) -> dict[str, Any]:
    """A Sequential model; before Keras 2.2.3 its configuration was the list of layers alone."""
    found = config if isinstance(config, list) else config["layers"]
    layers = [_layer(each) for each in found]
    shape = found[0]["config"].get("batch_input_shape") if found else None
    if shape and layers[0]["class_name"] != "InputLayer":
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": shape}})
    name = None if isinstance(config, list) else config.get("name")
    return {"name": name, "layers": layers}


def _settings(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in config.items():
        former = name in _FORMER and value == _FORMER[name] and not _accepts(kind, name)
        if former or name.endswith(_TRAINING_SETTINGS) or name == "trainable":
            continue
        kept[name] = value
    shape = kept.pop("batch_input_shape", None)
    if kind == "InputLayer":
        kept["batch_shape"] = shape or kept.get("batch_shape")
    if kind in _SAME_OUTPUT.values():
        kept.pop("noise_shape", None)
    for name in ("activation", "recurrent_activation"):
        if isinstance(kept.get(name), Mapping):
            kept[name] = _activation_name(kept[name])
    if isinstance(kept.get("dtype"), Mapping):  # a policy such as mixed_float16
        kept["dtype"] = kept["dtype"]["config"]["name"]
    for name in ("layer", "backward_layer"):  # of a wrapper
        if isinstance(kept.get(name), Mapping):
            kept[name] = _layer(kept[name])
    return kept


def _accepts(kind: str, name: str) -> bool:
    """Whether a layer of Keras 3 has this setting."""
    return kind in ("Conv1D", "Conv2D", "Conv3D") and name == "groups"


def _activation_name(found: Mapping[str, Any]) -> str:
    """The name of an activation that is not given by its name alone."""
    config, kind = found.get("config"), str(found.get("class_name"))
    name = config if isinstance(config, str) else kind
    if name not in ACTIVATIONS:
        raise UnknownLayer(f"activation {name}")
    return name
