"""The result of one upload, as the page and the downloads show it."""

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.run_files import Interval, Undecided
from manifests.errors import TrainingError
from manifests.labels import FAKE, REAL
from manifests.wording import counted
from training.inference.prediction import FilePrediction, View
from training.runs.folder import Run


@dataclass(frozen=True)
class FaceResult:
    """A scored face.

    Attributes:
        number: position among the file's faces, from 0.
        view: position of its picture among the result's views.
        person: number of the person, from 1.
        box: left, top, width, height in pixels of the source picture.
        p_fake: calibrated P(FAKE).
        crop: the crop, a PNG file.
        heatmap: the crop with its Grad-CAM over it, a JPEG file.
    """

    number: int
    view: int
    person: int
    frame: int
    time_s: float
    box: tuple[int, int, int, int]
    p_fake: float
    crop: bytes
    heatmap: bytes


@dataclass(frozen=True)
class PersonResult:
    """A person of a clip, or a face of an image.

    Attributes:
        number: from 1.
        p_fake: sigmoid of the mean calibrated logit of the person's faces.
    """

    number: int
    p_fake: float
    faces: tuple[FaceResult, ...]


@dataclass
class Result:
    """The faces of a file with their scores.

    Attributes:
        prediction: what `training.predict` says of the file.
        views: the image, or the sampled frames.
        persons: the main person first.
        annotated: the annotated clip as MP4; None while it is encoded and for images.
        annotation_error: why there is no annotated clip.
    """

    prediction: FilePrediction
    is_clip: bool
    views: Sequence[View]
    persons: list[PersonResult]
    annotated: bytes | None = None
    annotation_error: str | None = None

    @property
    def faces(self) -> list[FaceResult]:
        """All faces, in the order of the prediction."""
        found = [face for person in self.persons for face in person.faces]
        return sorted(found, key=lambda face: face.number)

    @property
    def annotation_state(self) -> str:
        """`ready`, `failed` or `pending`; `pending` forever for an image."""
        if self.annotated is not None:
            return "ready"
        return "failed" if self.annotation_error else "pending"

    def crops_zip(self) -> bytes:
        """A ZIP archive of the crops, named `<frame>_<face>.png` as `extract` names them."""
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for face in self.faces:
                in_frame = sum(
                    other.frame == face.frame and other.number < face.number for other in self.faces
                )
                # ZipInfo's default date makes the same crops the same bytes.
                archive.writestr(zipfile.ZipInfo(f"{face.frame:06d}_{in_frame}.png"), face.crop)
        return written.getvalue()


#: What a score is called that does not tell REAL from FAKE.
UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a run.

    Attributes:
        run: the folder as it was given.
        rows: name and value of each fact.
        tested: on how many clips the model was tested.
        undecided: scores that the pages call neither REAL nor FAKE.
        remarks: what else the reader has to know, one sentence each.
    """

    run: Path
    rows: tuple[tuple[str, str], ...]
    tested: str
    undecided: Undecided
    remarks: tuple[str, ...] = ()

    def word(self, p_fake: float, threshold: float) -> str:
        """What a score is called at a threshold; `static/app.js` decides in the same way."""
        if p_fake >= threshold and p_fake > self.undecided.high:
            return FAKE
        if p_fake < threshold and p_fake < self.undecided.low:
            return REAL
        return UNDECIDED

    @property
    def decides(self) -> bool:
        """Whether any score is called REAL or FAKE."""
        return self.undecided.low > 0 or self.undecided.high < 1


def read_facts(folder: Path) -> ModelFacts:
    """Read the facts from config.json and metrics.json.

    Raises:
        TrainingError: the folder does not contain a finished run.
    """
    run = Run(folder)
    config, metrics = run.config(), run.metrics()
    recipe, image = config.recipe, metrics.image
    trained = sum(config.data.counts.get("train", {}).values())
    few = metrics.too_few
    tested = f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"
    rows = (
        ("Model", f"{recipe.backbone}, recipe {recipe.name}"),
        ("Trained on", f"{trained:,} face crops"),
        ("Tested on", tested),
        ("Accuracy in the test", _with_interval(image.accuracy, image.interval.accuracy, few)),
        ("ROC-AUC in the test", _with_interval(image.auc, image.interval.auc, few)),
    )
    if not run.model_file.is_file():
        raise TrainingError(
            f"expected a model.keras in {folder}, found none; give the folder of a finished run "
            "of python -m training.fit"
        )
    return ModelFacts(folder, rows, tested, metrics.undecided, metrics.remarks)


def _with_interval(value: float | None, interval: Interval, few: str | None) -> str:
    """A figure with its interval; without one, why there is none, and no figure."""
    if value is None or interval.low is None or interval.high is None:
        return few or "unknown"
    return f"{value:.3f} (95 %: {interval.low:.3f} to {interval.high:.3f})"


#: Size of the drawing, in its own units; the page scales it.
WIDTH, HEIGHT = 480, 220
#: The plot's area within the drawing.
LEFT, RIGHT, TOP, BOTTOM = 40, 472, 10, 188
#: Largest number of labels on the time axis.
_MAX_TICKS = 7
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class CurvePoint:
    """A scored face on the curve; `view` is the position of its picture."""

    x: float
    y: float
    time_s: float
    p_fake: float
    view: int


@dataclass(frozen=True)
class CurveLine:
    """The points of one person, in order of time."""

    person: int
    points: tuple[CurvePoint, ...]

    @property
    def path(self) -> str:
        """The points as SVG's `polyline` takes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Curve:
    """The curve of a clip.

    Attributes:
        ticks: position and label of each mark on the time axis.
    """

    lines: tuple[CurveLine, ...]
    ticks: tuple[tuple[float, str], ...]


def draw_curve(persons: Sequence[PersonResult]) -> Curve:
    """Place P(FAKE) of each person over time, from 0 to the last scored frame."""
    end = max((face.time_s for person in persons for face in person.faces), default=0.0)
    end = end if end > 0 else 1.0

    def x(time_s: float) -> float:
        return LEFT + (RIGHT - LEFT) * time_s / end

    lines = tuple(
        CurveLine(
            person.number,
            tuple(
                CurvePoint(
                    x(face.time_s), height_of(face.p_fake), face.time_s, face.p_fake, face.view
                )
                for face in person.faces
            ),
        )
        for person in persons
    )
    step = next((step for step in _STEPS_S if end / step <= _MAX_TICKS), end)
    ticks = tuple((x(i * step), f"{i * step:g}") for i in range(math.floor(end / step) + 1))
    return Curve(lines, ticks)


def height_of(p_fake: float) -> float:
    """The vertical position of a probability."""
    return BOTTOM - (BOTTOM - TOP) * p_fake
