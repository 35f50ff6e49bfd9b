"""How a model that somebody else trained wants its images, and what its output means."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from manifests.columns import CROP_SIZE
from manifests.errors import TrainingError
from training.models.classifier import MEAN, STD

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

CHANNELS = ("rgb", "bgr")
#: Ranges of the pixel values; `imagenet` is (value / 255 - mean) / deviation for each channel.
SCALES = ("0..255", "0..1", "-1..1", "imagenet")
#: What the output is: P, or its logit; with two outputs, P or logit of either class.
OUTPUTS = ("probability", "logit")


@dataclass(frozen=True)
class InputSettings:
    """The options of `training.evaluate` for a model file.

    Attributes:
        channels: order of the color channels.
        scale: range of the pixel values, one of SCALES.
        size: height and width of the input; None for those of the model, else of the crops.
        margin: crops with a larger margin are cut down to this one; None leaves them.
        fake_is: the class that is FAKE: 1 or 0.
        output: one of OUTPUTS; None for what the file tells.
    """

    channels: str = "rgb"
    scale: str = "0..255"
    size: int | None = None
    margin: float | None = None
    fake_is: int = 1
    output: str | None = None

    def described(self) -> str:
        """One line for people."""
        margin = "as in the shards" if self.margin is None else f"cut down to {self.margin:g}"
        return (
            f"channels {self.channels.upper()}, values {self.scale}, margin {margin}, "
            f"FAKE is class {self.fake_is}"
        )


@dataclass(frozen=True)
class Preset:
    """Settings of a published model, and what its users have to know."""

    settings: InputSettings
    notes: tuple[str, ...]


#: Published models by the name for `--as`. ReDeepFake's settings are those of its demo app, whose
#: score is compared with 0.5 for clips and with 0.33 for images.
PRESETS = {
    "redeepfake": Preset(
        InputSettings(channels="bgr", size=224, margin=0.0),
        (
            "settings of ReDeepFake's demo app: BGR, 0 to 255, faces without a margin; how the "
            "model was trained is not known, so these may not be the inputs it was trained on",
            "its split is not known either: it may have been trained on clips of these shards",
        ),
    )
}


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
    picture = Image.fromarray(image)
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


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
    """Cut the middle out of crops and scale it to their size.

    Args:
        images: uint8 [B, S, S, 3].
        shares: share of the side that is kept, [B]; NaN keeps all.
    """
    return np.stack([_middle(image, share) for image, share in zip(images, shares, strict=True)])


def _middle(image: Images, share: float) -> Images:
    side = image.shape[0]
    kept = side if np.isnan(share) else max(round(side * share), 1)
    if kept == side:
        return image
    start = (side - kept) // 2
    return _scaled(image[start : start + kept, start : start + kept], (side, side))


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
