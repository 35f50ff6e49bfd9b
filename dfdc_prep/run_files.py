"""The contents of a run's config.json and metrics.json as dataclasses.

`asdict` gives the JSON values; `parse` checks JSON values and gives the dataclass.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

T = TypeVar("T")


@dataclass(frozen=True)
class Published:
    """Test accuracy and loss the paper reports; its test split shares families with training."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training; data, initial weights and seed are given separately.

    Attributes:
        images: number of images the recipe is meant for, over all splits and both classes.
        patience: epochs without a lower validation loss before training stops; 0 disables
            early stopping.
        augmentation: see `training.data.augmentation`.
        head_epochs: epochs that train the sigmoid unit only, with the backbone frozen.
        unfreeze_from: the first block trained afterwards ("block4"); "" trains all blocks.
        freeze_batchnorm: keep BatchNormalization's ImageNet statistics and scales.
        schedule: learning rate schedule after `head_epochs`: "constant", or "cosine" decay to
            zero.
    """

    name: str
    images: int
    epochs: int
    batch_size: int
    backbone: str = "EfficientNetB4"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    patience: int = 0
    augmentation: str = "none"
    head_epochs: int = 0
    head_learning_rate: float = 0.01
    unfreeze_from: str = ""
    freeze_batchnorm: bool = False
    schedule: str = "constant"
    label_smoothing: float = 0.0
    published: Published | None = None

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON-serializable values, for config.json."""
        return asdict(self)


@dataclass(frozen=True)
class CropSettings:
    """Detector, margin and alignment that the crops of a shards folder were cut with.

    Detector and margin are None if unknown. Runs of earlier versions were not aligned.
    """

    detector: str | None
    margin: FiniteFloat | None
    align: str = "none"


@dataclass(frozen=True)
class ShardsConfig:
    """The shards a run was trained on.

    Attributes:
        manifest: SHA-256 of the shards' manifest.
        counts: number of crops by split and label.
        metadata: the shards' metadata.json.
    """

    manifest: str
    counts: dict[str, dict[str, int]]
    crops: CropSettings
    metadata: dict[str, Any]


@dataclass(frozen=True)
class FitConfig:
    """The options of `training.fit` that change the result; see `FitOptions`."""

    weights: str
    steps_per_epoch: int | None
    precision: str
    seed: int


@dataclass(frozen=True)
class RunConfig:
    """The contents of config.json.

    Attributes:
        shards: absolute path of the shards.
        differences: how the run differs from the published recipe, one sentence each.
        device: description of the devices used.
        versions: versions of the libraries, by name.
    """

    recipe: Recipe
    options: FitConfig
    data: ShardsConfig
    shards: str
    differences: list[str]
    device: str
    versions: dict[str, str]


class Interval(NamedTuple):
    """A 95 % interval; None if it is undefined, or would say more than so few families can."""

    low: FiniteFloat | None
    high: FiniteFloat | None


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class; `support` is its number of images."""

    precision: FiniteFloat
    recall: FiniteFloat
    f1: FiniteFloat
    support: int


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of a set of images or clips, at a threshold of 0.5.

    Attributes:
        images: number of images or clips.
        auc: ROC-AUC; None if a class is missing.
        classes: metrics by label.
        confusion: counts, [2, 2]; rows are the true labels, columns the predicted ones, REAL first.
    """

    images: int
    accuracy: FiniteFloat
    log_loss: FiniteFloat
    auc: FiniteFloat | None
    classes: dict[str, ClassMetrics]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of the metrics of the same names."""

    accuracy: Interval
    log_loss: Interval
    auc: Interval


@dataclass(frozen=True)
class IntervalMetrics(ClassificationMetrics):
    """Metrics with their intervals."""

    interval: Intervals


@dataclass(frozen=True)
class Calibration:
    """Log-loss and expected calibration error before and after calibration."""

    log_loss: FiniteFloat
    log_loss_calibrated: FiniteFloat
    ece: FiniteFloat
    ece_calibrated: FiniteFloat


@dataclass(frozen=True)
class Localization:
    """Heatmaps beside masks; the means are None where no mask shows a forged face.

    Attributes:
        images: images whose mask shows a forged face.
        pointing_game, energy: means of `explanation.localization.score_heatmap`.
        area: mean share of the image that the mask covers: what chance scores.
    """

    images: int
    pointing_game: FiniteFloat | None
    energy: FiniteFloat | None
    area: FiniteFloat | None


@dataclass(frozen=True)
class OperatingPoint:
    """What a validation split tells about the use of a model; see `training.evaluation.metrics`.

    Attributes:
        temperature: the number that logits are divided by to calibrate them; 1 if unknown.
        threshold: P(FAKE) from which an image is called FAKE; None if unknown.
    """

    temperature: float = 1.0
    threshold: float | None = None


@dataclass(frozen=True)
class Undecided:
    """The calibrated P(FAKE), `low` to `high`, in which a face is neither called REAL nor FAKE.

    Attributes:
        why: what the band rests on, a clause without a full stop.
    """

    low: FiniteFloat = 0.0
    high: FiniteFloat = 1.0
    why: str = "nothing is known of a test of the model"


@dataclass(frozen=True)
class SplitMetrics:
    """The contents of metrics.json: the results on one split.

    Attributes:
        shards: path of the shards.
        image, clip: metrics per image and per clip.
        clips, families: their numbers in the split.
        temperature: the number that logits are divided by to calibrate them.
        localization: heatmaps beside masks; None if no image has a mask.
        threshold: the best threshold of P(FAKE) on the validation split; None if unknown.
        too_few: why there are no intervals; None if there are some.
        undecided: scores that do not tell REAL from FAKE on this split.
        remarks: what else the reader has to know, one sentence each.
    """

    split: str
    shards: str
    image: IntervalMetrics
    clip: IntervalMetrics
    clips: int
    families: int
    temperature: Annotated[FiniteFloat, Field(gt=0)]
    calibration: Calibration
    localization: Localization | None = None
    threshold: FiniteFloat | None = None
    too_few: str | None = None
    undecided: Undecided = Undecided()
    remarks: tuple[str, ...] = ()


def parse(kind: type[T], value: Any) -> T:
    """Check JSON values and return the dataclass.

    Raises:
        ValueError: a value is missing or has another type; the message names the first one.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{place or 'the whole'}: {first['msg']}") from error
