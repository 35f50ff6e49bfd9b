"""The objects of Keras that a model file may name: what image classifiers are made of.

A file names each layer, initializer or optimizer by module and class, and Keras imports what it
names. So a configuration is compared with a list before Keras sees it, and Keras is given the names
of the list: a file cannot reach a function or a class by another spelling.
"""

from collections.abc import Iterator
from typing import Any

#: Layers. Left out are those that run code of the file (Lambda) or of another framework
#: (TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer), and those of text and tables, whose
#: vocabulary is the name of a file.
_LAYERS = """
    InputLayer Dense EinsumDense Embedding Activation Identity
    Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose SeparableConv1D SeparableConv2D
    DepthwiseConv1D DepthwiseConv2D
    MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    BatchNormalization LayerNormalization GroupNormalization UnitNormalization RMSNormalization
    Normalization Rescaling Resizing CenterCrop
    RandomFlip RandomRotation RandomZoom RandomTranslation RandomContrast RandomBrightness
    ReLU LeakyReLU PReLU ELU Softmax
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Flatten Reshape Permute RepeatVector Cropping1D Cropping2D ZeroPadding1D ZeroPadding2D
    UpSampling1D UpSampling2D
    Dropout SpatialDropout1D SpatialDropout2D AlphaDropout GaussianDropout GaussianNoise
    ActivityRegularization
    Attention AdditiveAttention MultiHeadAttention
    LSTM GRU SimpleRNN Bidirectional TimeDistributed SpectralNormalization
"""
#: Operations on tensors, as `x * 2` in the code of a model.
_OPERATIONS = """
    Absolute Add Clip Concatenate Divide ExpandDims GetItem Max Maximum Mean Min Minimum Multiply
    Negative Power Reshape Sqrt Square Squeeze Subtract Sum Transpose TrueDivide
"""
_ACTIVATIONS = """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
    linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
    softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
"""
_NAMES = {
    "keras.layers": _LAYERS,
    "keras.src.ops.numpy": _OPERATIONS,
    "keras.src.ops.nn": "Relu Relu6 Sigmoid Silu Gelu HardSigmoid HardSilu Softmax Softplus",
    "keras.src.models.functional": "Functional",
    # Layers of published networks, which Keras has in no public place.
    "keras.src.applications.convnext": "LayerScale StochasticDepth",
    "keras.src.applications.inception_resnet_v2": "CustomScaleLayer",
    "keras": "DTypePolicy Model Sequential",
    "keras.initializers": """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform
        Ones Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    """,
    "keras.regularizers": "L1 L2 L1L2 OrthogonalRegularizer",
    "keras.constraints": "MaxNorm MinMaxNorm NonNeg UnitNorm",
    "keras.optimizers": """
        Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lion LossScaleOptimizer Nadam RMSprop SGD
    """,
    "keras.optimizers.schedules": """
        CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay
        PolynomialDecay
    """,
    "keras.losses": """
        BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy
        CategoricalFocalCrossentropy Hinge MeanSquaredError SparseCategoricalCrossentropy
    """,
    "keras.metrics": """
        AUC Accuracy BinaryAccuracy BinaryCrossentropy CategoricalAccuracy F1Score FalseNegatives
        FalsePositives Mean Precision Recall SparseCategoricalAccuracy TrueNegatives TruePositives
    """,
}
#: The classes of each module; where a file tells no module, the first that has the class is meant.
CLASSES = {module: frozenset(names.split()) for module, names in _NAMES.items()}
LAYERS, ACTIVATIONS = CLASSES["keras.layers"], frozenset(_ACTIVATIONS.split())
#: Values in a configuration that Keras writes as objects.
_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__")
#: Most objects of a configuration; InceptionResNetV2 has 7,000.
_MOST = 50_000


class UnknownLayer(ValueError):
    """An object that is not one of the list; the message names it."""


def known(config: Any) -> Any:
    """A configuration of Keras 3 whose objects are all of the list, under Keras's names for them.

    Args:
        config: parsed JSON. Layers without a module, as in `.h5` files, get theirs.

    Raises:
        UnknownLayer: an object is not of the list.
        ValueError: there are too many.
    """
    return _known(config, iter(range(_MOST)))


def _known(value: Any, budget: Iterator[int]) -> Any:
    if isinstance(value, list):
        return [_known(each, budget) for each in value]
    if not isinstance(value, dict):
        return value
    # Keras reads a `__typespec__` by a key of its own, which nothing else has.
    if "spec_name" in value:
        raise UnknownLayer("a type specification")
    named = _identity(value) if "class_name" in value else {}
    if named and next(budget, None) is None:
        raise ValueError(f"more than {_MOST:,} objects in its configuration")
    return {name: _known(each, budget) for name, each in value.items()} | named


def _identity(found: dict[str, Any]) -> dict[str, Any]:
    """What Keras shall find the object by."""
    kind, module = found["class_name"], found.get("module")
    if not isinstance(kind, str):
        raise UnknownLayer("a class without a name")
    if kind in _VALUES and module is None:
        return {"class_name": kind}
    if kind == "function":
        name = found.get("config")
        if module != "builtins" or not isinstance(name, str) or name not in ACTIVATIONS:
            raise UnknownLayer(f"function {name}")
        return {"registered_name": name}
    module = module if module is not None else _module(found)
    if not isinstance(module, str) or kind not in CLASSES.get(module, ()):
        raise UnknownLayer(str(kind))
    # Keras names its own objects so: nothing is looked up among objects registered by others.
    if found.get("registered_name") not in (None, kind):
        raise UnknownLayer(str(found["registered_name"]))
    return {"module": module, "class_name": kind, "registered_name": None}


def _module(found: dict[str, Any]) -> str | None:
    """The module of a layer in an `.h5` file. An operation there has the setting `name` alone."""
    kind, settings = found["class_name"], found.get("config")
    if (
        kind in CLASSES["keras.src.ops.numpy"]
        and settings is not None
        and set(settings) <= {"name"}
    ):
        return "keras.src.ops.numpy"
    return next((module for module, names in CLASSES.items() if kind in names), None)
