"""Face crops of an image or a clip, cut by the code that cut the training data.

The only module of `training`, besides the command `training.predict`, that imports
`dfdc_prep`.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from PIL import ImageOps

from dfdc_prep.crops import placement
from dfdc_prep.crops.encoding import MASK_SUFFIX, encode
from dfdc_prep.detectors.base import Detector, Face, select_detections
from dfdc_prep.detectors.registry import DetectorChoice, make_detector
from dfdc_prep.errors import ClipError
from dfdc_prep.parallel.confinement import confine
from dfdc_prep.video.picture import Frame, Still
from dfdc_prep.video.reader import AnyVideo, open_clip
from dfdc_prep.video.timeline import EVEN, choose_frames
from manifests.columns import CROP_SIZE
from manifests.pictures import MAX_PIXELS
from manifests.pictures.images import (
    ANIMATED,
    ImageError,
    as_8_bit,
    open_image,
    reading,
    to_rgb,
)
from training.inference.prediction import PICTURE_SIZE, View


@dataclass(frozen=True)
class FaceCropOptions:
    """How faces are detected and cropped.

    Attributes:
        margin: margin around the box, as a share of its longer side; see
            `dfdc_prep.crops.placement.square`.
        frames: number of frames sampled from a clip, evenly spaced.
        every_face: keep all faces instead of the main one.
        align: `none`, `eyes` or `five-point`, as the training data.
        max_pixels: images and clips with more pixels are refused.
        max_seconds: longer clips are refused; None accepts any.
    """

    detector: Detector
    margin: float
    frames: int
    every_face: bool
    align: str = placement.NONE
    max_pixels: int = MAX_PIXELS
    max_seconds: float | None = None


@dataclass(frozen=True)
class SampledPicture:
    """An image, or a frame sampled from a clip.

    Attributes:
        frame: index of the frame, 0 for an image.
        time_s: time of the frame in seconds, 0 for an image.
    """

    frame: int
    time_s: float
    picture: Still | Frame


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


@dataclass(frozen=True)
class FoundFaces:
    """The faces of a file and the pictures they were found in.

    Attributes:
        pictures: the image, or the decoded frames of the clip.
        crops: the faces in the order of the pictures, by x then y within each.
        is_clip: the file is a clip, not an image.
        missing: what is missing of the clip; None if nothing is known to be.
    """

    pictures: list[SampledPicture]
    crops: list[FaceCrop]
    is_clip: bool
    missing: str | None = None


def find_faces(path: Path, options: FaceCropOptions, name: str | None = None) -> FoundFaces:
    """Detect and crop the faces of an image, or of evenly spaced frames of a clip.

    Args:
        name: the file's name in error messages. [default: the file's own]

    Raises:
        ClipError: the file is neither a readable image nor a readable clip, or is larger than
            the options allow.
        SourceUnreachable: the file is missing or the system refuses access.
    """
    image = _read_image(path, options.max_pixels)
    if image is not None:
        pictures = [SampledPicture(0, 0.0, image)]
        mask = _read_mask(path, image, options.max_pixels)
        return FoundFaces(pictures, _crop_faces(pictures, options, mask), is_clip=False)
    name = path.name if name is None else name
    with open_clip(path, name) as clip:
        _check_limits(clip, options, name)
        wanted = choose_frames(EVEN, options.frames, clip.timeline)
        pictures = [SampledPicture(f.index, f.time_s, f) for f in clip.frames(wanted)]
        missing = clip.shortfall
    if not pictures:
        raise ClipError(
            f"expected {len(wanted)} frames of {name}, found none that decodes; "
            "check the file with ffprobe"
        )
    if len(pictures) < len(wanted):
        missing = f"{len(pictures)} of {len(wanted)} frames decoded"
    return FoundFaces(pictures, _crop_faces(pictures, options), is_clip=True, missing=missing)


def _check_limits(clip: AnyVideo, options: FaceCropOptions, name: str) -> None:
    """Raise a `ClipError` if a clip has too many pixels or is too long."""
    if clip.pixels > options.max_pixels:
        raise ClipError(
            f"expected frames of at most {options.max_pixels:,} pixels, found {clip.pixels:,} in "
            f"{name}; scale the clip down"
        )
    if options.max_seconds is not None and clip.duration_s > options.max_seconds:
        raise ClipError(
            f"expected a clip of at most {options.max_seconds:g} seconds, found "
            f"{clip.duration_s:,.0f} in {name}; cut it shorter"
        )


def _read_image(path: Path, max_pixels: int) -> Still | None:
    """Read an image file with its EXIF orientation applied; None for clips and animations."""
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "pipe or device"
        raise ClipError(f"expected an image or a clip, found a {kind}; give the path of a file")
    try:
        with open_image(path, max_pixels=max_pixels) as opened:
            with reading():
                count = getattr(opened, "n_frames", 1)
            if count > 1 and opened.format in ANIMATED:
                return None
            if count > 1 and opened.format == "TIFF":
                raise ImageError(f"{count:,} pictures in one file; save the one you want")
            with reading():
                turned = ImageOps.exif_transpose(as_8_bit(opened))
            return Still(to_rgb(turned))
    except ImageError as error:
        if not error.is_image:
            return None
        raise ClipError(f"expected a readable image or clip, found {error}") from error
    except OSError as error:
        raise ClipError(
            f"expected a readable image or clip, found: {error.strerror or error}"
        ) from error


def _read_mask(path: Path, image: Still, max_pixels: int) -> Still | None:
    """Read the mask beside an image; None if there is none of the image's size."""
    beside = path.with_suffix(MASK_SUFFIX)
    if beside == path or not beside.is_file():
        return None
    mask = _read_image(beside, max_pixels)
    same = mask is not None and (mask.width, mask.height) == (image.width, image.height)
    return mask if same else None


def _crop_faces(
    pictures: Sequence[SampledPicture], options: FaceCropOptions, mask: Still | None = None
) -> list[FaceCrop]:
    """Crop the faces of an image or of the frames of a clip, and of the mask."""
    boxes = [options.detector.detect(each.picture) for each in pictures]
    kept = select_detections(boxes, options.every_face)
    crops = []
    for each, faces, chosen in zip(pictures, boxes, kept, strict=True):
        for face in (faces[i] for i in chosen):
            place = placement.place(face, options.align, options.margin, CROP_SIZE)
            changed = place.cut(mask) if mask else None
            crop = place.cut(each.picture)
            crops.append(FaceCrop(each.frame, each.time_s, face, crop, changed))
    return crops


@dataclass(frozen=True)
class DecodedFile:
    """What the worker found in a file; fields as in `FoundFaces`."""

    views: list[View]
    crops: list[FaceCrop]
    is_clip: bool
    missing: str | None


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file; fields as in `FaceCropOptions`."""

    margin: float
    frames: int
    every_face: bool
    align: str
    max_pixels: int
    max_seconds: float


_detector: Detector | None = None


def init_worker(choice: DetectorChoice, confined: bool = False) -> None:
    """Set up the worker process: one OpenCV thread, one detector.

    Args:
        confined: let it write nothing; see `dfdc_prep.parallel.confinement`.
    """
    global _detector
    if confined:
        confine()
    cv2.setNumThreads(1)
    _detector = make_detector(choice)


def find_in_worker(upload: bytes, name: str, options: ReadOptions) -> DecodedFile:
    """Find the faces in the bytes of an image or a clip.

    Args:
        name: the file's name in error messages.

    Raises:
        ClipError: the file cannot be read or exceeds the options' limits.
    """
    assert _detector is not None, "init_worker was not called"
    with nameless_file(upload) as path:
        found = find_faces(path, FaceCropOptions(_detector, **vars(options)), name)
        views = [_view(each) for each in found.pictures]
        return DecodedFile(views, found.crops, found.is_clip, found.missing)


@contextmanager
def nameless_file(content: bytes) -> Iterator[Path]:
    """Yield a path to a temporary file that has no name in any folder.

    The system deletes the file when the process ends, however it ends.
    """
    # In memory where the system can: a confined process may create no file.
    in_memory = hasattr(os, "memfd_create")
    with open(os.memfd_create("upload"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield Path(f"/dev/fd/{file.fileno()}")


def _view(sampled: SampledPicture) -> View:
    picture = sampled.picture
    return View(
        sampled.frame,
        sampled.time_s,
        picture.width,
        picture.height,
        encode(picture.rgb(PICTURE_SIZE), "jpg"),
    )
