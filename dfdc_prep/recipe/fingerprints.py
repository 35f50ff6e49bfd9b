"""What tells a clip and a crop from others: hashes, and sketches for how near two pictures are.

A sketch holds projections of the pixels on fixed random vectors of +1 and -1, modulo 2^16. The
square of the difference of two projections has the expected value of the sum of the squared
differences of the pixels (Achlioptas 2003, Database-friendly random projections), so that a few
bytes say about how far two pictures are apart, and nothing of what they show.
"""

import hashlib
import math
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.errors import ClipError
from dfdc_prep.video.container import MP4, missing_end
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip
from dfdc_prep.video.source_file import SourceFile, clip_size, frame_names, unreachable_error
from manifests.files import file_sha256

SAME, REMUXED, CUT, REENCODED = "same", "re-muxed", "cut short", "re-encoded"
OTHER, UNREADABLE = "other clip", "unreadable"
#: What `describe_copy` says of a copy of a clip.
COPIES = (SAME, REMUXED, CUT, REENCODED, OTHER, UNREADABLE)

#: Projections in the sketch of a crop and of a frame, and the side that a frame is scaled to.
_CROP, _FRAME, _FRAME_SIDE = 2, 8, 64
#: Values of that frame.
FRAME_VALUES = _FRAME_SIDE * _FRAME_SIDE * 3
#: First frames that are nearer than this are of one clip or its family, dB: those of 24 DFDC and
#: FaceForensics++ clips are at 28 dB or more within a family, else at 15 or less.
_NEAR = 20.0
#: Differences of as many values fit 16 bits down to 15 dB; larger pictures are sketched coarser.
_FITTING = 224 * 224 * 3
#: Values projected at a time.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class ClipPrint:
    """What tells a clip from others; the last three are None if no frame of it decodes."""

    size: int  # bytes
    sha256: bytes  # 32 bytes; of a folder, that of the names and hashes of its frames
    frames: int | None  # in the clip
    first_frame: bytes | None  # first 8 bytes of the SHA-256 of its pixels, RGB
    sketch: bytes | None  # of that frame, 16 bytes


def clip_print(path: Path, decoded: bool = True) -> ClipPrint:
    """The print of a clip, a file or a folder of frames.

    Args:
        decoded: also decode its first frame, which the clips that crash FFmpeg do not survive.

    Raises:
        SourceUnreachable: the system cannot read it.
    """
    size, sha256 = clip_size(path), _clip_hash(path)
    if not decoded:
        return ClipPrint(size, sha256, None, None, None)
    try:
        frames, _, first = _first_frame(path)
    except ClipError:
        return ClipPrint(size, sha256, None, None, None)
    if first is None:
        return ClipPrint(size, sha256, frames, None, None)
    return ClipPrint(size, sha256, frames, _pixel_hash(first)[:8], _frame_sketch(first))


def describe_copy(path: Path, expected: ClipPrint, relatives: Collection[bytes] = ()) -> str:
    """What a clip is beside the one of a print, one of `COPIES`.

    A copy whose bytes differ is told by its first frame and its number of frames. A clip that
    begins with the same frame and goes on otherwise counts as re-muxed: its crops tell it.

    Args:
        relatives: SHA-256 of other clips of its family, whose first frames may be near its own.

    Raises:
        SourceUnreachable: the system cannot read it.
    """
    sha256 = _clip_hash(path)
    if sha256 == expected.sha256:
        return SAME
    if sha256 in relatives:
        return OTHER
    try:
        frames, whole, first = _first_frame(path)
    except ClipError:
        return CUT if _lacks_end(path) else UNREADABLE
    if first is None:
        return CUT if not whole else UNREADABLE
    if expected.first_frame is None or expected.sketch is None or expected.frames is None:
        return OTHER
    same = _pixel_hash(first)[:8] == expected.first_frame
    if same and (not whole or frames < expected.frames):
        return CUT
    if same and frames == expected.frames:
        return REMUXED
    near = same or psnr(_frame_sketch(first), expected.sketch, FRAME_VALUES) >= _NEAR
    return REENCODED if near else OTHER


def crop_print(image: Image) -> tuple[bytes, bytes]:
    """Three bytes of the hash of a crop's pixels, and its sketch, four bytes.

    Args:
        image: RGB uint8 [H, W, 3].
    """
    return _pixel_hash(image)[:3], _sketch(image, _CROP)


def psnr(first: bytes, second: bytes, values: int) -> float:
    """The PSNR of two pictures in dB, estimated from their sketches; infinite if these are equal.

    From k projections, the standard error of the mean squared error is sqrt(2 / k) of it: 1.0 for
    a crop and 0.5 for a frame, so that a figure of crops is a mean over many.

    Args:
        values: of each picture, its pixels times three.
    """
    error = squared_error(first, second, values)
    return 10 * math.log10(65025 / error) if error else math.inf


def squared_error(first: bytes, second: bytes, values: int) -> float:
    """The mean squared error of two pictures, estimated; the arguments are those of `psnr`."""
    # The difference modulo 2^16, centred.
    difference = (np.frombuffer(first, "<i2") - np.frombuffer(second, "<i2")).astype(np.float64)
    return float(np.mean(difference**2)) * float(4 ** _coarseness(values)) / values


def _clip_hash(path: Path) -> bytes:
    try:
        if not path.is_dir():
            return bytes.fromhex(file_sha256(path))
        digest = hashlib.sha256()
        for name in frame_names(path):
            line = f"{file_sha256(path / name)}  {name}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.digest()
    except OSError as error:
        raise unreachable_error(path, error) from error


def _first_frame(path: Path) -> tuple[int, bool, Image | None]:
    """The number of frames, whether the file has its end, and the first frame in RGB."""
    with open_clip(path) as video:
        count, whole = video.timeline.count, not video.shortfall
        first = next((frame.rgb() for frame in video.frames([0])), None)
    return count, whole, first


def _lacks_end(path: Path) -> bool:
    """Whether a file that does not open is an MP4 without its end."""
    if path.is_dir():
        return False
    with closing(SourceFile(path)) as file:
        lacks = file.read_at(4, 4) == b"ftyp" and missing_end(file, MP4) is not None
        file.raise_for_error()
    return lacks


def _pixel_hash(image: Image) -> bytes:
    digest = hashlib.sha256(f"{image.shape[0]} {image.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.digest()


def _frame_sketch(frame: Image) -> bytes:
    small = cv2.resize(frame, (_FRAME_SIDE, _FRAME_SIDE), interpolation=cv2.INTER_AREA)
    return _sketch(small.astype(np.uint8, copy=False), _FRAME)


def _sketch(image: Image, projections: int) -> bytes:
    values = image.reshape(-1)
    sums = np.zeros(projections, np.int64)
    for start, signs in enumerate(_signs(projections, values.size)):
        block = values[start * _BLOCK : (start + 1) * _BLOCK].astype(np.float64)
        sums += (signs.astype(np.float64) @ block).astype(np.int64)  # exact: far below 2^53
    return (sums >> _coarseness(values.size)).astype("<i2").tobytes()


@lru_cache(maxsize=4)
def _signs(projections: int, values: int) -> list[NDArray[np.int8]]:
    """The vectors of +1 and -1, int8 [projections, values], in blocks of columns."""
    bits = [
        np.frombuffer(hashlib.shake_256(f"dfdc-prep {n}".encode()).digest(-(-values // 8)), "u1")
        for n in range(projections)
    ]
    signs = np.array([np.unpackbits(each)[:values] for each in bits], np.int8) * 2 - 1
    return [signs[:, at : at + _BLOCK] for at in range(0, values, _BLOCK)]


def _coarseness(values: int) -> int:
    """The bits that a projection of so many values is shortened by."""
    return max(0, math.ceil(math.log2(values / _FITTING) / 2))
