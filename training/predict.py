"""`python -m training.predict RUN FILE...`: P(FAKE) of the faces in images and clips.

Faces are found and cut by the code that cut the training data, with the detector and the
margin the run recorded; the only part of `training` that knows of clips and detectors.
TensorFlow is imported once the options are read.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dfdc_prep.crops import geometry
from dfdc_prep.detectors import Detector, Face, choose_detector, make_detector
from dfdc_prep.detectors.tracking import select_detections
from dfdc_prep.errors import ClipError, SourceUnreachable
from dfdc_prep.video.picture import Frame, Still
from dfdc_prep.video.reader import MAX_PIXELS, open_clip
from dfdc_prep.video.sampling import EVEN, choose_frames
from manifests.auditing.perceptual_hash import DECOMPRESSION_BOMBS
from manifests.cli.error_handling import DONE_WITH_FAILURES, TrainingCommand
from manifests.cli.param_types import CountParam, PathParam

#: Images that are read.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")

NO_FACE, UNREADABLE = "no_face", "unreadable"

#: Crops in, [N, 224, 224, 3] uint8 RGB; logits out, float64 [N].
Score = Callable[[Any], Any]


@dataclass(frozen=True)
class Cutting:
    """How faces are found and cut.

    Attributes:
        margin: see `dfdc_prep.crops.square`.
        frames: frames looked at in a clip, spread evenly.
        every_face: keep all faces, not only the main one.
    """

    detector: Detector
    margin: float
    frames: int
    every_face: bool


@dataclass(frozen=True)
class FoundFace:
    """A face cut out of a file: RGB uint8 [224, 224, 3], and where it was."""

    frame: int
    time_s: float
    box: Face
    crop: Any


@dataclass(frozen=True)
class FaceScore:
    """A face's place, in the file's own pixels, and its calibrated P(FAKE)."""

    frame: int
    time_s: float
    x: int
    y: int
    w: int
    h: int
    p_fake: float
    heatmap: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of one file; `p_fake` is that of the mean logit of its faces.

    `status` is ok, no_face or unreadable.
    """

    file: str
    status: str
    p_fake: float | None = None
    error: str | None = None
    faces: tuple[FaceScore, ...] = field(default=())

    def text(self) -> str:
        """The file's line, and one a face."""
        if self.status == NO_FACE:
            return f"{self.file}: no face found"
        if self.p_fake is None:
            return f"{self.file}: {self.error}"
        plural = "s" if len(self.faces) > 1 else ""
        lines = [f"{self.file}: P(FAKE) {self.p_fake:.4f}, {len(self.faces)} face{plural}"]
        for each in self.faces:
            shown = f", heatmap {each.heatmap}" if each.heatmap else ""
            lines.append(
                f"  frame {each.frame} at {each.time_s:.2f} s, {each.w}x{each.h} at "
                f"{each.x},{each.y}: {each.p_fake:.4f}{shown}"
            )
        return "\n".join(lines)


def find_faces(path: Path, cutting: Cutting) -> list[FoundFace]:
    """The faces of an image, or of frames spread over a clip.

    Raises:
        ClipError: the file is neither an image nor a clip that can be read.
        SourceUnreachable: the file is missing, or the system does not let it be read.
    """
    image = _image(path)
    if image is not None:
        return _cut([(0, 0.0, image)], cutting)
    with open_clip(path) as clip:
        wanted = choose_frames(EVEN, cutting.frames, clip.timeline)
        frames = [(frame.index, frame.time_s, frame) for frame in clip.frames(wanted)]
    if not frames:
        raise ClipError(f"expected {len(wanted)} frames of {path.name}, none decoded")
    return _cut(frames, cutting)


def _image(path: Path) -> Still | None:
    """The image in a file, upright; None where the file is no image of these formats.

    Only formats that Pillow reads by itself: for EPS it would start another program.
    """
    if path.exists() and not path.is_file():
        raise ClipError(f"expected an image or a clip, found no file but a {_kind(path)}")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ClipError(
                    f"expected at most {MAX_PIXELS:,} pixels, found {opened.width:,} x "
                    f"{opened.height:,}; scale it down"
                )
            return Still(np.asarray(ImageOps.exif_transpose(opened).convert("RGB")))
    except UnidentifiedImageError:
        return None
    except (OSError, *DECOMPRESSION_BOMBS, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClipError(f"expected an image or a clip, found: {reason}") from error


def _kind(path: Path) -> str:
    return "folder" if path.is_dir() else "pipe or device"


def _cut(frames: Sequence[tuple[int, float, Still | Frame]], cutting: Cutting) -> list[FoundFace]:
    boxes = [cutting.detector.detect(picture) for _, _, picture in frames]
    kept = select_detections(boxes, cutting.every_face)
    found = []
    for (index, time_s, picture), faces, chosen in zip(frames, boxes, kept, strict=True):
        for face in (faces[i] for i in chosen):
            square = geometry.square(face, cutting.margin)
            found.append(FoundFace(index, time_s, face, geometry.cut(picture, square)))
    return found


def judge(path: Path, cutting: Cutting, score: Score, temperature: float, draw: Any) -> Verdict:
    """What the model says of one file; nothing is raised where there is nothing to say.

    Args:
        draw: takes the path and the faces, writes their heatmaps and gives their paths.
    """
    try:
        found = find_faces(path, cutting)
    except (ClipError, SourceUnreachable) as error:
        return Verdict(str(path), UNREADABLE, error=str(error))
    if not found:
        return Verdict(str(path), NO_FACE)
    logits = score(np.stack([each.crop for each in found])) / temperature
    faces = tuple(
        FaceScore(f.frame, f.time_s, f.box.x, f.box.y, f.box.w, f.box.h, _sigmoid(logit), shown)
        for f, logit, shown in zip(found, logits, draw(path, found), strict=True)
    )
    return Verdict(str(path), "ok", _sigmoid(logits.mean()), faces=faces)


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))


@click.command(cls=TrainingCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=PathParam())
@click.argument("files", type=PathParam(), nargs=-1, required=True)
@click.option(
    "--frames", type=CountParam(1), default=10, show_default=True,
    help="Frames looked at in a clip, spread evenly.",
)  # fmt: skip
@click.option(
    "--faces", type=click.Choice(["largest", "all"]), default="largest", show_default=True,
    help="The main face, or every face.",
)  # fmt: skip
@click.option(
    "--detector-model", type=PathParam(),
    help="YuNet's weights; also DFDC_PREP_YUNET. Without: the cache, or a checked download.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file and line.")
@click.option(
    "--heatmap", type=PathParam(),
    help="Folder for a picture of each face with its Grad-CAM beside it.",
)  # fmt: skip
@click.pass_context
def main(
    ctx: click.Context,
    run: Path,
    files: tuple[Path, ...],
    frames: int,
    faces: str,
    detector_model: Path | None,
    as_json: bool,
    heatmap: Path | None,
) -> None:
    """Say of every FILE, image or clip, how likely its faces are FAKE to the model of RUN.

    Faces are cut as the run's training data were; the temperature is applied. A file with no
    face, or that cannot be read, has its own line and does not stop the rest.

    \b
    Example:
      python -m training.predict runs/v1.3 clip.mp4 photo.jpg --heatmap heat/
    """
    from training.inference.scorer import Judge

    chosen = Judge(run, heatmap)
    recorded = chosen.crops
    detector = choose_detector(recorded["detector"] or "auto", detector_model)
    margin = geometry.MARGIN if recorded["margin"] is None else recorded["margin"]
    cutting = Cutting(make_detector(detector), margin, frames, faces == "all")
    failed = False
    for path in files:
        verdict = judge(path, cutting, chosen.score, chosen.temperature, chosen.draw)
        failed |= verdict.status == UNREADABLE
        click.echo(json.dumps(asdict(verdict)) if as_json else verdict.text())
    if failed:
        ctx.exit(DONE_WITH_FAILURES)


if __name__ == "__main__":
    main()
