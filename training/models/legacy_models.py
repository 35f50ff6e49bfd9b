"""Builds the model of a Keras 2 `.h5` file from layers of Keras 3, and reads its weights by name.

Only what decides the output is kept of a layer's configuration: how its weights were initialized,
regularized or constrained does not. A layer must be one of `training.models.keras_objects`.

tf_keras reads such files, too: it would need the same translation to known layers, since its own
loading looks up any TensorFlow function by name, and limits of its own on what it builds. Files of
weights alone, and the check of every weight's name, stay in any case.
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

#: Layers of packages that were common beside Keras 2, and the one of Keras that gives the same
#: output. FixedDropout, of the package `efficientnet`, drops nothing outside training.
_SAME_OUTPUT = {"FixedDropout": "Dropout"}
#: Settings that Keras 3 does not know, and that decide nothing where they have this value.
_FORMER = {
    "ragged": False, "sparse": False, "groups": 1, "renorm": False, "fused": None,
    "virtual_batch_size": None, "adjustment": None, "time_major": False, "autocast": True,
    "experimental_autocast": True,
}  # fmt: skip
#: TensorFlow operations on a tensor and a constant, as (scale, offset) of a Rescaling layer.
_SCALINGS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "math.multiply": lambda constant: (constant, 0.0),
    "math.truediv": lambda constant: (1 / constant, 0.0),
    "math.add": lambda constant: (1.0, constant),
    "math.subtract": lambda constant: (1.0, -constant),
}
#: Layers of a file with weights alone: which EfficientNet has how many blocks, and how many
#: channels come out of its last convolution.
_EFFICIENTNETS = {
    (16, 1280): "EfficientNetB0", (23, 1280): "EfficientNetB1", (23, 1408): "EfficientNetB2",
    (26, 1536): "EfficientNetB3", (32, 1792): "EfficientNetB4", (39, 2048): "EfficientNetB5",
    (45, 2304): "EfficientNetB6", (55, 2560): "EfficientNetB7",
}  # fmt: skip

#: A weight: the layer in the file that it is listed under, its own layer, its own name.
_Key = tuple[str, str, str]


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
    if kind == "Functional":
        return keras.Model.from_config(settings)
    if kind != "Sequential":
        raise ValueError(f"a {kind} instead of a model")
    model = keras.Sequential.from_config(settings)
    if not model.built:
        model.build((None, size, size, 3))
    return model


def _layer(found: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a layer or a nested model."""
    kind, config = str(found["class_name"]), found["config"]
    if kind in ("Functional", "Model"):
        ends = {name: config[name] for name in ("input_layers", "output_layers")}
        for name, nodes in ends.items():
            # Keras 3 would pass on the only one as a list of one.
            ends[name] = nodes[0] if len(nodes) == 1 and isinstance(nodes[0], list) else nodes
        layers = [_node(each) for each in config["layers"]]
        return {
            "class_name": "Functional",
            "config": {"name": config["name"], **ends, "layers": layers},
        }
    if kind == "Sequential":
        return {"class_name": kind, "config": _sequence(config)}
    kind = _SAME_OUTPUT.get(kind, kind)
    if kind not in LAYERS:
        raise UnknownLayer(kind)
    return {"class_name": kind, "config": _settings(kind, config)}


def _node(found: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a layer of a graph, with the layers that its inputs come from."""
    if found["class_name"] == "TFOpLambda":
        return _scaling(found)
    return {**_layer(found), "name": found["name"], "inbound_nodes": found["inbound_nodes"]}


def _scaling(found: Mapping[str, Any]) -> dict[str, Any]:
    """Translate an operation on a tensor and a constant to a Rescaling layer.

    With `weights="imagenet"`, EfficientNet multiplies its input by such a constant.
    """
    operation, nodes = str(found["config"].get("function")), found["inbound_nodes"]
    try:
        ((*source, arguments),) = nodes
        constant = np.asarray(arguments["y"], np.float64).reshape(-1)
        scale, offset = _SCALINGS[operation](constant)
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownLayer(f"operation {operation}") from error
    if len(source) != 3:
        raise UnknownLayer(f"operation {operation}")
    config = {"name": found["name"], "dtype": "float32"}
    config |= {"scale": np.asarray(scale).tolist(), "offset": np.asarray(offset).tolist()}
    layer = {"class_name": "Rescaling", "config": config}
    return {**layer, "name": found["name"], "inbound_nodes": [[[*source, {}]]]}


def _sequence(config: Any) -> dict[str, Any]:
    """A Sequential model; before Keras 2.2.3 its configuration was the list of layers alone."""
    found = config if isinstance(config, list) else config["layers"]
    layers = [_layer(each) for each in found]
    shape = found[0]["config"].get("batch_input_shape") if found else None
    if shape and layers[0]["class_name"] != "InputLayer":
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": shape}})
    return {"name": None if isinstance(config, list) else config.get("name"), "layers": layers}


def _settings(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    convolution = kind in ("Conv1D", "Conv2D", "Conv3D")  # the layers that still have groups
    kept = {
        name: value
        for name, value in config.items()
        if not name.endswith(("_initializer", "_regularizer", "_constraint"))
        and name != "trainable"
        and (name not in _FORMER or value != _FORMER[name] or (convolution and name == "groups"))
    }
    shape = kept.pop("batch_input_shape", None)
    if kind == "InputLayer":
        kept["batch_shape"] = shape or kept.get("batch_shape")
    if kind in _SAME_OUTPUT.values():
        kept.pop("noise_shape", None)
    for name in ("activation", "recurrent_activation"):
        if isinstance(named := kept.get(name), Mapping):
            inner = named.get("config")
            kept[name] = inner if isinstance(inner, str) else str(named.get("class_name"))
            if kept[name] not in ACTIVATIONS:
                raise UnknownLayer(f"activation {kept[name]}")
    if isinstance(kept.get("dtype"), Mapping):  # a policy such as mixed_float16
        kept["dtype"] = kept["dtype"]["config"]["name"]
    for name in ("layer", "backward_layer"):  # of a wrapper
        if isinstance(kept.get(name), Mapping):
            kept[name] = _layer(kept[name])
    return kept


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
    unused = dict(_datasets(group))
    by_layer = defaultdict(list)
    for key, values in unused.items():
        by_layer[key[1:]].append((key, values))
    for top in model.layers:
        for layer in leaves(top):
            # Keras 2 names one weight otherwise.
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            names = {"kernel": "depthwise_kernel"} if depthwise else {}
            for weight in layer.weights:
                found = by_layer[(layer.name, names.get(weight.name, weight.name))]
                if len(found) > 1:  # the same layer in two nested models
                    found = [each for each in found if each[0][0] == top.name]
                if len(found) != 1:
                    raise ValueError(f"{len(found)} weights {layer.name}/{weight.name}")
                ((key, values),) = found
                _assign(weight, values, layer)
                unused.pop(key, None)
            if isinstance(layer, keras.layers.Normalization) and layer.weights:
                layer.finalize_state()
    if unused:
        raise ValueError(f"a weight {'/'.join(min(unused)[1:])} that no layer of the model has")


def _assign(weight: Any, dataset: Any, layer: Any) -> None:
    # Compared before reading: the shape in a file may be of any size.
    if tuple(dataset.shape) != tuple(weight.shape):
        raise ValueError(
            f"shape {tuple(dataset.shape)} of {layer.name}/{weight.name} instead of "
            f"{tuple(weight.shape)}"
        )
    weight.assign(np.asarray(dataset))


def _datasets(group: Any) -> Iterator[tuple[_Key, Any]]:
    for top in _names(group, "layer_names"):
        inner = _inside(group, top)
        for name in _names(inner, "weight_names"):
            steps = name.removesuffix(":0").split("/")
            layer = steps[-2] if len(steps) > 1 else top
            yield (top, layer, steps[-1]), _inside(inner, name)


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras 2 cuts into numbered attributes where it is long."""
    names, number = list(group.attrs.get(attribute, ())), 0
    while f"{attribute}{number}" in group.attrs and attribute not in group.attrs:
        names += list(group.attrs[f"{attribute}{number}"])
        number += 1
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _inside(group: Any, name: str) -> Any:
    if name not in group:
        raise ValueError(f"no {name} in the file")
    return group[name]


def model_of_weights(group: Any, size: int) -> Any:
    """Build the model that a file with weights alone was most likely saved from.

    That is an EfficientNet of Keras, global average pooling and one Dense layer: sigmoid if it has
    one unit, softmax if two.

    Raises:
        ValueError: the weights are those of another model.
    """
    found = {key[1:]: values.shape for key, values in _datasets(group)}
    blocks = sum(layer.endswith("_project_conv") for layer, _ in found)
    top = [shape for (layer, _), shape in found.items() if layer == "top_conv"]
    backbone = _EFFICIENTNETS.get((blocks, top[0][-1])) if top else None
    heads = [
        (layer, shape[1])
        for (layer, name), shape in found.items()
        if name == "kernel" and len(shape) == 2
    ]
    if not backbone or len(heads) != 1 or heads[0][1] not in (1, 2):
        raise ValueError(
            "weights that are not those of an EfficientNet with one Dense layer of 1 or 2 units, "
            "and without their layers the model is unknown; save the whole model"
        )
    ((head, units),) = heads
    # Layers without a name of their own are numbered by what else the process has built.
    scaling = next((layer for layer, name in found if name == "variance"), "normalization")

    def renamed(layer: Any) -> Any:
        named = {"name": scaling} if isinstance(layer, keras.layers.Normalization) else {}
        return layer.__class__.from_config({**layer.get_config(), **named})

    stock = getattr(keras.applications, backbone)(
        weights=None, include_top=False, input_shape=(size, size, 3)
    )
    base = keras.models.clone_model(stock, clone_function=renamed)
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    activation = "sigmoid" if units == 1 else "softmax"
    output = keras.layers.Dense(units, activation=activation, name=head)(pooled)
    return keras.Model(base.input, output, name=backbone)


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
