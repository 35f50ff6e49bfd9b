"""Face crops of an image or a clip, cut as the training data were, in a confined process."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
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
from dfdc_prep.parallel.confinement import confine, why_unconfined
from dfdc_prep.parallel.processes import LocalWorkers, PoolBroken, WorkerDied, WorkerTimeout
from dfdc_prep.video.picture import Frame, Still
from dfdc_prep.video.reader import open_clip
from dfdc_prep.video.timeline import EVEN, choose_frames
from manifests.pictures.images import ANIMATED, ImageError, as_8_bit, open_image, reading, to_rgb
from manifests.schemas import CROP_SIZE, MAX_PIXELS
from manifests.wording import counted

#: Longer side of the pictures on the app's page, pixels.
PICTURE_SIZE = 1280


@dataclass(frozen=True)
class FaceCropOptions:
    """How faces are cropped; files beyond the limits are refused."""

    margin: float  # around the box, as a share of its longer side
    frames: int  # sampled from a clip, evenly spaced
    every_face: bool  # all faces instead of the main one
    align: str = placement.NONE  # as the training data
    max_pixels: int = MAX_PIXELS
    max_seconds: float | None = None
    views: bool = False  # also return the pictures


@dataclass(frozen=True)
class FaceCrop:
    """One face of a file."""

    frame: int  # 0 for an image, as the time
    time_s: float
    box: Face  # in the picture
    crop: Any  # RGB uint8 [224, 224, 3]
    mask: Any = None  # the same, where it was changed; from `dfdc-prep extract --masks`


@dataclass(frozen=True)
class View:
    """An image or a frame as the app shows it: a JPEG, its longer side at most `PICTURE_SIZE`."""

    frame: int  # 0 for an image, as the time
    time_s: float
    width: int  # of the source picture, pixels, as the height
    height: int
    jpeg: bytes


@dataclass(frozen=True)
class FoundFaces:
    """The faces of a file in the order of its pictures, by x then y within each."""

    crops: list[FaceCrop]
    is_clip: bool
    missing: str | None = None  # what is known to be missing of the clip
    views: Sequence[View] = ()


#: A picture with the index of its frame and its time in seconds; 0 and 0 for an image.
_Sampled = tuple[int, float, Still | Frame]


class DecodingWorker(AbstractContextManager["DecodingWorker"]):
    """A process that decodes files of unknown origin, which may crash, hang or fill it.

    Where the system can confine it, it writes nothing, opens no socket and starts no program;
    `confinement` is "on", or "off" and why. A call may take `timeout_s` of CPU time.
    """

    def __init__(self, detector: DetectorChoice, timeout_s: float = 120) -> None:
        reason = why_unconfined()
        self.confinement = f"off: {reason}" if reason else "on"
        self._timeout_s = timeout_s
        self._workers = LocalWorkers(1, timeout_s, _init_worker, (detector, reason is None))

    def __exit__(self, *_: object) -> None:
        self._workers.stop()

    def find(self, source: Path | bytes, options: FaceCropOptions, name: str) -> FoundFaces:
        """Find the faces of a file or of its content; see `find_faces`."""
        faces: FoundFaces = self.call(_find, source, options, name)
        return faces

    def call(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run a call in the process.

        Raises:
            ClipError: the process died, took too long or ran out of memory.
            WorkersError: no process can be started.
        """
        while True:
            future: Future[Any] = self._workers.submit(call, *args)
            self._workers.wait([future])
            try:
                return future.result()
            except PoolBroken:
                continue
            except WorkerDied as error:
                raise ClipError(
                    "expected an image or a clip, found a file that crashed the decoder; convert "
                    "it, for example with ffmpeg"
                ) from error
            except WorkerTimeout as error:
                raise ClipError(
                    f"expected a file that is read within {self._timeout_s:g} seconds, found one "
                    "that takes longer; cut it shorter or scale it down"
                ) from error
            except MemoryError as error:
                raise ClipError(
                    "expected a file that fits in memory, found one that does not; scale it down "
                    "or choose fewer frames"
                ) from error


_detector: Detector | None = None


def _init_worker(choice: DetectorChoice, confined: bool) -> None:
    global _detector
    if confined:
        confine()
    cv2.setNumThreads(1)
    _detector = make_detector(choice)


def _find(source: Path | bytes, options: FaceCropOptions, name: str) -> FoundFaces:
    assert _detector is not None, "_init_worker was not called"
    if isinstance(source, Path):
        return find_faces(source, _detector, options, name)
    with nameless_file(source) as path:
        return find_faces(path, _detector, options, name)


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


def find_faces(
    path: Path, detector: Detector, options: FaceCropOptions, name: str | None = None
) -> FoundFaces:
    """Detect and crop the faces of an image, or of evenly spaced frames of a clip or a folder.

    Args:
        name: the file's name in error messages. [default: the file's own]

    Raises:
        ClipError: the file is neither a readable image nor a readable clip, or is larger than
            the options allow.
        SourceUnreachable: the file is missing or the system refuses access.
    """
    image = None if path.is_dir() else _read_image(path, options.max_pixels)
    missing = mask = None
    if image is not None:
        pictures: list[_Sampled] = [(0, 0.0, image)]
        mask = _read_mask(path, image, options)
    else:
        name = path.name if name is None else name
        with open_clip(path, name) as clip:
            if clip.pixels > options.max_pixels:
                raise ClipError(
                    f"expected frames of at most {options.max_pixels:,} pixels, found "
                    f"{clip.pixels:,} in {name}; scale the clip down"
                )
            if options.max_seconds is not None and clip.duration_s > options.max_seconds:
                raise ClipError(
                    f"expected a clip of at most {options.max_seconds:g} seconds, found "
                    f"{clip.duration_s:,.0f} in {name}; cut it shorter"
                )
            wanted = choose_frames(EVEN, options.frames, clip.timeline)
            pictures = [(frame.index, frame.time_s or 0.0, frame) for frame in clip.frames(wanted)]
            missing = clip.shortfall
        if not pictures:
            raise ClipError(
                f"expected {counted(len(wanted), 'frame')} of {name}, found none that decodes; "
                "check the file with ffprobe"
            )
        if len(pictures) < len(wanted):
            missing = f"{len(pictures)} of {counted(len(wanted), 'frame')} decoded"
    views = [
        View(frame, time_s, each.width, each.height, encode(each.rgb(PICTURE_SIZE), "jpg"))
        for frame, time_s, each in (pictures if options.views else ())
    ]
    return FoundFaces(_crop_faces(pictures, detector, options, mask), image is None, missing, views)


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
                raise ImageError(f"{counted(count, 'picture')} in one file; save the one you want")
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


def _read_mask(path: Path, image: Still, options: FaceCropOptions) -> Still | None:
    """Read the mask beside an image; None if there is none of the image's size."""
    beside = path.with_suffix(MASK_SUFFIX)
    if beside == path or not beside.is_file():
        return None
    mask = _read_image(beside, options.max_pixels)
    return mask if mask and (mask.width, mask.height) == (image.width, image.height) else None


def _crop_faces(
    pictures: Sequence[_Sampled], detector: Detector, options: FaceCropOptions, mask: Still | None
) -> list[FaceCrop]:
    detected = [detector.detect(picture) for _, _, picture in pictures]
    selected = select_detections(detected, options.every_face)
    crops = []
    for (frame, time_s, picture), faces, numbers in zip(pictures, detected, selected, strict=True):
        for number in numbers:
            face = faces[number]
            square = placement.place(face, options.align, options.margin, CROP_SIZE)
            changed = square.cut(mask) if mask else None
            crops.append(FaceCrop(frame, time_s, face, square.cut(picture), changed))
    return crops
