"""Reads the inputs of an audit: the table of a data set and the hashes of its images."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from dfdc_prep.crops.files import path_inside
from dfdc_prep.crops.folder import read_crop_folders
from dfdc_prep.errors import ShardError, SourceError
from dfdc_prep.parallel.cpu_count import available_cores
from dfdc_prep.shards.tfrecord import parse_example, read_records
from manifests.auditing.perceptual_hash import PerceptualHashes, perceptual_hash
from manifests.identities.join import FILE, add_identities, read_identities
from manifests.schema import SHARD_MANIFEST_SCHEMA, SPLIT_SCHEMA
from manifests.tables.external import normalize_table, read_bare_table
from manifests.tables.factorize import Mask
from manifests.tables.parquet import read_manifest

#: Images held in memory at a time, and handed to a thread at a time.
_BLOCK, _PART = 1024, 32

Image = TypeVar("Image", bytes, bytes | None)


@dataclass(frozen=True)
class AuditInputs:
    """A table with a split, and the hashes of its images.

    Attributes:
        table: the rows, with the column `sha256` if images could be read.
        prints: perceptual hash of each image, uint64 [rows]; None if no image could be read.
        printed: whether the image of a row was hashed, bool [rows]; None if no image was.
    """

    table: pa.Table
    prints: PerceptualHashes | None
    printed: Mask | None


def read_audit_inputs(path: Path, identities: Path | None = None) -> AuditInputs:
    """Read the table and hash the images of a data set.

    Args:
        path: a shards folder, a faces folder with a split.parquet, a folder of crops in
            <split>/<real|fake>/, or a CSV or Parquet table. The column `path` of a table
            gives its images, relative to the table's folder.
        identities: identities.parquet or its faces folder, whose identities replace those of the
            table; None for those in `path`, if any.

    Raises:
        TableError, SourceError, ShardError: `path` is none of these, or is damaged.
    """
    inputs = _read(path)
    if identities is None and (path / FILE).is_file():
        identities = path
    if identities is None:
        return inputs
    table = add_identities(inputs.table, read_identities(identities), strict=False)
    return replace(inputs, table=table)


def _read(path: Path) -> AuditInputs:
    if not path.exists():
        raise SourceError(f"expected something to audit at {path}, found nothing; check the path")
    if path.is_file():
        return _with_images(read_bare_table(path), path.parent)
    if (path / "dataset_info.json").is_file():
        return _read_shards(path)
    if (path / "split.parquet").is_file():
        return _with_images(
            read_manifest(path / "split.parquet", "dfdc-prep split", SPLIT_SCHEMA), path
        )
    if (path / "manifest.parquet").is_file():
        return _with_images(read_manifest(path / "manifest.parquet"), path)
    return _with_images(read_crop_folders(path), path)


def _read_shards(folder: Path) -> AuditInputs:
    table = normalize_table(
        read_manifest(folder / "manifest.parquet", "dfdc-prep shard", SHARD_MANIFEST_SCHEMA),
        str(folder),
    )
    return _hash_images(table, _shard_images(folder, table))


def _shard_images(folder: Path, table: pa.Table) -> Iterator[bytes | None]:
    """Yield the image of every row, in the order of the records.

    Raises:
        ShardError: a shard is damaged, or its number of records differs from the manifest.
    """
    if table["shard"].null_count:
        raise ShardError(_mismatch(folder, "a row without a shard"))
    for name, rows in groupby(table["shard"].to_pylist()):
        left = sum(1 for _ in rows)
        for record in read_records(folder / Path(name).name):
            image = (parse_example(record).get("image") or [None])[0]
            left -= 1
            if left < 0:
                break
            yield image if isinstance(image, bytes) else None
        if left:
            raise ShardError(_mismatch(folder, f"another number of records in {name}"))


def _mismatch(folder: Path, found: str) -> str:
    return (
        f"expected the shards in {folder} to match their manifest, found {found}; run "
        f"dfdc-prep verify {folder} for details"
    )


def _with_images(table: pa.Table, folder: Path) -> AuditInputs:
    if "path" not in table.column_names:
        return AuditInputs(table, None, None)
    root = os.path.realpath(folder)
    return _hash_images(table, (_read_image(root, path) for path in table["path"].to_pylist()))


def _read_image(root: str, path: str | None) -> bytes | None:
    """The bytes of an image file; None if it is missing or outside `root`."""
    file = path_inside(root, path or "")
    return Path(file).read_bytes() if file and os.path.isfile(file) else None


def _hash_images(table: pa.Table, images: Iterator[bytes | None]) -> AuditInputs:
    """Hash the images, one per row; a row without an image keeps its `sha256`, if any."""
    rows = table.num_rows
    hashes: list[str | None] = [None] * rows
    prints, printed = np.zeros(rows, np.uint64), np.zeros(rows, bool)
    bar = tqdm(total=rows, desc="images", unit=" images", disable=None)
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for row, (sha256, print_) in enumerate(_hash_in_blocks(pool, images)):
            hashes[row] = sha256
            if print_ is not None:
                prints[row], printed[row] = print_, True
            bar.update()
    if not printed.any():
        return AuditInputs(table, None, None)
    column = pa.array(hashes, pa.string())
    if "sha256" in table.column_names:
        column = pc.coalesce(column, table["sha256"])
        table = table.drop_columns(["sha256"])
    return AuditInputs(table.append_column("sha256", column), prints, printed)


def _hash_in_blocks(
    pool: ThreadPoolExecutor, images: Iterator[bytes | None]
) -> Iterator[tuple[str | None, int | None]]:
    """Yield the SHA-256 and the perceptual hash of every image; None where there is none.

    Images are hashed in threads, a block at a time, so that memory use stays bounded. Identical
    files get their perceptual hash once.
    """
    known: dict[str, int | None] = {}
    while block := list(islice(images, _BLOCK)):
        digests = [digest for part in pool.map(_sha256s, _parts(block)) for digest in part]
        new = {
            digest: image
            for digest, image in zip(digests, block, strict=True)
            if digest is not None and image is not None and digest not in known
        }
        hashed = pool.map(_perceptual_hashes, _parts(list(new.values())))
        known.update(zip(new, (each for part in hashed for each in part), strict=True))
        for digest in digests:
            yield digest, None if digest is None else known[digest]


def _parts(images: list[Image]) -> Iterator[list[Image]]:
    """Split images into the lists that a thread works through."""
    return (images[start : start + _PART] for start in range(0, len(images), _PART))


def _sha256s(images: list[bytes | None]) -> list[str | None]:
    return [None if image is None else hashlib.sha256(image).hexdigest() for image in images]


def _perceptual_hashes(images: list[bytes]) -> list[int | None]:
    return [perceptual_hash(image) for image in images]
