"""How a model file of somebody else wants its images; light, for --help."""

from dataclasses import dataclass
from typing import NamedTuple

CHANNELS = ("rgb", "bgr")
#: Ranges of the pixel values; `imagenet` is (value / 255 - mean) / deviation for each channel.
SCALES = ("0..255", "0..1", "-1..1", "imagenet")
#: What the output is: P, or its logit; with two outputs, P or logit of either class.
OUTPUTS = ("probability", "logit")


@dataclass(frozen=True)
class InputSettings:
    """The options of `evaluate` for a model file."""

    channels: str = "rgb"  # order of the color channels
    scale: str = "0..255"  # range of the pixel values
    size: int | None = None  # height and width; None for those of the model, else of the crops
    margin: float | None = None  # crops with a larger one are cut down to it; None leaves them
    fake_is: int = 1  # the class that is FAKE: 1 or 0
    output: str | None = None  # None for what the file tells

    def described(self) -> str:
        """One line for people."""
        margin = "as in the shards" if self.margin is None else f"cut down to {self.margin:g}"
        return (
            f"channels {self.channels.upper()}, values {self.scale}, margin {margin}, "
            f"FAKE is class {self.fake_is}"
        )


class Preset(NamedTuple):
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
