"""Reads crop files: resolves their paths, checks them against the manifest, converts to JPEG."""

import hashlib
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfdc_prep.errors import ShardError
from manifests.columns import CROP_SIZE
from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading

MODES = ("RGB", "L")
#: Number of crops encoded to estimate the total size as JPEG.
_JPEG_SAMPLE = 64


@dataclass(frozen=True)
class CropFolders:
    """The folders that the paths of a table are relative to.

    Attributes:
        roots: real path (`os.path.realpath`) of each folder, by the first component of the paths
            in it; a single folder has the key "".
    """

    roots: Mapping[str, str]

    @classmethod
    def single(cls, folder: Path) -> Self:
        """The paths are relative to one folder."""
        return cls({"": os.path.realpath(folder)})

    def resolve(self, path: str) -> str:
        """Return the real path of a table's `path`, following symbolic links.

        Raises:
            ShardError: the path leads outside its folder; see `resolve_inside`.
        """
        if "" in self.roots:
            return resolve_inside(self.roots[""], path)
        name, _, inside = path.partition("/")
        return resolve_inside(self.roots[name], inside)


@dataclass(frozen=True)
class CropReader:
    """Reads the crops of faces folders in the form in which shards store them.

    Attributes:
        folders: what manifest paths are relative to.
        image_format: `as-is`, or `jpeg` to convert crops in other formats to JPEG.
        quality: JPEG quality, 1 to 100.
        size: required side of a crop, pixels; None for crops of any size.
    """

    folders: CropFolders
    image_format: str = "as-is"
    quality: int = 95
    size: int | None = CROP_SIZE

    def image(self, path: str, sha256: str) -> bytes:
        """Return the encoded image of a crop.

        Args:
            path: the crop's path in the manifest.
            sha256: the file's hexadecimal SHA-256 in the manifest.

        Raises:
            ShardError: the crop is missing, invalid or differs from the manifest.
        """
        data = read_crop(self.folders.resolve(path), path, sha256, self.size)
        return to_jpeg(data, path, self.quality) if self.image_format == "jpeg" else data

    def mask(self, path: str, sha256: str) -> bytes:
        """Return the encoded mask of a crop, a grey PNG.

        Args:
            path: the mask's path in the manifest.
            sha256: the file's hexadecimal SHA-256 in the manifest.

        Raises:
            ShardError: the mask is missing, invalid or differs from the manifest.
        """
        data = read_crop(self.folders.resolve(path), path, sha256, self.size)
        if fault := mask_fault(data, self.size):
            raise ShardError(
                f"expected the mask {path} to be a grey PNG of {_pixels(self.size)}, "
                f"found {fault}; extract again and balance"
            )
        return data

    def mask_sizes(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Return the size of each row's mask in bytes, 0 without a mask, int64 [rows].

        Raises:
            ShardError: a mask is missing.
        """
        paths = table["mask"].to_pylist()
        return np.array(
            [file_size(self.folders.resolve(path), path) if path else 0 for path in paths],
            np.int64,
        )

    def sizes(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Return the size of each row's image in bytes, int64 [rows].

        If images are converted to JPEG, the sizes are estimated from a sample.

        Raises:
            ShardError: a crop is missing; also as `image` for the crops of the sample.
        """
        paths = table["path"].to_pylist()
        sizes = np.array([file_size(self.folders.resolve(path), path) for path in paths])
        if self.image_format == "jpeg":
            # Scale the sizes on disk by the compression ratio of evenly spaced crops.
            sample = np.arange(0, len(paths), max(1, len(paths) // _JPEG_SAMPLE))
            hashes = table["sha256"].to_pylist()
            jpeg_size = sum(len(self.image(paths[row], hashes[row])) for row in sample)
            sizes = np.ceil(sizes * (jpeg_size / sizes[sample].sum()))
        return sizes.astype(np.int64)


def path_inside(root: str, path: str) -> str | None:
    """The real path of `path`, following symbolic links; None if it is outside `root`.

    Args:
        root: real path (`os.path.realpath`) of the folder that the path is relative to.
    """
    real = os.path.realpath(os.path.join(root, path.replace("\0", "")))
    return real if real.startswith(root + os.sep) else None


def resolve_inside(root: str, path: str) -> str:
    """Return the real path of a manifest's `path`, following symbolic links.

    Args:
        root: real path (`os.path.realpath`) of the folder that the path is relative to.

    Raises:
        ShardError: the path is empty, absolute, contains `..`, a backslash or NUL, or leads
            outside the folder through a symbolic link.
    """
    unsafe = os.path.isabs(path) or "\0" in path or ".." in path.split("/") or "\\" in path
    real = None if unsafe or not path else path_inside(root, path)
    if real is None:
        raise ShardError(
            f"expected every crop inside {root}, found the path {path!r} that leads elsewhere; "
            "extract again and balance"
        )
    return real


def file_size(file: str, path: str) -> int:
    """Return the size of a file in bytes.

    Args:
        file: real path of the file.
        path: the crop's path in the manifest, for messages.

    Raises:
        ShardError: the file does not exist or is not accessible.
    """
    try:
        return os.stat(file).st_size
    except OSError as error:
        raise _read_error(path, error) from error


def _read_error(path: str, error: OSError) -> ShardError:
    return ShardError(
        f"expected to read the crop {path}, found {error.strerror}; extract again and balance"
    )


def read_crop(file: str, path: str, sha256: str, size: int | None = CROP_SIZE) -> bytes:
    """Read a crop and check its hash, format and size.

    Args:
        file: real path of the file.
        path: the crop's path in the manifest, for messages.
        sha256: expected hexadecimal SHA-256 of the file.
        size: required side, pixels; None for a crop of any size.

    Returns:
        The bytes of the file.

    Raises:
        ShardError: the file cannot be read, has another hash, or is not a PNG or JPEG image of
            `size` x `size` pixels in RGB or grayscale.
    """
    data = read_verified(file, path, sha256)
    found = describe_image(data)
    if not _has_size(found, size):
        again = "extract again" if size is None else f"extract again with --size {size}"
        raise ShardError(
            f"expected the crop {path} to be a PNG or JPEG of {_pixels(size)}, "
            f"RGB or grayscale, found {found}; {again} and balance"
        )
    return data


def _has_size(found: str, size: int | None) -> bool:
    """Whether what `describe_image` found is an image of the size; None for any square."""
    width, _, height = found.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        return False
    return width == height if size is None else found == f"{size}x{size}"


def _pixels(size: int | None) -> str:
    return "equal sides" if size is None else f"{size}x{size} pixels"


def read_verified(file: str, path: str, sha256: str) -> bytes:
    """Read a file whole and check its hash.

    Args:
        file: real path of the file.
        path: the crop's path in the manifest, for messages.
        sha256: expected hexadecimal SHA-256 of the file.

    Raises:
        ShardError: the file cannot be read or has another hash.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # reading a named pipe could block
            raise OSError(None, "no regular file")
        data = Path(file).read_bytes()
    except OSError as error:
        raise _read_error(path, error) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ShardError(
            f"expected the crop {path} to have the manifest's SHA-256 {sha256[:12]}…, "
            f"found {digest[:12]}…; extract again and balance"
        )
    return data


def mask_fault(data: bytes, size: int | None = CROP_SIZE) -> str:
    """What is wrong with an encoded mask of `size` x `size` pixels; "" if nothing is."""
    found = describe_image(data, decode=True, size=size)
    if not _has_size(found, size):
        return found
    with open_image(data, CROP_FORMATS) as image:
        return "" if image.mode == "L" and image.format == "PNG" else f"{image.format} {image.mode}"


def describe_image(data: bytes, decode: bool = False, size: int | None = CROP_SIZE) -> str:
    """Return the size of an encoded image such as "224x224", or the reason why it is unusable.

    Args:
        data: a PNG or JPEG file.
        decode: also decode the pixels of an image of the expected size, to detect damage.
            Otherwise only the header is read.
        size: the expected side, pixels; None for any.
    """
    try:
        with open_image(data, CROP_FORMATS) as image, reading():
            found = f"{image.width}x{image.height}"
            if decode and _has_size(found, size):
                image.load()
            return found if image.mode in MODES else f"an image of mode {image.mode}"
    except ImageError as error:
        return str(error)


def to_jpeg(data: bytes, path: str, quality: int) -> bytes:
    """Convert a crop to an RGB JPEG; return a crop that is already a JPEG unchanged.

    Args:
        data: a PNG or JPEG file.
        path: the crop's path in the manifest, for messages.
        quality: JPEG quality, 1 to 100.

    Raises:
        ShardError: the image is damaged.
    """
    try:
        with open_image(data, CROP_FORMATS) as image, reading():
            if image.format == "JPEG":
                return data
            file = io.BytesIO()
            image.convert("RGB").save(file, "JPEG", quality=quality)
            return file.getvalue()
    except ImageError as error:
        raise ShardError(
            f"expected a crop that decodes at {path}, found {error}; extract again and balance"
        ) from error
