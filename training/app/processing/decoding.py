"""Reads uploads in a worker process, which a damaged file may crash, hang or fill."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from dfdc_prep.crops.encoding import encode
from dfdc_prep.detectors.base import Detector
from dfdc_prep.detectors.registry import DetectorChoice, make_detector
from dfdc_prep.parallel.confinement import confine
from training.app.processing.annotate import annotate_clip
from training.app.processing.tracks import FaceTrack
from training.app.result import PICTURE_SIZE, View
from training.inference.face_crops import FaceCrop, FaceCropOptions, SampledPicture, find_faces


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


def annotate_in_worker(upload: bytes, tracks: list[FaceTrack]) -> bytes:
    """Draw the tracked faces into the bytes of a clip; see `annotate_clip`."""
    with nameless_file(upload) as path:
        return annotate_clip(path, tracks)


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
