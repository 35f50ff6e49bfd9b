"""The networks of model files that other people made: ONNX, and Keras 2 and 3."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from manifests.errors import TrainingError, out_of_memory
from manifests.files import parse_json
from training.models import keras_files, legacy_models
from training.models.keras_files import FREE_SIDE, LARGEST_MAP, is_hdf5, open_hdf5, read_bytes
from training.models.keras_objects import UnknownLayer

Inputs = npt.NDArray[np.float32]

#: Operations of ONNX: what image classifiers are made of, as PyTorch and tf2onnx export them. None
#: runs other graphs (Loop, If, Scan), reads texts or draws random numbers.
_NAMES = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant
    ConstantOfShape Conv ConvInteger ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div
    Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul
    MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow QLinearConv
    QLinearMatMul QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
    ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Upsample Where
    Xor
"""
_OPERATIONS = frozenset(_NAMES.split())
#: Most bytes that ONNX Runtime may take for a network and its feature maps.
_MEMORY = 4 << 30
#: Height and width of the input where neither the file nor the caller tells.
_DEFAULT_SIZE = 224
_ELSEWHERE = "export it to ONNX with the library it was made with"


class Network(NamedTuple):
    """A network with one input and one output."""

    format: str  # for people
    run: Callable[[Inputs], Any]  # from float32 [B, H, W, 3] to [B, 1] or [B, 2]
    size: tuple[int | None, int | None]  # height and width of the input; None where any will do
    output: str | None = None  # "probability" or "logit"; None where the file does not tell


def onnx_network(path: Path) -> Network:
    """The network of an ONNX file, run by ONNX Runtime on the CPU.

    Raises:
        TrainingError: the file cannot be read, or has several inputs or outputs.
    """
    try:
        data = read_bytes(path)
        _check_onnx(data)
        session = _session(data)
    except Exception as error:  # ONNX Runtime has a class of its own for each kind of failure
        if out_of_memory(error):
            raise
        raise TrainingError(
            f"expected an ONNX file in {path}, found: {first_line(error)}; export the model again"
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for what, given in (("input", inputs), ("output", outputs)):
        if len(given) != 1:
            raise TrainingError(
                f"expected one {what} of the model in {path}, found {len(given)}: "
                f"{', '.join(each.name for each in given) or 'none'}; export it with one image "
                "input and one output"
            )
    batch, size, first = _image_shape(path, inputs[0].shape)
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    kind = types.get(inputs[0].type)
    if kind is None:
        raise TrainingError(
            f"expected an input of float32, float16 or uint8 in {path}, found {inputs[0].type}; "
            "export the model with another input"
        )

    def run(images: Inputs) -> Any:
        ordered = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if first else images
        return session.run(None, {inputs[0].name: ordered.astype(kind)})[0]

    return Network("ONNX", _in_batches(run, batch), size)


def _check_onnx(data: bytes) -> None:
    """Check a file before ONNX Runtime sees it.

    Raises:
        ValueError: it has an operation that is not of the list, values in another file, or a
            feature map that is too large.
        DecodeError: it is no ONNX file.
    """
    import onnx

    model = onnx.load_model_from_string(data)
    if model.functions or model.graph.sparse_initializer:
        raise ValueError("functions or sparse weights of its own")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type not in _OPERATIONS or node.domain not in ("", "ai.onnx"):
            raise ValueError(f"the operation {node.domain}{'.' * bool(node.domain)}{node.op_type}")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.sparse_tensors:
                raise ValueError(f"a graph in the operation {node.op_type}")
            tensors += [attribute.t, *attribute.tensors]
    if any(tensor.external_data or tensor.data_location for tensor in tensors):
        raise ValueError("weights in another file; external_data=False of PyTorch keeps them in it")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        sizes = [each.dim_value or FREE_SIDE for each in value.type.tensor_type.shape.dim[1:]]
        if math.prod(sizes) > LARGEST_MAP:
            raise ValueError(f"a feature map of {sizes}")


def _session(data: bytes) -> Any:
    """ONNX Runtime with the model, from memory: no path in it leads anywhere."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.use_env_allocators", "1")
    _limit_memory()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@cache
def _limit_memory() -> None:
    """Give sessions that use the allocator of the environment no more than `_MEMORY`."""
    import onnxruntime

    kinds = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    memory = onnxruntime.OrtMemoryInfo("Cpu", kinds[0], 0, kinds[1])
    settings = {"max_mem": _MEMORY, "arena_extend_strategy": 1}
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(settings))


def _image_shape(path: Path, shape: Any) -> tuple[int | None, tuple[int | None, int | None], bool]:
    """Batch size, height and width of an input, None where free, and whether channels come first.

    Raises:
        TrainingError: the input does not take batches of three-channel images.
    """
    sizes = [each if isinstance(each, int) else None for each in shape or ()]
    if len(sizes) == 4 and sizes[1] == 3:
        return sizes[0], (sizes[2], sizes[3]), True
    if len(sizes) == 4 and sizes[3] in (3, None):
        return sizes[0], (sizes[1], sizes[2]), False
    raise TrainingError(
        f"expected an input of color images, [batch, height, width, 3] or [batch, 3, height, "
        f"width], in {path}, found {list(shape or ())}; export the model with such an input"
    )


def _in_batches(run: Callable[[Inputs], Any], size: int | None) -> Callable[[Inputs], Any]:
    """Run in batches of a fixed size, filled up with black images, if the network has one."""
    if size is None:
        return run

    def run_fixed(images: Inputs) -> Any:
        outputs = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = np.zeros((size, *part.shape[1:]), part.dtype)
            filled[: len(part)] = part
            outputs.append(np.asarray(run(filled))[: len(part)])
        return np.concatenate(outputs)

    return run_fixed


def first_line(error: Exception) -> str:
    """The beginning of what a library says, or the class of its error."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def keras_network(path: Path, size: int | None, output: str | None) -> tuple[Network, list[str]]:
    """The network of a `.keras` or `.h5` file, and what was assumed about it.

    Args:
        size: height and width of the input where the file does not tell.
        output: "probability" or "logit" if the caller knows, else None.

    Raises:
        TrainingError: the file cannot be read, or has a layer that is not one of Keras.
    """
    try:
        data = read_bytes(path)
        reader = _read_h5 if is_hdf5(data) else _read_keras
        model, form, notes = reader(data, size or _DEFAULT_SIZE)
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
            return _read_weights(legacy_models.weights_group(file), size)
        parsed = parse_json(config)
        if version.startswith("3"):
            model = keras_files.build(parsed, len(data))
            keras_files.load_hdf5_weights(model, data)
            return model, "Keras 3 .h5", []
        with keras_files.limited(len(data)):
            model = legacy_models.build_legacy_model(parsed, size)
        legacy_models.copy_legacy_weights(legacy_models.weights_group(file), model)
        return model, "Keras 2 .h5", []


def _read_weights(group: Any, size: int) -> tuple[Any, str, list[str]]:
    model = legacy_models.model_of_weights(group, size)
    legacy_models.copy_legacy_weights(group, model)
    notes = [f"the file has weights but no layers; they were taken for those of {model.name}"]
    if legacy_models.correct_imagenet_scale(model):
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
    final = _final_layer(model)
    activation = getattr(getattr(final, "activation", None), "__name__", "")
    known = {"sigmoid": "probability", "softmax": "probability", "linear": "logit"}
    if output in (None, "probability") and known.get(activation) == "probability":
        # Without it, the output is a logit that no rounding to 0 or 1 has cut off.
        final.activation = keras.activations.linear
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
