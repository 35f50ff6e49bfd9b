"""Face crops of an image or a clip, cut by the code that cut the training data.

The only module of `training`, besides the command `training.predict`, that imports
`dfdc_prep`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dfdc_prep.crops import geometry
from dfdc_prep.detectors import Detector, Face
from dfdc_prep.detectors.tracking import select_detections
from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Frame, Still
from dfdc_prep.video.reader import MAX_PIXELS, open_clip
from dfdc_prep.video.sampling import EVEN, choose_frames
from manifests.auditing.perceptual_hash import DECOMPRESSION_BOMBS

#: Image formats that are accepted. Pillow decodes all of them in-process; for EPS it would
#: start Ghostscript.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")


@dataclass(frozen=True)
class FaceCropOptions:
    """How faces are detected and cropped.

    Attributes:
        margin: margin around the box, as a share of its longer side; see
            `dfdc_prep.crops.geometry.square`.
        frames: number of frames sampled from a clip, evenly spaced.
        every_face: keep all faces instead of the main one.
    """

    detector: Detector
    margin: float
    frames: int
    every_face: bool


@dataclass(frozen=True)
class FaceCrop:
    """One face of a file.

    Attributes:
        frame: index of the frame, 0 for an image.
        time_s: time of the frame in seconds, 0 for an image.
        box: detected box, in pixels of the source image or frame.
        crop: RGB uint8 [224, 224, 3].
    """

    frame: int
    time_s: float
    box: Face
    crop: Any


def find_face_crops(path: Path, options: FaceCropOptions) -> list[FaceCrop]:
    """Detect and crop the faces of an image, or of evenly spaced frames of a clip.

    Raises:
        ClipError: the file is neither a readable image nor a readable clip.
        SourceUnreachable: the file is missing or the system refuses access.
    """
    image = _read_image(path)
    if image is not None:
        return _crop_faces([(0, 0.0, image)], options)
    with open_clip(path) as clip:
        wanted = choose_frames(EVEN, options.frames, clip.timeline)
        frames = [(frame.index, frame.time_s, frame) for frame in clip.frames(wanted)]
    if not frames:
        raise ClipError(
            f"expected {len(wanted)} frames of {path.name}, found none that decodes; "
            "check the file with ffprobe"
        )
    return _crop_faces(frames, options)


def _read_image(path: Path) -> Still | None:
    """Read an image file with its EXIF orientation applied; None for other file types."""
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "pipe or device"
        raise ClipError(f"expected an image or a clip, found a {kind}; give the path of a file")
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as opened:
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
        raise ClipError(f"expected a readable image or clip, found: {reason}") from error


def _crop_faces(
    frames: Sequence[tuple[int, float, Still | Frame]], options: FaceCropOptions
) -> list[FaceCrop]:
    """Crop the faces of (frame index, time in seconds, picture) triples."""
    boxes = [options.detector.detect(picture) for _, _, picture in frames]
    kept = select_detections(boxes, options.every_face)
    crops = []
    for (index, time_s, picture), faces, chosen in zip(frames, boxes, kept, strict=True):
        for face in (faces[i] for i in chosen):
            square = geometry.square(face, options.margin)
            crops.append(FaceCrop(index, time_s, face, geometry.cut(picture, square)))
    return crops
