"""The crops as files: found inside their folder, checked against the manifest, re-encoded."""

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from dfdc_prep.errors import ShardError
from manifests.auditing.perceptual_hash import DECOMPRESSION_BOMBS

#: Side of a crop in a shard, pixels: what the model takes.
SIDE = 224
FORMATS = ("PNG", "JPEG")
MODES = ("RGB", "L")


#: Crops encoded to guess how much smaller JPEG makes them.
_SAMPLE = 64


@dataclass(frozen=True)
class Crops:
    """The crops of a faces folder as they go into records.

    Attributes:
        root: the real path of the folder that the manifest's paths are relative to.
        image_format: as-is, or jpeg to encode those that are no JPEG yet.
        quality: of the JPEGs, 1 to 100.
    """

    root: str
    image_format: str
    quality: int

    def image(self, path: str, sha256: str) -> bytes:
        """One crop, checked and encoded; raises ShardError as `read_crop` and `to_jpeg`."""
        data = read_crop(inside(self.root, path), path, sha256)
        return to_jpeg(data, path, self.quality) if self.image_format == "jpeg" else data

    def sizes(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Bytes of every row's image, int64 [rows]; for JPEG a guess from some of them."""
        paths = table["path"].to_pylist()
        sizes = np.array([file_size(inside(self.root, path), path) for path in paths])
        if self.image_format == "jpeg":
            some = np.arange(0, len(paths), max(1, len(paths) // _SAMPLE))
            hashes = table["sha256"].to_pylist()
            after = sum(len(self.image(paths[row], hashes[row])) for row in some)
            sizes = np.ceil(sizes * (after / sizes[some].sum()))
        return sizes.astype(np.int64)


def inside(root: str, path: str) -> str:
    """The file a manifest's `path` means, links followed.

    Args:
        root: the real path (`os.path.realpath`) of the folder the path is relative to.

    Raises:
        ShardError: the path is absolute, climbs, or leads outside the folder by a link.
    """
    climbs = os.path.isabs(path) or "\0" in path or ".." in path.split("/") or "\\" in path
    real = "" if climbs or not path else os.path.realpath(os.path.join(root, path))
    if not real.startswith(root + os.sep):
        raise ShardError(
            f"expected every crop inside {root}, found the path {path!r} that leads elsewhere; "
            "extract again and balance"
        )
    return real


def file_size(file: str, path: str) -> int:
    """The bytes of a crop's file; raises ShardError, naming `path`, where there is none."""
    try:
        return os.stat(file).st_size
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: str, error: OSError) -> ShardError:
    return ShardError(
        f"expected to read the crop {path}, found {error.strerror}; extract again and balance"
    )


def read_crop(file: str, path: str, sha256: str) -> bytes:
    """The bytes of a crop, which are those the manifest speaks of and an image of 224x224.

    Args:
        file: where it lies.
        path: what to call it in messages.
        sha256: what the manifest says, hexadecimal.

    Raises:
        ShardError: it cannot be read, is another file, or no PNG or JPEG of that size.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would never end
            raise OSError(None, "no file")
        data = Path(file).read_bytes()
    except OSError as error:
        raise _unread(path, error) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ShardError(
            f"expected the crop {path} to have the sha256 {sha256[:12]}… of the manifest, "
            f"found {found[:12]}…; extract again and balance"
        )
    what = describe(data)
    if what != f"{SIDE}x{SIDE}":
        raise ShardError(
            f"expected the crop {path} to be a PNG or JPEG of {SIDE}x{SIDE} pixels, RGB or grey, "
            f"found {what}; extract again with --size {SIDE} and balance"
        )
    return data


def describe(data: bytes, whole: bool = False) -> str:
    """The size of an image as 224x224, or in words what makes it unfit.

    Args:
        whole: decode every pixel; otherwise the header is read.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size = f"{image.width}x{image.height}"
            if whole and size == f"{SIDE}x{SIDE}":
                image.load()
            return size if image.mode in MODES else f"an image of mode {image.mode}"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        return f"no image ({type(error).__name__})"
    except DECOMPRESSION_BOMBS:
        return "an image of absurd size"


def to_jpeg(data: bytes, path: str, quality: int) -> bytes:
    """A PNG crop as JPEG, RGB; a crop that is a JPEG already is not encoded twice.

    Raises:
        ShardError: the image is damaged; it names `path`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "JPEG":
                return data
            file = io.BytesIO()
            image.convert("RGB").save(file, "JPEG", quality=quality)
            return file.getvalue()
    except (OSError, SyntaxError, ValueError) as error:
        raise ShardError(
            f"expected the crop {path} to decode, found {error}; extract again and balance"
        ) from error
