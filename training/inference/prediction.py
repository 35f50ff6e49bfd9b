"""The prediction for a file, as `training.predict` prints it."""

import json
from dataclasses import asdict, dataclass, field

OK, NO_FACE, UNREADABLE, NO_SCORE = "ok", "no_face", "unreadable", "no_score"
#: Longer side of the pictures on the page, pixels.
PICTURE_SIZE = 1280


@dataclass(frozen=True)
class View:
    """A picture as the page shows it.

    Attributes:
        frame, time_s: see `training.inference.face_crops.SampledPicture`.
        width, height: size of the source picture, pixels.
        jpeg: the picture, its longer side at most `PICTURE_SIZE` pixels.
    """

    frame: int
    time_s: float
    width: int
    height: int
    jpeg: bytes


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
        status: `OK`, `NO_FACE`, `UNREADABLE`, or `NO_SCORE` where the model gave no number.
        p_fake: sigmoid of the mean calibrated logit of the faces; None unless `OK`.
        error: the reason where the file is unreadable or has no score.
        missing: what is missing of a clip whose other frames were scored.
    """

    file: str
    status: str
    p_fake: float | None = None
    error: str | None = None
    faces: tuple[FacePrediction, ...] = field(default=())
    missing: str | None = None

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        """One line for the file and one for each face."""
        missing = f"; not the whole clip: {self.missing}" if self.missing else ""
        if self.status == NO_FACE:
            return f"{self.file}: no face found{missing}"
        if self.p_fake is None:
            return f"{self.file}: {self.error}"
        plural = "s" if len(self.faces) > 1 else ""
        score = f"P(FAKE) {self.p_fake:.4f}, {len(self.faces)} face{plural}"
        lines = [f"{self.file}: {score}{missing}"]
        for face in self.faces:
            heatmap = f", heatmap {face.heatmap}" if face.heatmap else ""
            lines.append(
                f"  frame {face.frame} at {face.time_s:.2f} s, {face.w}x{face.h} at "
                f"{face.x},{face.y}: {face.p_fake:.4f}{heatmap}"
            )
        return "\n".join(lines)
