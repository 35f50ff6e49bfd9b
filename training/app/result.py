"""The result of one upload, as the page and the downloads show it."""

import io
import zipfile
from dataclasses import dataclass

from training.inference.prediction import FilePrediction

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
    views: list[View]
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
