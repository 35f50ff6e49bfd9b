"""A model file of somebody else, as one that scores crops, and how it wants its images."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from manifests.errors import TrainingError, out_of_memory
from manifests.folders import path_meant
from manifests.schemas import CROP_SIZE
from manifests.wording import counted
from training.models import keras_files
from training.models.classifier import MEAN, STD
from training.models.keras_files import is_hdf5
from training.models.networks import Network, first_line, keras_network, onnx_network
from training.models.settings import InputSettings

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

#: Probabilities nearer to 0 and 1 are taken for these: float32 rounds to 1 from there on.
_TINY, _ALMOST_ONE = 1e-37, 1 - 2.0**-24
#: How far the probabilities of two classes may be from a sum of 1.
_SUM_TOLERANCE = 1e-2


def as_input(
    images: Images, settings: InputSettings, size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Turn crops into the input of a model.

    Args:
        images: RGB, uint8 [B, H, W, 3].
        size: height and width to scale to, bilinear, with antialiasing where it gets smaller.

    Returns:
        float32 [B, *size, 3].
    """
    if images.shape[1:3] != size:
        images = np.stack([_scaled(image, size) for image in images])
    values: npt.NDArray[np.float32] = images.astype(np.float32)
    if settings.scale == "0..1":
        values /= 255
    elif settings.scale == "-1..1":
        values = values / 127.5 - 1
    elif settings.scale == "imagenet":
        # Mean and deviation belong to their colors, whatever the order.
        values = ((values / 255 - MEAN) / STD).astype(np.float32)
    return values[..., ::-1] if settings.channels == "bgr" else values


def _scaled(image: Images, size: tuple[int, int]) -> Images:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def kept_shares(rows: pa.Table, margin: float) -> Floats:
    """The share of each crop's side that remains if its margin is cut down, [N]; 1 at most.

    The margin of a crop is that of its row; in tables without one it follows from the box. Where
    neither is known, as in imported crops, the share is NaN.
    """
    longer = pc.cast(pc.max_element_wise(rows["w"], rows["h"], skip_nulls=False), pa.float64())
    from_box = pc.divide(pc.subtract(pc.divide(rows["crop_size"], longer), 1.0), 2.0)
    recorded = pc.coalesce(rows["margin"], from_box).to_numpy().astype(np.float64)
    shares: Floats = np.minimum((1 + 2 * margin) / (1 + 2 * recorded), 1.0)
    return shares


def cut_margins(images: Images, shares: Floats) -> Images:
    """Cut the middle out of crops, uint8 [B, S, S, 3], and scale it to their size.

    Of each side its share is kept, [B]; NaN keeps all.
    """
    side = images.shape[1]
    middles = []
    for image, share in zip(images, shares, strict=True):
        kept = side if np.isnan(share) else max(round(side * share), 1)
        start = (side - kept) // 2
        middle = image[start : start + kept, start : start + kept]
        middles.append(image if kept == side else _scaled(middle, (side, side)))
    return np.stack(middles)


def input_size(settings: InputSettings, network: tuple[int | None, int | None]) -> tuple[int, int]:
    """Height and width of the input: of the model, else the setting, else of the crops.

    Raises:
        TrainingError: the model has another size than the settings.
    """
    wanted = settings.size
    for fixed in network:
        if wanted is not None and fixed not in (None, wanted):
            raise TrainingError(
                f"expected a model for images of {wanted}x{wanted}, found one for "
                f"{network[0]}x{network[1]}; leave out --size"
            )
    height, width = (fixed or wanted or CROP_SIZE for fixed in network)
    return height, width


@dataclass(frozen=True)
class ModelFile:
    """A model that scores crops; made by `open_model`."""

    path: Path
    network: Network
    settings: InputSettings  # its `output` is known
    size: tuple[int, int]  # height and width of the inputs
    notes: list[str] = field(default_factory=list)  # what was assumed, one sentence each

    def predict_on_batch(self, images: Images) -> Floats:
        """Return FAKE logits, float64 [B, 1], of RGB crops, uint8 [B, H, W, 3].

        Raises:
            TrainingError: the outputs are not what they were taken for.
        """
        outputs = self.outputs(images)
        if self.settings.output == "probability":
            if not _are_probabilities(outputs):
                raise TrainingError(
                    f"expected probabilities from {self.path}, found {outputs.min():.4g} to "
                    f"{outputs.max():.4g}; give --output logit"
                )
            classes = np.clip(outputs, _TINY, _ALMOST_ONE)
            outputs = np.log(classes) - (np.log1p(-classes) if classes.shape[1] == 1 else 0)
        logits = outputs if outputs.shape[1] == 1 else outputs[:, 1:] - outputs[:, :1]
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

    def outputs(self, images: Images) -> Floats:
        """Return what the network gives for RGB crops, float64 [B, 1] or [B, 2]."""
        inputs = as_input(images, self.settings, self.size)
        try:
            found = self.network.run(inputs)
        except Exception as error:  # the network's own library has its own classes
            if out_of_memory(error):
                raise
            raise TrainingError(
                f"expected scores of {counted(len(images), 'image')} from {self.path}, found: "
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
    size = input_size(settings, network.size)
    output = network.output or settings.output
    if settings.output:
        notes.append(f"the output was given as a {settings.output}")
    if output is None:
        noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        grey = [np.full((224, 224, 3), level, np.uint8) for level in (0, 128, 255)]
        probed = ModelFile(path, network, settings, size).outputs(np.stack([*grey, noise]))
        output = "probability" if _are_probabilities(probed) else "logit"
        notes.append(f"the output was taken for a {output}, by its values on four test images")
    return ModelFile(path, network, replace(settings, output=output), size, notes)


@dataclass(frozen=True)
class Backbone:
    """A network whose output is taken for features of crops; made by `open_backbone`."""

    path: Path
    network: Network
    settings: InputSettings
    size: tuple[int, int]  # height and width of the inputs

    def features(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the output of the network for RGB crops, uint8 [B, H, W, 3], float32 [B, D].

        Raises:
            TrainingError: the output is not one vector of finite numbers for each image.
        """
        try:
            found = self.network.run(as_input(images, self.settings, self.size))
        except Exception as error:  # the network's own library has its own classes
            if out_of_memory(error):
                raise
            raise TrainingError(
                f"expected features of {counted(len(images), 'image')} from {self.path}, found: "
                f"{first_line(error)}; export the model again"
            ) from error
        outputs = np.asarray(found, np.float32)
        if outputs.ndim != 2 or len(outputs) != len(images) or not np.isfinite(outputs).all():
            finite = "" if np.isfinite(outputs).all() else ", some not finite"
            raise TrainingError(
                f"expected one vector of finite numbers for each image from {self.path}, found "
                f"{list(outputs.shape)}{finite}; end the network with global average pooling"
            )
        return outputs


def open_backbone(path: Path, settings: InputSettings) -> Backbone:
    """Open a `.keras`, `.h5` or ONNX file as a backbone.

    Its features are its output vector, of any length; those of a classifier are its logits where
    the file tells how to take its last sigmoid or softmax off.

    Raises:
        TrainingError: the path is in none of these formats, or the model cannot be used.
    """
    network, _ = _open_network(path, settings)
    return Backbone(path, network, settings, input_size(settings, network.size))


def _open_network(path: Path, settings: InputSettings) -> tuple[Network, list[str]]:
    if path.is_file():
        with open(path, "rb") as file:
            start = file.read(8)
        if is_hdf5(start) or keras_files.is_archive(start):
            return keras_network(path, settings.size, settings.output)
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
        f"{found}; "
        + (path_meant(path) or "export a PyTorch, TensorFlow or TensorFlow Lite model to ONNX")
    )


def _are_probabilities(outputs: Floats) -> bool:
    sums = outputs.sum(axis=1) if outputs.shape[1] == 2 else 1.0
    within = ((outputs >= 0) & (outputs <= 1)).all()
    return bool(within and (np.abs(sums - 1.0) < _SUM_TOLERANCE).all())
