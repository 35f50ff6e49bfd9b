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

from dfdc_prep.crops import MASK_SUFFIX, alignment
from dfdc_prep.detectors import Detector, Face
from dfdc_prep.detectors.tracking import select_detections
from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Frame, Still
from dfdc_prep.video.reader import MAX_PIXELS, open_clip
from dfdc_prep.video.sampling import EVEN, choose_frames
from manifests.auditing.perceptual_hash import DECOMPRESSION_BOMBS
from manifests.rows import CROP_SIZE

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
        align: `none`, `eyes` or `five-point`, as the training data.
    """

    detector: Detector
    margin: float
    frames: int
    every_face: bool
    align: str = alignment.NONE


@dataclass(frozen=True)
class FaceCrop:
    """One face of a file.

    Attributes:
        frame: index of the frame, 0 for an image.
        time_s: time of the frame in seconds, 0 for an image.
        box: detected box, in pixels of the source image or frame.
        crop: RGB uint8 [224, 224, 3].
        mask: where the crop was changed, RGB uint8 [224, 224, 3], if the image has a mask beside
            it, as `dfdc-prep extract --masks` writes it.
    """

    frame: int
    time_s: float
    box: Face
    crop: Any
    mask: Any = None


def find_face_crops(path: Path, options: FaceCropOptions) -> list[FaceCrop]:
    """Detect and crop the faces of an image, or of evenly spaced frames of a clip.

    Raises:
        ClipError: the file is neither a readable image nor a readable clip.
        SourceUnreachable: the file is missing or the system refuses access.
    """
    image = _read_image(path)
    if image is not None:
        beside = path.with_suffix(MASK_SUFFIX)
        mask = _read_image(beside) if beside != path and beside.is_file() else None
        if mask is not None and (mask.width, mask.height) != (image.width, image.height):
            mask = None
        return _crop_faces([(0, 0.0, image)], options, mask)
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
    frames: Sequence[tuple[int, float, Still | Frame]],
    options: FaceCropOptions,
    mask: Still | None = None,
) -> list[FaceCrop]:
    """Crop the faces of (frame index, time in seconds, picture) triples, and of the mask."""
    boxes = [options.detector.detect(picture) for _, _, picture in frames]
    kept = select_detections(boxes, options.every_face)
    crops = []
    for (index, time_s, picture), faces, chosen in zip(frames, boxes, kept, strict=True):
        for face in (faces[i] for i in chosen):
            place = alignment.place(face, options.align, options.margin, CROP_SIZE)
            cut = place.cut(mask) if mask else None
            crops.append(FaceCrop(index, time_s, face, place.cut(picture), cut))
    return crops
