"""Predicts P(FAKE) of images and clips with the model of a run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.special import expit

from dfdc_prep.crops.placement import MARGIN
from dfdc_prep.detectors.registry import DetectorChoice, choose_detector
from dfdc_prep.errors import ClipError, SourceUnreachable
from dfdc_prep.progress import aligned, tell
from manifests.errors import TrainingError
from manifests.files import atomic_file
from manifests.wording import counted
from training.evaluation.heatmaps import draw_side_by_side
from training.inference.face_crops import DecodingWorker, FaceCrop, FaceCropOptions
from training.measures.predictions import check_finite
from training.models import classifier
from training.runs.checkpoints import load_model
from training.runs.folder import Run

BATCH_SIZE = 32
OK, NO_FACE, UNREADABLE, NO_SCORE = "ok", "no_face", "unreadable", "no_score"


@dataclass(frozen=True)
class FacePrediction:
    """The box of a face, in pixels of its image or frame, and its calibrated P(FAKE)."""

    frame: int
    time_s: float
    x: int
    y: int
    w: int
    h: int
    p_fake: float
    heatmap: str | None = None  # path of the Grad-CAM image, if one was written


@dataclass(frozen=True)
class FilePrediction:
    """The result for one file, as `predict` and the app show it."""

    file: str
    status: str  # OK, NO_FACE, UNREADABLE, or NO_SCORE where the model gave no number
    p_fake: float | None = None  # sigmoid of the faces' mean calibrated logit; None unless OK
    error: str | None = None  # why the file is unreadable or has no score
    faces: tuple[FacePrediction, ...] = ()
    missing: str | None = None  # of a clip whose other frames were scored
    confinement: str | None = None  # of the process that decoded the file: "on", or "off" and why

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    def as_text(self, *, faces: bool = True) -> str:
        """One line for the file and one for each of its faces, if these are wanted."""
        missing = f"; not the whole clip: {self.missing}" if self.missing else ""
        if self.status == NO_FACE:
            return f"{self.file}: no face found{missing}"
        if self.p_fake is None:
            return f"{self.file}: {self.error}"
        score = f"P(FAKE) {self.p_fake:.4f}, {counted(len(self.faces), 'face')}"
        lines = [f"{self.file}: {score}{missing}"]
        for face in self.faces if faces else ():
            heatmap = f", heatmap {face.heatmap}" if face.heatmap else ""
            lines.append(
                f"  frame {face.frame} at {face.time_s:.2f} s, {face.w}x{face.h} at "
                f"{face.x},{face.y}: {face.p_fake:.4f}{heatmap}"
            )
        return "\n".join(lines)


class Scorer:
    """Scores face crops with the model of a run, and explains the scores.

    Raises TrainingError if the folder does not contain a finished run.
    """

    def __init__(self, folder: Path) -> None:
        run = Run(folder)
        crops = run.config().data.crops
        #: How the run's training data were cropped.
        self.margin = MARGIN if crops.margin is None else crops.margin
        self.align = crops.align
        self._detector = crops.detector or "auto"
        self._temperature = run.metrics().temperature
        self._model = load_model(run)
        self._logits = classifier.logit_model(self._model)
        self._features = classifier.feature_model(self._model)

    def detector(self, weights: Path | None = None) -> DetectorChoice:
        """The detector of the run's training data, YuNet or its fallback if the run records none.

        It is said on stderr if the fallback is taken. ModelError if the weights that the run
        records are not available.
        """
        choice = choose_detector(self._detector, weights)
        if advice := choice.advice():
            tell(aligned([("the run", "records no detector of its faces"), *advice]))
        return choice

    def score(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return uncalibrated FAKE logits, float64 [N], of RGB crops, uint8 [N, 224, 224, 3]."""
        predicted = self._logits.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        logits: npt.NDArray[np.float64] = np.asarray(predicted, np.float64)[:, 0]
        check_finite(logits, f"each of {counted(len(logits), 'face')}")
        return logits

    def calibrated_logits(self, faces: Sequence[FaceCrop]) -> npt.NDArray[np.float64]:
        """Return the FAKE logits of faces divided by the run's temperature, float64 [N]."""
        if not faces:
            return np.zeros(0)
        return self.score(np.stack([face.crop for face in faces])) / self._temperature

    def activations(self, faces: Sequence[FaceCrop]) -> npt.NDArray[np.float32]:
        """Return each face's Grad-CAM, float32 [N, h, w]; see `training.evaluation.heatmaps`."""
        crops = np.stack([face.crop for face in faces])
        features = self._features.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        return classifier.class_activation(self._model, features)


def predict_file(
    path: Path,
    options: FaceCropOptions,
    scorer: Scorer,
    worker: DecodingWorker,
    heatmaps: Path | None = None,
) -> FilePrediction:
    """Predict one image or clip; a file without a score becomes a result, not an exception.

    `heatmaps` is the folder for an image per face, its Grad-CAM and perhaps its mask beside it.
    """
    unscored = FilePrediction(str(path), UNREADABLE, confinement=worker.confinement)
    try:
        # The process may have another working folder.
        found = worker.find(path.absolute(), options, path.name)
    except (ClipError, SourceUnreachable) as error:
        return replace(unscored, error=str(error).replace(str(path.absolute()), str(path)))
    crops = found.crops
    try:
        logits = scorer.calibrated_logits(crops)
    except TrainingError as error:
        return replace(unscored, status=NO_SCORE, error=str(error))
    written: list[str | None] = []
    if heatmaps and crops:
        heatmaps.mkdir(parents=True, exist_ok=True)
        activations = scorer.activations(crops)
        for number, (face, activation) in enumerate(zip(crops, activations, strict=True)):
            name = f"{path.parent.name}-{path.name}-{face.frame:06d}_{number}.png".lstrip("-.")
            with atomic_file(heatmaps / name) as partial:
                drawn = draw_side_by_side(face.crop, activation, face.mask)
                Image.fromarray(drawn).save(partial)
            written.append(str(heatmaps / name))
    predicted = predict_faces(str(path), crops, logits, written)
    return replace(predicted, missing=found.missing, confinement=worker.confinement)


def predict_faces(
    file: str,
    crops: Sequence[FaceCrop],
    logits: npt.NDArray[np.float64],
    heatmaps: Sequence[str | None] = (),
) -> FilePrediction:
    """Combine the calibrated FAKE logits, [N], and heatmaps' paths of the faces of one file."""
    if not crops:
        return FilePrediction(file, NO_FACE)
    faces = tuple(
        FacePrediction(
            face.frame,
            face.time_s,
            *(face.box.x, face.box.y, face.box.w, face.box.h),
            float(p_fake),
            heatmap,
        )
        for face, p_fake, heatmap in zip(
            crops, expit(logits), heatmaps or [None] * len(crops), strict=True
        )
    )
    return FilePrediction(file, OK, float(expit(logits.mean())), faces=faces)
