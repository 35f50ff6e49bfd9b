"""The prediction for a file, as `predict` and the app show it."""

import json
from dataclasses import asdict, dataclass

from manifests.wording import counted

OK, NO_FACE, UNREADABLE, NO_SCORE = "ok", "no_face", "unreadable", "no_score"
#: Longer side of the pictures on the app's page, pixels.
PICTURE_SIZE = 1280


@dataclass(frozen=True)
class View:
    """An image or a frame as the app shows it: a JPEG, its longer side at most `PICTURE_SIZE`."""

    frame: int  # 0 for an image, as the time
    time_s: float
    width: int  # of the source picture, pixels, as the height
    height: int
    jpeg: bytes


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
    """The result for one file.

    Attributes:
        status: `OK`, `NO_FACE`, `UNREADABLE`, or `NO_SCORE` where the model gave no number.
        p_fake: sigmoid of the mean calibrated logit of the faces; None unless `OK`.
        error: the reason where the file is unreadable or has no score.
        missing: what is missing of a clip whose other frames were scored.
        confinement: of the process that decoded the file: "on", or "off" and why.
    """

    file: str
    status: str
    p_fake: float | None = None
    error: str | None = None
    faces: tuple[FacePrediction, ...] = ()
    missing: str | None = None
    confinement: str | None = None

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
        score = f"P(FAKE) {self.p_fake:.4f}, {counted(len(self.faces), 'face')}"
        lines = [f"{self.file}: {score}{missing}"]
        for face in self.faces:
            heatmap = f", heatmap {face.heatmap}" if face.heatmap else ""
            lines.append(
                f"  frame {face.frame} at {face.time_s:.2f} s, {face.w}x{face.h} at "
                f"{face.x},{face.y}: {face.p_fake:.4f}{heatmap}"
            )
        return "\n".join(lines)
