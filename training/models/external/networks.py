"""One interface to the networks of Keras and ONNX files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A network with one input and one output.

    Attributes:
        format: the file's format, for people.
        run: from images, float32 [B, H, W, 3], to outputs, [B, 1] or [B, 2].
        size: height and width of the input; None where any is accepted.
        output: "probability" or "logit"; None where the file does not tell.
    """

    format: str
    run: Callable[[Inputs], Any]
    size: tuple[int | None, int | None]
    output: str | None = None


def onnx_network(path: Path) -> Network:
    """The network of an ONNX file, run by ONNX Runtime on the CPU.

    Raises:
        TrainingError: the file cannot be read, or has several inputs or outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime has a class of its own for each kind of failure
        raise _unreadable(path, "an ONNX file", error) from error
    given = session.get_inputs()
    name = _only(path, "input", [each.name for each in given])
    _only(path, "output", [each.name for each in session.get_outputs()])
    batch, height, width, first = _image_shape(path, given[0].shape)
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    kind = types.get(given[0].type)
    if kind is None:
        raise TrainingError(
            f"expected an input of float32, float16 or uint8 in {path}, found {given[0].type}; "
            "export the model with another input"
        )

    def run(images: Inputs) -> Any:
        return session.run(None, {name: _ordered(images, first).astype(kind)})[0]

    return Network("ONNX", _in_batches(run, batch), (height, width))


def _only(path: Path, what: str, names: list[str]) -> str:
    if len(names) != 1:
        raise TrainingError(
            f"expected one {what} of the model in {path}, found {len(names)}: "
            f"{', '.join(names) or 'none'}; export it with one image input and one output"
        )
    return names[0]


def _image_shape(path: Path, shape: Any) -> tuple[int | None, int | None, int | None, bool]:
    """Batch size, height and width of an input, None where free, and whether channels come first.

    Raises:
        TrainingError: the input does not take batches of three-channel images.
    """
    sizes = [each if isinstance(each, int) else None for each in shape or ()]
    if len(sizes) == 4 and sizes[3] in (3, None) and sizes[1] != 3:
        return sizes[0], sizes[1], sizes[2], False
    if len(sizes) == 4 and sizes[1] == 3:
        return sizes[0], sizes[2], sizes[3], True
    raise TrainingError(
        f"expected an input of color images, [batch, height, width, 3] or [batch, 3, height, "
        f"width], in {path}, found {list(shape or ())}; export the model with such an input"
    )


def _ordered(images: Inputs, channels_first: bool) -> Inputs:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if channels_first else images


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


def _unreadable(path: Path, expected: str, error: Exception) -> TrainingError:
    lines = str(error).strip().splitlines()
    return TrainingError(
        f"expected {expected} in {path}, found: {lines[0] if lines else type(error).__name__}; "
        "export the model again"
    )
