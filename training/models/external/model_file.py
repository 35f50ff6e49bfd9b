"""A model file of somebody else, as one that scores crops."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.errors import TrainingError, out_of_memory
from training.models import keras_files
from training.models.external import keras_networks
from training.models.external.input_settings import (
    Images,
    InputSettings,
    as_input,
    cut_margins,
    input_size,
    kept_shares,
)
from training.models.external.networks import Network, first_line, onnx_network
from training.models.hdf5_files import is_hdf5

Floats = npt.NDArray[np.float64]

#: Probabilities nearer to 0 and 1 are taken for these: float32 rounds to 1 from there on.
_TINY, _ALMOST_ONE = 1e-37, 1 - 2.0**-24
#: How far the probabilities of two classes may be from a sum of 1.
_SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class ModelFile:
    """A model that scores crops; made by `open_model`.

    Attributes:
        network: from inputs to outputs.
        settings: how images become inputs; its `output` is known.
        size: height and width of the inputs.
        notes: what was assumed, one sentence each.
    """

    path: Path
    network: Network
    settings: InputSettings
    size: tuple[int, int]
    notes: list[str] = field(default_factory=list)

    def predict_on_batch(self, images: Images) -> Floats:
        """Return FAKE logits, float64 [B, 1], of RGB crops, uint8 [B, H, W, 3].

        Raises:
            TrainingError: the outputs are not what they were taken for.
        """
        outputs = self._outputs(images)
        if self.settings.output == "probability":
            if not _are_probabilities(outputs):
                raise TrainingError(
                    f"expected probabilities from {self.path}, found {outputs.min():.4g} to "
                    f"{outputs.max():.4g}; give --output logit"
                )
            classes = np.clip(outputs, _TINY, _ALMOST_ONE)
            logits = np.log(classes)
            logits = logits[:, :1] - np.log1p(-classes) if classes.shape[1] == 1 else logits
        else:
            logits = outputs
        if logits.shape[1] == 2:
            logits = logits[:, 1:] - logits[:, :1]
        return logits if self.settings.fake_is == 1 else -logits

    def described(self) -> str:
        """One line for people: what the file is, and what the model is given."""
        height, width = self.size
        return f"{self.network.format}, input {width}x{height}, {self.settings.described()}"

    def margin_cutter(self, rows: pa.Table) -> Callable[[Images], Images] | None:
        """A function that cuts the margins of batches of crops, in the order of their rows."""
        if self.settings.margin is None:
            return None
        shares, start = kept_shares(rows, self.settings.margin), 0

        def cut(images: Images) -> Images:
            nonlocal start
            start += len(images)
            return cut_margins(images, shares[start - len(images) : start])

        return cut

    def _outputs(self, images: Images) -> Floats:
        inputs = as_input(images, self.settings, self.size)
        try:
            found = self.network.run(inputs)
        except Exception as error:  # the network's own library has its own classes
            if out_of_memory(error):
                raise
            raise TrainingError(
                f"expected scores of {len(images)} images from {self.path}, found: "
                f"{first_line(error)}; try a smaller --batch-size, or export the model again"
            ) from error
        outputs = np.asarray(found, np.float64).reshape(len(images), -1)
        if outputs.shape[1] not in (1, 2) or not np.isfinite(outputs).all():
            raise TrainingError(
                f"expected one finite output, or two, for each image from {self.path}, found "
                f"{outputs.shape[1]}{'' if np.isfinite(outputs).all() else ', some not finite'}; "
                "give a model of the two classes REAL and FAKE"
            )
        return outputs


def open_model(path: Path, settings: InputSettings) -> ModelFile:
    """Open a `.keras` or `.h5` file or an ONNX file.

    Raises:
        TrainingError: the path is in none of these formats, or the model cannot be used.
    """
    network, notes = _open_network(path, settings)
    if settings.output:
        notes = [*notes, f"the output was given as a {settings.output}"]
    size = input_size(settings, network.size)
    if network.output or settings.output:
        known = replace(settings, output=network.output or settings.output)
        return ModelFile(path, network, known, size, notes)
    probed = ModelFile(path, network, settings, size)
    found = "probability" if _are_probabilities(probed._outputs(_probes())) else "logit"
    notes = [*notes, f"the output was taken for a {found}, by its values on four test images"]
    return ModelFile(path, network, replace(settings, output=found), size, notes)


def _open_network(path: Path, settings: InputSettings) -> tuple[Network, list[str]]:
    if path.is_file():
        with open(path, "rb") as file:
            start = file.read(8)
        if is_hdf5(start) or keras_files.is_archive(start):
            return keras_networks.keras_network(path, settings.size, settings.output)
        if path.suffix.lower() == ".onnx":
            return onnx_network(path), []
    if (path / "saved_model.pb").exists():
        raise TrainingError(
            f"expected a .keras, .h5 or .onnx file, found the SavedModel {path}, a program that "
            "could read and write files; convert it where it was made: "
            "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
        )
    found = "nothing" if not path.exists() else "a folder" if path.is_dir() else "another file"
    raise TrainingError(
        f"expected the folder of a run, a .keras or .h5 file or an .onnx file at {path}, found "
        f"{found}; export a PyTorch, TensorFlow or TensorFlow Lite model to ONNX"
    )


def _are_probabilities(outputs: Floats) -> bool:
    within = bool(((outputs >= 0) & (outputs <= 1)).all())
    two = outputs.shape[1] == 2
    return within and (not two or bool((np.abs(outputs.sum(axis=1) - 1) < _SUM_TOLERANCE).all()))


def _probes() -> Images:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    grey = [np.full((224, 224, 3), level, np.uint8) for level in (0, 128, 255)]
    return np.stack([*grey, noise])
