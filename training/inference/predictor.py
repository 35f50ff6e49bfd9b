"""P(FAKE) of image and clip files: face crops, scores, heatmaps."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from dfdc_prep.crops.geometry import MARGIN
from dfdc_prep.detectors import DetectorChoice, choose_detector
from dfdc_prep.errors import ClipError, SourceUnreachable
from training.data.shard_info import CropSettings
from training.inference import gradcam
from training.inference.face_crops import FaceCrop, FaceCropOptions, find_faces
from training.inference.scorer import Scorer

OK, NO_FACE, UNREADABLE = "ok", "no_face", "unreadable"


@dataclass(frozen=True)
class FacePrediction:
    """The box of a face, in pixels of its image or frame, and its calibrated P(FAKE).

    Attributes:
        heatmap: path of the Grad-CAM image, if one was written.
    """

    frame: int
    time_s: float
    x: int
    y: int
    w: int
    h: int
    p_fake: float
    heatmap: str | None = None


@dataclass(frozen=True)
class FilePrediction:
    """The result for one file.

    Attributes:
        status: `OK`, `NO_FACE` or `UNREADABLE`.
        p_fake: sigmoid of the mean calibrated logit of the faces; None unless `OK`.
        error: the reason where the file is unreadable.
    """

    file: str
    status: str
    p_fake: float | None = None
    error: str | None = None
    faces: tuple[FacePrediction, ...] = field(default=())

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        """One line for the file and one for each face."""
        if self.status == NO_FACE:
            return f"{self.file}: no face found"
        if self.p_fake is None:
            return f"{self.file}: {self.error}"
        plural = "s" if len(self.faces) > 1 else ""
        lines = [f"{self.file}: P(FAKE) {self.p_fake:.4f}, {len(self.faces)} face{plural}"]
        for face in self.faces:
            heatmap = f", heatmap {face.heatmap}" if face.heatmap else ""
            lines.append(
                f"  frame {face.frame} at {face.time_s:.2f} s, {face.w}x{face.h} at "
                f"{face.x},{face.y}: {face.p_fake:.4f}{heatmap}"
            )
        return "\n".join(lines)


def settings_for_run(
    recorded: CropSettings, detector_model: Path | None = None
) -> tuple[DetectorChoice, float]:
    """Detector and margin of a run's training data; the defaults where they were not recorded.

    Raises:
        ModelError: the detector's weights are not available.
    """
    detector = choose_detector(recorded["detector"] or "auto", detector_model)
    return detector, MARGIN if recorded["margin"] is None else recorded["margin"]


def predict_file(
    path: Path, options: FaceCropOptions, scorer: Scorer, heatmaps: Path | None = None
) -> FilePrediction:
    """Predict one image or clip; an unreadable file becomes a result, not an exception.

    Args:
        heatmaps: folder for one image per face with its Grad-CAM beside it.
    """
    try:
        crops = find_faces(path, options).crops
    except (ClipError, SourceUnreachable) as error:
        return FilePrediction(str(path), UNREADABLE, error=str(error))
    written: list[str | None] | None = None
    if heatmaps and crops:
        written = gradcam.write_heatmaps(heatmaps, path, crops, scorer.activations(crops))
    return predict_faces(str(path), crops, scorer, written)


def predict_faces(
    file: str,
    crops: Sequence[FaceCrop],
    scorer: Scorer,
    heatmaps: Sequence[str | None] | None = None,
) -> FilePrediction:
    """Predict the faces found in one file.

    Args:
        file: the file's name in the result.
        heatmaps: path of the Grad-CAM image of each face.
    """
    if not crops:
        return FilePrediction(file, NO_FACE)
    logits = scorer.score(np.stack([each.crop for each in crops])) / scorer.temperature
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
