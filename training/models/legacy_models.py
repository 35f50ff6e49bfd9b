"""Builds the model that a Keras 2 file describes from layers of Keras 3.

Only what decides the output is kept of a layer's configuration: how its weights were initialized,
regularized or constrained does not. A layer must be one of `training.models.keras_objects`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import keras
import numpy as np

from training.models.classifier import STD
from training.models.keras_files import leaves
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


#: Layers of a file with weights alone: which EfficientNet has how many blocks, and how many
#: channels come out of its last convolution.
_EFFICIENTNETS = {
    (16, 1280): "EfficientNetB0",
    (23, 1280): "EfficientNetB1",
    (23, 1408): "EfficientNetB2",
    (26, 1536): "EfficientNetB3",
    (32, 1792): "EfficientNetB4",
    (39, 2048): "EfficientNetB5",
    (45, 2304): "EfficientNetB6",
    (55, 2560): "EfficientNetB7",
}

#: A weight: the layer in the file that it is listed under, its own layer, its own name.
Key = tuple[str, str, str]


def weights_group(file: h5py.File) -> Any:
    """The group of the weights: the file itself if it holds weights alone.

    Raises:
        ValueError: the file has no such group.
    """
    group = file.get("model_weights", file)
    if "layer_names" not in group.attrs and "layer_names0" not in group.attrs:
        raise ValueError("no list of layers; save the whole model, not its weights")
    return group


def copy_legacy_weights(group: Any, model: Any) -> None:
    """Set every weight of a model to that of the same layer and name in a file.

    Raises:
        ValueError: a weight is missing in the file, twice in it, or has another shape; or the
            file has a weight that the model lacks.
    """
    found = dict(_datasets(group))
    by_layer = defaultdict(list)
    for key in found:
        by_layer[key[1:]].append(key)
    used = set()
    for top in model.layers:
        for layer in leaves(top):
            for weight in layer.weights:
                keys = by_layer[(layer.name, _former_name(layer, weight))]
                key = _matching(keys, top.name, layer, weight)
                _assign(weight, found[key], layer)
                used.add(key)
            if isinstance(layer, keras.layers.Normalization) and layer.weights:
                layer.finalize_state()
    unused = sorted(set(found) - used)
    if unused:
        raise ValueError(f"a weight {'/'.join(unused[0][1:])} that no layer of the model has")


def _former_name(layer: Any, weight: Any) -> str:
    """The name that Keras 2 gives to a weight."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D) and weight.name == "kernel"
    return "depthwise_kernel" if depthwise else str(weight.name)


def _matching(keys: list[Key], top: str, layer: Any, weight: Any) -> Key:
    if len(keys) > 1:  # the same layer in two nested models
        keys = [key for key in keys if key[0] == top]
    if len(keys) != 1:
        raise ValueError(f"{len(keys)} weights {layer.name}/{weight.name}")
    return keys[0]


def _assign(weight: Any, dataset: Any, layer: Any) -> None:
    # Compared before reading: the shape in a file may be of any size.
    if tuple(dataset.shape) != tuple(weight.shape):
        raise ValueError(
            f"shape {tuple(dataset.shape)} of {layer.name}/{weight.name} instead of "
            f"{tuple(weight.shape)}"
        )
    weight.assign(np.asarray(dataset))


def _datasets(group: Any) -> Iterator[tuple[Key, Any]]:
    for top in _names(group, "layer_names"):
        inner = _inside(group, top)
        for name in _names(inner, "weight_names"):
            steps = name.removesuffix(":0").split("/")
            layer = steps[-2] if len(steps) > 1 else top
            yield (top, layer, steps[-1]), _inside(inner, name)


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras 2 cuts into numbered attributes where it is long."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _inside(group: Any, name: str) -> Any:
    if name not in group:
        raise ValueError(f"no {name} in the file")
    return group[name]


def correct_imagenet_scale(model: Any) -> bool:
    """Divide the input by the square root of ImageNet's deviation if Keras would have done so.

    Keras's own weights have the deviation as the variance of the Normalization layer. With
    `weights="imagenet"` a layer without weights follows that corrects it, which a file with
    weights alone does not show. It is taken to have been there.

    Returns:
        Whether the model has these values.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            (variance,) = (weight for weight in layer.weights if weight.name == "variance")
            values = np.asarray(variance).reshape(-1)
            if values.shape == (3,) and np.allclose(values, STD, atol=1e-4):
                variance.assign(np.asarray(variance) * np.asarray(STD, np.float32))
                layer.finalize_state()
                return True
    return False


def model_of_weights(group: Any, size: int) -> Any:
    """Build the model that a file with weights alone was most likely saved from.

    That is an EfficientNet of Keras, global average pooling and one Dense layer: sigmoid if it has
    one unit, softmax if two.

    Raises:
        ValueError: the weights are those of another model.
    """
    found = dict(_datasets(group))
    blocks = sum(layer.endswith("_project_conv") for _, layer, _ in found)
    top = [data.shape for (_, layer, name), data in found.items() if layer == "top_conv"]
    backbone = _EFFICIENTNETS.get((blocks, top[0][-1])) if top else None
    heads = [
        (layer, data.shape)
        for (_, layer, name), data in found.items()
        if name == "kernel" and len(data.shape) == 2
    ]
    if not backbone or len(heads) != 1 or heads[0][1][1] not in (1, 2):
        raise ValueError(
            "weights that are not those of an EfficientNet with one Dense layer of 1 or 2 units, "
            "and without their layers the model is unknown; save the whole model"
        )
    (name, (_, units)) = heads[0]
    base = getattr(keras.applications, backbone)(
        weights=None, include_top=False, input_shape=(size, size, 3)
    )
    # Layers without a name of their own are numbered by what else the process has built.
    scaling = next((each for _, each, name in found if name == "variance"), "normalization")
    base = keras.models.clone_model(base, clone_function=lambda layer: _renamed(layer, scaling))
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    activation = "sigmoid" if units == 1 else "softmax"
    head = keras.layers.Dense(units, activation=activation, name=name)
    return keras.Model(base.input, head(pooled), name=backbone)


def _renamed(layer: Any, scaling: str) -> Any:
    config = layer.get_config()
    if isinstance(layer, keras.layers.Normalization):
        config["name"] = scaling
    return layer.__class__.from_config(config)
