"""Predicts P(FAKE) of image and clip files: face crops, scores, heatmaps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfdc_prep.crops.placement import MARGIN
from dfdc_prep.detectors.registry import DetectorChoice, choose_detector
from dfdc_prep.errors import ClipError, SourceUnreachable
from dfdc_prep.run_files import CropSettings
from manifests.errors import TrainingError
from training.inference.face_crops import FaceCrop, FaceCropOptions, find_faces
from training.inference.heatmaps import write_heatmaps
from training.inference.prediction import (
    NO_FACE,
    NO_SCORE,
    OK,
    UNREADABLE,
    FacePrediction,
    FilePrediction,
)
from training.inference.scorer import Scorer


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
