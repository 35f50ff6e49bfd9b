"""P(FAKE) of image and clip files: face crops, scores, heatmaps."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dfdc_prep.errors import ClipError, SourceUnreachable
from training.inference.face_crops import FaceCropOptions, find_face_crops
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


def predict_file(path: Path, options: FaceCropOptions, scorer: Scorer) -> FilePrediction:
    """Predict one image or clip; an unreadable file becomes a result, not an exception."""
    try:
        crops = find_face_crops(path, options)
    except (ClipError, SourceUnreachable) as error:
        return FilePrediction(str(path), UNREADABLE, error=str(error))
    if not crops:
        return FilePrediction(str(path), NO_FACE)
    logits = scorer.score(np.stack([each.crop for each in crops])) / scorer.temperature
    heatmaps = scorer.write_heatmaps(path, crops)
    faces = tuple(
        FacePrediction(
            each.frame,
            each.time_s,
            each.box.x,
            each.box.y,
            each.box.w,
            each.box.h,
            _sigmoid(logit),
            heatmap,
        )
        for each, logit, heatmap in zip(crops, logits, heatmaps, strict=True)
    )
    return FilePrediction(str(path), OK, _sigmoid(logits.mean()), faces=faces)


def _sigmoid(logit: float) -> float:
    # Clipped so that exp does not overflow.
    return float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))
