"""The model of a run, loaded to score face crops and explain the scores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dfdc_prep.crops.placement import MARGIN
from dfdc_prep.detectors.registry import DetectorChoice, choose_detector
from dfdc_prep.errors import ClipError, SourceUnreachable
from dfdc_prep.run_files import CropSettings
from manifests.errors import TrainingError
from manifests.files import atomic_file
from manifests.wording import counted
from training.evaluation.heatmaps import draw_side_by_side
from training.inference.face_crops import FaceCrop, FaceCropOptions, find_faces
from training.inference.prediction import (
    NO_FACE,
    NO_SCORE,
    OK,
    UNREADABLE,
    FacePrediction,
    FilePrediction,
)
from training.models import classifier
from training.runs.checkpoints import load_model
from training.runs.folder import Run

BATCH_SIZE = 32


class Scorer:
    """Scores face crops with the model of a run.

    Args:
        folder: the run.

    Attributes:
        crop_settings: detector, margin and alignment recorded for the run's training data.
        temperature: the number logits are divided by to calibrate them.

    Raises:
        TrainingError: the folder does not contain a finished run.
    """

    def __init__(self, folder: Path) -> None:
        run = Run(folder)
        self.crop_settings = run.config().data.crops
        self.temperature = run.metrics().temperature
        self._model = load_model(run)
        self._logits = classifier.logit_model(self._model)
        self._features = classifier.feature_model(self._model)

    def score(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return uncalibrated FAKE logits, float64 [N], of RGB crops, uint8 [N, 224, 224, 3].

        Raises:
            TrainingError: a logit is not finite.
        """
        predicted = self._logits.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        logits = np.asarray(predicted, np.float64)[:, 0]
        if bad := int((~np.isfinite(logits)).sum()):
            raise TrainingError(
                f"expected a finite score for each of {counted(len(logits), 'face')}, found "
                f"{bad:,} that are not (NaN or infinite); the model is broken, so train it again"
            )
        return logits

    def calibrated_logits(self, faces: Sequence[FaceCrop]) -> npt.NDArray[np.float64]:
        """Return the FAKE logits of faces divided by the temperature, float64 [N]."""
        if not faces:
            return np.zeros(0)
        return self.score(np.stack([face.crop for face in faces])) / self.temperature

    def activations(self, faces: Sequence[FaceCrop]) -> npt.NDArray[np.float32]:
        """Return each face's Grad-CAM, float32 [N, h, w]; see `training.evaluation.heatmaps`."""
        crops = np.stack([face.crop for face in faces])
        features = self._features.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        return classifier.class_activation(self._model, features)


def settings_for_run(
    recorded: CropSettings, detector_model: Path | None = None
) -> tuple[DetectorChoice, float]:
    """Detector and margin of a run's training data; the defaults where they were not recorded.

    Raises:
        ModelError: the detector's weights are not available.
    """
    detector = choose_detector(recorded.detector or "auto", detector_model)
    return detector, MARGIN if recorded.margin is None else recorded.margin


def predict_file(
    path: Path, options: FaceCropOptions, scorer: Scorer, heatmaps: Path | None = None
) -> FilePrediction:
    """Predict one image or clip; a file without a score becomes a result, not an exception.

    Args:
        heatmaps: folder for one image per face with its Grad-CAM beside it.
    """
    try:
        found = find_faces(path, options)
    except (ClipError, SourceUnreachable) as error:
        return FilePrediction(str(path), UNREADABLE, error=str(error))
    crops = found.crops
    try:
        logits = scorer.calibrated_logits(crops)
    except TrainingError as error:
        return FilePrediction(str(path), NO_SCORE, error=str(error))
    written: list[str | None] | None = None
    if heatmaps and crops:
        written = write_heatmaps(heatmaps, path, crops, scorer.activations(crops))
    return replace(predict_faces(str(path), crops, logits, written), missing=found.missing)


def predict_faces(
    file: str,
    crops: Sequence[FaceCrop],
    logits: npt.NDArray[np.float64],
    heatmaps: Sequence[str | None] | None = None,
) -> FilePrediction:
    """Combine the scores of the faces found in one file.

    Args:
        file: the file's name in the result.
        logits: calibrated FAKE logits of the faces, [N].
        heatmaps: path of the Grad-CAM image of each face.
    """
    if not crops:
        return FilePrediction(file, NO_FACE)
    faces = tuple(
        FacePrediction(
            each.frame,
            each.time_s,
            each.box.x,
            each.box.y,
            each.box.w,
            each.box.h,
            sigmoid(logit),
            heatmap,
        )
        for each, logit, heatmap in zip(crops, logits, heatmaps or [None] * len(crops), strict=True)
    )
    return FilePrediction(file, OK, sigmoid(logits.mean()), faces=faces)


def sigmoid(logit: float) -> float:
    """The probability of a logit."""
    # Clipped so that exp does not overflow.
    return float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))


def write_heatmaps(
    folder: Path,
    path: Path,
    faces: Sequence[FaceCrop],
    activations: npt.NDArray[np.float32],
) -> list[str | None]:
    """Write one image for each face of a file: the crop, its Grad-CAM and its mask, if any.

    Args:
        path: the image or clip the faces come from; names the images.
        activations: [N, h, w]; see `training.evaluation.heatmaps`.

    Returns:
        The paths of the images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str | None] = []
    for number, (face, activation) in enumerate(zip(faces, activations, strict=True)):
        name = f"{path.parent.name}-{path.name}-{face.frame:06d}_{number}.png".lstrip("-.")
        drawn = draw_side_by_side(face.crop, activation, face.mask)
        with atomic_file(folder / name) as partial:
            Image.fromarray(drawn).save(partial)
        written.append(str(folder / name))
    return written
