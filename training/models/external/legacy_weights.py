"""Reads the weights of a Keras 2 `.h5` file by their names."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import h5py
import keras
import numpy as np

from training.models.classifier import STD
from training.models.keras_files import leaves

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
