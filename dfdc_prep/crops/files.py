"""Reads files of crops: lists folders, resolves paths, checks crops against the manifest."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfdc_prep.crops.encoding import MASK_SUFFIX, crop_fault, mask_fault, to_jpeg
from dfdc_prep.errors import ShardError, SourceError
from manifests.folders import path_meant
from manifests.labels import parse_label
from manifests.schemas import CROP_SIZE
from manifests.tables.external import BY_EVIDENCE, NotedTable, Reading, normalize_table
from manifests.wording import counted

_SUFFIXES = (".png", ".jpg", ".jpeg")
#: Number of crops encoded to estimate the total size as JPEG.
_JPEG_SAMPLE = 64


@dataclass(frozen=True)
class CropFolders:
    """The folders that the paths of a table are relative to."""

    # real path (`os.path.realpath`) of each folder, by the first component of the paths in it; a
    # single folder has the key ""
    roots: Mapping[str, str]

    @classmethod
    def single(cls, folder: Path) -> Self:
        """The paths are relative to one folder."""
        return cls({"": os.path.realpath(folder)})

    def resolve(self, path: str) -> str:
        """Return the real path of a table's `path`; see `resolve_inside`, also for errors."""
        if "" in self.roots:
            return resolve_inside(self.roots[""], path)
        name, _, inside = path.partition("/")
        return resolve_inside(self.roots[name], inside)


@dataclass(frozen=True)
class CropReader:
    """Reads the crops of faces folders in the form in which shards store them.

    The methods raise ShardError if a crop or a mask is missing, invalid or, by its SHA-256 in the
    manifest, another one.
    """

    folders: CropFolders  # what manifest paths are relative to
    image_format: str = "as-is"  # `as-is`, or `jpeg` to convert crops in other formats to JPEG
    quality: int = 95  # JPEG quality, 1 to 100
    size: int | None = CROP_SIZE  # required side of a crop, pixels; None for crops of any size

    def image(self, path: str, sha256: str) -> bytes:
        """Return the encoded image of a crop, by its path and hash in the manifest."""
        data = self._read(path, sha256)
        return to_jpeg(data, path, self.quality) if self.image_format == "jpeg" else data

    def mask(self, path: str, sha256: str) -> bytes:
        """Return the encoded mask of a crop, a grey PNG, by its path and hash in the manifest."""
        data = self._read(path, sha256)
        if fault := mask_fault(data, self.size):
            raise ShardError(
                f"expected the mask {path} to be a grey PNG of {self._pixels}, "
                f"found {fault}; extract again and balance"
            )
        return data

    def mask_sizes(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Return the size of each row's mask in bytes, 0 without a mask, int64 [rows]."""
        paths = table["mask"].to_pylist()
        return np.array([self._file_size(path) if path else 0 for path in paths], np.int64)

    def sizes(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Return the size of each row's image in bytes, int64 [rows].

        If images are converted to JPEG, the sizes are estimated from a sample.
        """
        paths = table["path"].to_pylist()
        sizes = np.array([self._file_size(path) for path in paths])
        if self.image_format == "jpeg":
            # Scale the sizes on disk by the compression ratio of every n-th crop.
            sample = np.arange(0, len(paths), max(1, len(paths) // _JPEG_SAMPLE))
            hashes = table["sha256"].to_pylist()
            jpeg_size = sum(len(self.image(paths[row], hashes[row])) for row in sample)
            sizes = np.ceil(sizes * (jpeg_size / sizes[sample].sum()))
        return sizes.astype(np.int64)

    @property
    def _pixels(self) -> str:
        return "equal sides" if self.size is None else f"{self.size}x{self.size} pixels"

    def _read(self, path: str, sha256: str) -> bytes:
        data = read_verified(self.folders.resolve(path), path, sha256)
        if fault := crop_fault(data, self.size):
            again = "" if self.size is None else f" with --size {self.size}"
            raise ShardError(
                f"expected the crop {path} to be a PNG or JPEG of {self._pixels}, "
                f"RGB or grayscale, found {fault}; extract again{again} and balance"
            )
        return data

    def _file_size(self, path: str) -> int:
        try:
            return os.stat(self.folders.resolve(path)).st_size
        except OSError as error:
            raise _read_error(path, error) from error


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
        root: as for `path_inside`.

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


def _read_error(path: str, error: OSError) -> ShardError:
    return ShardError(
        f"expected to read the crop {path}, found {error.strerror}; extract again and balance"
    )


def list_images(folder: Path) -> list[str]:
    """Return the images below a folder as sorted relative paths with forward slashes.

    Masks are left out.

    Raises:
        SourceError: the folder does not exist, contains no image, or contains an image with a
            name that is not valid UTF-8.
    """
    if not folder.is_dir():
        advice = path_meant(folder) or "give its path"
        raise SourceError(f"expected a folder of crops at {folder}, found none; {advice}")
    found = [
        Path(base, name).relative_to(folder).as_posix()
        for base, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_SUFFIXES) and not name.lower().endswith(MASK_SUFFIX)
    ]
    if not found:
        raise SourceError(
            f"expected images ({', '.join(_SUFFIXES)}) under {folder}, found none; give the "
            "folder of the crops"
        )
    for path in found:
        # Surrogates stand for bytes that are not valid UTF-8.
        if path.encode(errors="ignore").decode() != path:
            raise SourceError(
                f"expected the images under {folder} to have names in UTF-8, found {path!a}; "
                "rename it or remove it"
            )
    return sorted(found)


def read_crop_folders(folder: Path, reading: Reading = BY_EVIDENCE) -> NotedTable:
    """Return one row per image of a folder with the layout `<split>/<real|fake>/.../<name>.jpg`.

    Images outside this layout are left out, and counted in the notes. Clips are read from the
    paths (`manifests.tables.clip_reading`).

    Returns:
        A table with the string columns split, label, path, and those that `normalize_table` adds.

    Raises:
        SourceError: no image has such a path, or as `list_images`.
        TableError: the clips cannot be told.
    """
    paths = list_images(folder)
    rows = [row for path in paths if (row := _parse_path(path))]
    if not rows:
        raise SourceError(
            f"expected crops in folders such as train/real and train/fake under {folder}, found "
            "none; give a table with the columns split, label, video and original"
        )
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    found = normalize_table(pa.table(columns, ["split", "label", "path"]), str(folder), reading)
    outside = len(paths) - len(rows)
    left_out = (f"left out, in no folder such as train/real: {counted(outside, 'image')}",)
    return found._replace(notes=(*found.notes, *left_out[: bool(outside)]))


def _parse_path(path: str) -> tuple[str, str, str] | None:
    """Return split, label and path of an image, None if outside the layout."""
    split, label, *rest = (*path.split("/", 2), "")[:3]
    # A folder called true may hold either.
    known = parse_label(label) and label.lower() not in ("true", "false")
    return (split, label, path) if known and rest[0] else None
