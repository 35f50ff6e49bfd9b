"""The files of a run folder: their contents as dataclasses, and how they are read.

`training` writes them and `dfdc-prep report` reads them again, so TensorFlow is not needed here.
`asdict` gives the JSON values of a dataclass.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from dfdc_prep.hyperparameters import Recipe
from manifests.errors import TrainingError
from manifests.files import atomic_file
from manifests.folders import REPORT, RunFolder, path_meant
from manifests.wording import counted

T = TypeVar("T")

#: Columns of history.csv.
HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")
#: Columns of predictions.parquet that identify an image.
IMAGE_COLUMNS = ("video", "part", "label", "family", "frame", "face", "path")
#: Measures of cross.csv in the order of the table, and their titles.
MEASURES = {
    "accuracy": "accuracy",
    "accuracy_at_threshold": "at threshold",
    "log_loss": "log-loss",
    "log_loss_calibrated": "calibrated",
    "brier": "Brier",
    "ece": "ECE",
    "auc": "ROC-AUC",
    "average_precision": "AP",
    "eer": "EER",
    "tpr_at_fpr_1": "TPR at 1 %",
    "tpr_at_fpr_5": "TPR at 5 %",
    "aurc": "AURC",
}
#: Measures of the share of FAKE found while at most so much of REAL is called FAKE.
TPR_AT = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
#: Measures of a group of clips, and their titles.
GROUP_MEASURES = {
    "auc": "ROC-AUC",
    "accuracy": "accuracy",
    "right_real": "REAL called right",
    "right_fake": "FAKE called right",
}
#: Measures without an interval.
NO_INTERVAL = ("ece", "aurc")
#: Measures of one split, and their titles.
TITLES = {"accuracy": "accuracy", "log_loss": "log-loss", "auc": "ROC-AUC"}
#: The method of rows about every fake of a set.
ALL = "all"
#: What holds for the model of every run.
LIMITS = (
    "The results apply to crops cut the same way from the same kind of data. Accuracy within one "
    "data set does not transfer: expect much less on other forgeries, cameras and compressions.",
    "Splits by original keep known families apart. A fake that names no original may have "
    "relatives in another split, and actors recur: `dfdc-prep audit SHARDS` says what is known.",
    "The score describes pixels. It proves nothing about a person; do not use it to accuse anyone.",
    "Blur, small faces, strong compression, very dark or bright scenes and extreme poses lower the "
    "accuracy; `dfdc-prep evaluate RUN --robustness` measures by how much.",
)


@dataclass(frozen=True)
class CropSettings:
    """Detector, margin and alignment that crops were cut with; None if unknown."""

    detector: str | None
    margin: FiniteFloat | None
    align: str = "none"


@dataclass(frozen=True)
class ShardsConfig:
    """The shards a run was trained on."""

    manifest: str  # SHA-256 of the shards' manifest
    counts: dict[str, dict[str, int]]  # crops by split and label
    crops: CropSettings
    metadata: dict[str, Any]  # the shards' metadata.json


@dataclass(frozen=True)
class FitConfig:
    """The options of `training.fit` that change the result; see `FitOptions`."""

    weights: str
    steps_per_epoch: int | None
    precision: str
    seed: int


@dataclass(frozen=True)
class RunConfig:
    """The contents of config.json."""

    recipe: Recipe
    options: FitConfig
    data: ShardsConfig
    shards: str  # absolute path, or URL
    differences: list[str]  # from the published recipe, one sentence each
    device: str
    versions: dict[str, str]  # of the libraries, by name


class Interval(NamedTuple):
    """A 95 % interval; None if it is undefined, or would say more than so few families can."""

    low: FiniteFloat | None
    high: FiniteFloat | None

    def text(self, few: str | None) -> str:
        """The ends of an interval, or why there is none: `SplitMetrics.too_few`."""
        if self.low is None or self.high is None:
            return few or "none"
        return f"{self.low:.4f} to {self.high:.4f}"


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class; `support` is its number of images."""

    precision: FiniteFloat
    recall: FiniteFloat
    f1: FiniteFloat
    support: int


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of the metrics of the same names."""

    accuracy: Interval
    log_loss: Interval
    auc: Interval


@dataclass(frozen=True)
class Metrics:
    """Metrics of a set of images or clips, at a threshold of 0.5, with their intervals."""

    images: int  # number of images or clips
    accuracy: FiniteFloat
    log_loss: FiniteFloat
    auc: FiniteFloat | None  # ROC-AUC; None if a class is missing
    classes: dict[str, ClassMetrics]  # by label
    confusion: list[list[int]]  # counts, [2, 2]: rows true, columns predicted, REAL first
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
    """Heatmaps beside masks; the means are None where no mask shows a forged face."""

    images: int  # whose mask shows a forged face
    pointing_game: FiniteFloat | None  # means of `training.evaluation.heatmaps.score_heatmap`
    energy: FiniteFloat | None
    area: FiniteFloat | None  # mean share of the image that the mask covers: what chance scores


@dataclass(frozen=True)
class OperatingPoint:
    """What a validation split tells about the use of a model; see `training.measures.metrics`."""

    temperature: float = 1.0  # that logits are divided by to calibrate them; 1 if unknown
    threshold: float | None = None  # P(FAKE) from which an image is called FAKE


@dataclass(frozen=True)
class Undecided:
    """The calibrated P(FAKE), `low` to `high`, in which a face is neither called REAL nor FAKE."""

    low: FiniteFloat = 0.0
    high: FiniteFloat = 1.0
    why: str = "nothing is known of a test of the model"  # a clause without a full stop


@dataclass(frozen=True)
class SplitMetrics:
    """The contents of metrics.json: the results on one split."""

    split: str
    shards: str
    image: Metrics
    clip: Metrics
    clips: int
    families: int
    temperature: Annotated[FiniteFloat, Field(gt=0)]
    calibration: Calibration
    localization: Localization | None = None  # None if no image has a mask
    threshold: FiniteFloat | None = None  # the best one on the validation split
    too_few: str | None = None  # why there are no intervals
    undecided: Undecided = Undecided()
    remarks: tuple[str, ...] = ()  # what else the reader has to know, one sentence each

    @property
    def levels(self) -> dict[str, Metrics]:
        """The metrics per image and per clip."""
        return {"image": self.image, "clip": self.clip}


@dataclass(frozen=True)
class RobustnessRow:
    """A row of robustness.csv; `auc` is None if a class is missing."""

    disturbance: str
    level: str
    accuracy: FiniteFloat
    auc: FiniteFloat | None


@dataclass(frozen=True)
class CrossRow:
    """A row of cross.csv: one measure of one model on one group."""

    model: str
    set: str  # name of the data set
    split: str
    method: str  # whose fakes are measured against every REAL of the set, or ALL
    level: str  # "image" or "clip"
    measure: str
    value: float | None  # None where undefined, as the ends of its 95 % interval
    low: float | None
    high: float | None
    real: int  # number of images or clips of each label
    fake: int
    families: int
    trained_on: int | None  # how many may be known from training; None if that is not known
    temperature: float  # of the model's own validation split
    threshold: float | None

    def with_interval(self) -> str:
        """The value, and its interval on a second line; empty if it is undefined."""
        if self.value is None or self.measure in NO_INTERVAL:
            return "" if self.value is None else f"{self.value:.3f}"
        known = self.low is not None and self.high is not None
        return f"{self.value:.3f}\n" + (f"{self.low:.3f}-{self.high:.3f}" if known else "too few")


@dataclass(frozen=True)
class DifferenceRow:
    """A row of comparison.csv: a measure of two models, or of one recipe's runs, on one split."""

    set: str
    split: str
    model: str
    other: str
    measure: str
    difference: float | None  # of `model` less that of `other`, the mean over runs of a recipe
    low: float | None  # ends of its 95 % interval; None for too few families
    high: float | None
    p: float | None  # two-sided
    p_holm: float | None  # adjusted for all pairs of the split and measure
    p_delong: float | None  # None where clips are not independent, and for other measures
    clips: int  # that both were compared on
    families: int


@dataclass(frozen=True)
class SeedRow:
    """A row of seeds.csv: a measure over the runs of one recipe that differ in their seed."""

    set: str
    split: str
    model: str
    measure: str
    runs: int
    mean: float | None
    deviation: float | None  # standard deviation with n - 1
    smallest: float | None
    largest: float | None


@dataclass(frozen=True)
class RiskRow:
    """A row of risk.csv: the share called wrong of the surest 5, 10 ... 100 % of the clips."""

    set: str
    split: str
    model: str
    coverage: float  # share of the clips that are decided
    risk: float  # share of these called wrong


@dataclass(frozen=True)
class GroupRow:
    """A row of attributes.csv: a measure of one model on the clips of one group."""

    set: str
    split: str
    model: str
    attribute: str  # column of the table of attributes
    group: str  # value in it
    measure: str
    value: float | None
    low: float | None
    high: float | None
    real: int  # number of clips of each label
    fake: int
    families: int
    too_few: str | None  # why there is no interval


@dataclass(frozen=True)
class GapRow:
    """A row of gaps.csv: the largest gap between two groups of an attribute."""

    set: str
    split: str
    model: str
    attribute: str
    measure: str
    group: str
    other: str
    difference: float
    low: float | None  # ends of an interval that holds for all pairs of groups together
    high: float | None
    p: float | None
    p_holm: float | None  # adjusted for all pairs of groups of the attribute
    shared: int  # families with clips in both groups


@dataclass(frozen=True)
class CoverageRow:
    """A row of coverage.csv: which clips a model scored."""

    set: str
    split: str
    model: str
    ok: int  # clips with a score
    missing: int  # of which the results say nothing
    error: int  # whose row has no score
    elsewhere: int  # rows that are of clips of other splits, left out
    counted_as: str  # what a clip without a score counts as
    min_coverage: float  # smallest share of the clips that a model must have scored


@dataclass(frozen=True)
class NoteRow:
    """A row of notes.csv: what else the reader of a comparison has to know, in a sentence."""

    note: str
    warning: bool = False


#: The tables of a comparison, by file: how a row looks.
COMPARISON_FILES: dict[str, type] = {
    "coverage.csv": CoverageRow,
    "comparison.csv": DifferenceRow,
    "seeds.csv": SeedRow,
    "risk.csv": RiskRow,
    "attributes.csv": GroupRow,
    "gaps.csv": GapRow,
    "notes.csv": NoteRow,
}
#: Columns of scores.parquet and scores.csv: one row per clip of the split that was scored.
SCORE_COLUMNS = ("part", "video", "label", "family", "images", "status", "score", "logit")
ROBUSTNESS_COLUMNS = [field.name for field in fields(RobustnessRow)]
CROSS_COLUMNS = [field.name for field in fields(CrossRow)]


def by_measure(rows: Iterable[CrossRow]) -> dict[tuple[str, str, str], dict[str, CrossRow]]:
    """The rows of each set, method and level, by measure."""
    groups: dict[tuple[str, str, str], dict[str, CrossRow]] = {}
    for row in rows:
        groups.setdefault((row.set, row.method, row.level), {})[row.measure] = row
    return groups


def overlap_lines(model: str, rows: Iterable[CrossRow]) -> list[str]:
    """How many images of each set are of families or files that the model was trained on."""
    images = [r for r in rows if (r.method, r.level, r.measure) == (ALL, "image", "accuracy")]
    if any(row.trained_on is None for row in images):
        return [f"Whether {model} was trained on clips of these sets is not known."]
    return [
        f"Of families or files that {model} was trained on: {row.trained_on:,} of "
        f"{counted(row.real + row.fake, 'image')} of {row.set}; its figures there are too good."
        for row in images
        if row.trained_on
    ]


class RunFiles:
    """The folder of a run, or of an evaluation, for example `runs/v1.3`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / RunFolder.CONFIG
        self.history_file = folder / RunFolder.HISTORY
        self.model_file = folder / RunFolder.MODEL
        self.metrics_file = folder / RunFolder.METRICS
        self.predictions_file = folder / RunFolder.PREDICTIONS
        self.scores_file = folder / "scores.parquet"  # and scores.csv
        self.robustness_file = folder / "robustness.csv"
        self.cross_file = folder / RunFolder.CROSS  # of an evaluation on several data sets
        self.card_file = folder / "README.md"
        self.report_file = folder / REPORT
        self.mistakes = folder / RunFolder.MISTAKES
        self.checkpoints = folder / RunFolder.CHECKPOINTS
        self.logs = folder / RunFolder.LOGS

    @property
    def name(self) -> str:
        """What the folder is called; of an evaluation, also whose it is: "v1.3-celeb-test"."""
        *_, second, first, own = ("", "", *self.folder.resolve().parts)
        inside = (RunFolder.EVALUATIONS, RunFolder.BESIDE)
        whose = second if first in inside else first if second in inside else ""
        return f"{whose}-{own}" if whose else own

    def config(self) -> RunConfig:
        """Read config.json; TrainingError if it is missing or invalid."""
        return _read_json(self.config_file, RunConfig)

    def metrics(self) -> SplitMetrics:
        """Read metrics.json; TrainingError if it is missing (no evaluation yet) or invalid."""
        return _read_json(self.metrics_file, SplitMetrics)

    def history(self) -> list[dict[str, float]]:
        """Read history.csv: one row per epoch; as `read_rows`."""
        rows = read_rows(self.history_file, dict[str, FiniteFloat], HISTORY_COLUMNS)
        if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
            raise _not_ours(self.history_file, "epochs not numbered 1, 2, 3 ...")
        return rows

    def robustness(self) -> list[RobustnessRow]:
        """Read robustness.csv; as `read_rows`."""
        return read_rows(self.robustness_file, RobustnessRow, ROBUSTNESS_COLUMNS)

    def cross(self) -> list[CrossRow]:
        """Read cross.csv; as `read_rows`."""
        return read_rows(self.cross_file, CrossRow, CROSS_COLUMNS)

    def comparison(self, name: str) -> list[Any]:
        """Read one of COMPARISON_FILES; as `read_rows`."""
        kind = COMPARISON_FILES[name]
        return read_rows(self.folder / name, kind, [field.name for field in fields(kind)])


def _read_json(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise _not_ours(path, "none" if isinstance(error, OSError) else error) from error


def read_rows(path: Path, kind: type[T], columns: Sequence[str] = ()) -> list[T]:
    """Read the rows of a CSV file; an empty field is None. Empty if the file does not exist.

    A row is a dataclass or a dictionary, as `kind` says. The file must have the columns, unless
    none are given; TrainingError if it is invalid.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if columns and reader.fieldnames != list(columns):
                raise ValueError(f"other columns than {', '.join(columns)}")
            rows = [{n: v or None for n, v in row.items()} for row in reader]
        return TypeAdapter(list[kind]).validate_python(rows)  # type: ignore[valid-type]
    except FileNotFoundError:
        return []
    except (ValueError, csv.Error) as error:
        raise _not_ours(path, error) from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Any]) -> None:
    """Write rows, dataclasses or dictionaries, as CSV, atomically; None is an empty field."""
    with atomic_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row if isinstance(row, Mapping) else asdict(row) for row in rows)


def _not_ours(path: Path, found: str | Exception) -> TrainingError:
    if isinstance(found, ValidationError):
        first = found.errors()[0]
        found = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
    again = "train again with --fresh" if path.name != RunFolder.CROSS else "delete it"
    made_by = "fit"
    if path.name in COMPARISON_FILES:
        made_by, again = "compare", "run dfdc-prep compare again"
    return TrainingError(
        f"expected a {path.name} of dfdc-prep {made_by} in {path.parent}, found {found}; "
        + (path_meant(path.parent) or f"give the folder of a finished run, or {again}")
    )
