"""The result of one upload and the facts about the model, as the pages show them."""

import io
import math
import shlex
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dfdc_prep.run_files import Interval, Undecided
from manifests.labels import FAKE, REAL
from manifests.wording import counted
from training.runs.folder import Run

if TYPE_CHECKING:  # they import OpenCV, TensorFlow and this module
    from training.app.jobs import Upload
    from training.inference.face_crops import View
    from training.inference.scorer import FilePrediction

#: What a score is called that does not tell REAL from FAKE.
UNDECIDED = "UNDECIDED"
#: Size of the drawing of the curve, in its own units; the page scales it.
WIDTH, HEIGHT = 480, 220
#: The plot's area within the drawing.
LEFT, RIGHT, TOP, BOTTOM = 40, 472, 10, 188
#: Largest number of labels on the time axis, and their distances in seconds.
_MAX_TICKS = 7
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class FaceResult(NamedTuple):
    """A scored face."""

    number: int  # position among the file's faces, from 0
    view: int  # position of its picture among the result's views
    person: int  # from 1
    frame: int
    time_s: float
    box: tuple[int, int, int, int]  # left, top, width, height in pixels of the source picture
    p_fake: float  # calibrated
    crop: bytes  # PNG
    heatmap: bytes  # JPEG: the crop with its Grad-CAM over it
    scale: float | None  # the logit of the heatmap's last colour; None if the heatmap is flat


class PersonResult(NamedTuple):
    """A person of a clip, or a face of an image."""

    number: int  # from 1
    p_fake: float  # sigmoid of the mean calibrated logit of the person's faces
    faces: tuple[FaceResult, ...]


@dataclass
class Result:
    """The faces of a file with their scores."""

    prediction: "FilePrediction"  # what `predict` says of the file
    is_clip: bool
    views: "Sequence[View]"  # the image, or the sampled frames
    persons: list[PersonResult]  # the main person first
    annotated: bytes | None = None  # MP4; None while it is encoded and for images
    annotation_error: str | None = None  # why there is no annotated clip

    @property
    def faces(self) -> list[FaceResult]:
        """All faces, in the order of the prediction."""
        return sorted(face for person in self.persons for face in person.faces)

    def crops_zip(self) -> bytes:
        """A ZIP archive of the crops, named `<frame>_<face>.png` as `extract` names them."""
        written, faces = io.BytesIO(), self.faces
        with zipfile.ZipFile(written, "w") as archive:
            for number, face in enumerate(faces):
                in_frame = sum(other.frame == face.frame for other in faces[:number])
                # ZipInfo's default date makes the same crops the same bytes.
                archive.writestr(zipfile.ZipInfo(f"{face.frame:06d}_{in_frame}.png"), face.crop)
        return written.getvalue()


class CurveLine(NamedTuple):
    """The faces of one person, in order of time, each with its position."""

    person: int
    points: list[tuple[float, float, FaceResult]]
    path: str  # the points as SVG's `polyline` takes them


class Curve(NamedTuple):
    """The curve of a clip, and the position and label of each mark on its time axis."""

    lines: list[CurveLine]
    ticks: list[tuple[float, str]]


def draw_curve(persons: Sequence[PersonResult]) -> Curve:
    """Place P(FAKE) of each person over time, from 0 to the last scored frame."""
    end = max((face.time_s for person in persons for face in person.faces), default=0.0) or 1.0

    def x(time_s: float) -> float:
        return LEFT + (RIGHT - LEFT) * time_s / end

    lines = []
    for person in persons:
        points = [(x(face.time_s), height_of(face.p_fake), face) for face in person.faces]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top, _ in points)
        lines.append(CurveLine(person.number, points, path))
    step = next((step for step in _STEPS_S if end / step <= _MAX_TICKS), end)
    return Curve(lines, [(x(i * step), f"{i * step:g}") for i in range(math.floor(end / step) + 1)])


def height_of(p_fake: float) -> float:
    """The vertical position of a probability."""
    return BOTTOM - (BOTTOM - TOP) * p_fake


class ModelFacts(NamedTuple):
    """Facts about a run."""

    run: Path
    rows: tuple[tuple[str, str], ...]  # name and value of each fact
    tested: str  # on how many clips and families the model was tested
    undecided: Undecided  # scores that the pages call neither REAL nor FAKE
    remarks: tuple[str, ...] = ()  # what else the reader has to know, one sentence each
    detector_model: Path | None = None  # the detector's weights, if the app was given them

    def without_folders(self) -> "ModelFacts":
        """The facts for browsers of other machines: they do not tell where the files lie here."""
        model = self.detector_model
        return self._replace(run=Path(self.run.name), detector_model=model and Path(model.name))

    def command(self, upload: "Upload", is_clip: bool) -> str:
        """The command that prints the JSON of an upload, in the folder where its file lies."""
        # A name that is not shown whole could not be pasted, or would do something else.
        name = upload.name if upload.whole_name else "FILE"
        words = ["dfdc-prep", "predict", str(self.run), f"./{name}" if name[0] == "-" else name]
        words += ["--json", "--faces", "all" if upload.every_face else "largest"]
        words += ["--frames", str(upload.frames)] if is_clip else []
        model = self.detector_model
        return shlex.join([*words, *(["--detector-model", str(model)] if model else [])])

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


def read_facts(folder: Path, detector_model: Path | None = None) -> ModelFacts:
    """Read the facts from config.json and metrics.json; TrainingError if the run is unfinished."""
    run = Run(folder)
    run.check_finished()
    config, metrics = run.config(), run.metrics()
    recipe, image = config.recipe, metrics.image
    trained = sum(config.data.counts.get("train", {}).values())
    tested = f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"

    def figure(value: float | None, interval: Interval) -> str:
        if value is None or interval.low is None or interval.high is None:
            return metrics.too_few or "unknown"  # no figure without an interval
        return f"{value:.3f} (95 %: {interval.low:.3f} to {interval.high:.3f})"

    rows = (
        ("Model", f"{recipe.backbone}, recipe {recipe.name}"),
        ("Trained on", counted(trained, "face crop")),
        ("Tested on", tested),
        ("Accuracy in the test", figure(image.accuracy, image.interval.accuracy)),
        ("ROC-AUC in the test", figure(image.auc, image.interval.auc)),
    )
    known = metrics.undecided, metrics.remarks, detector_model
    return ModelFacts(folder, rows, tested, *known)
