"""What an audit looks at: the table of a path, and the fingerprints of its images."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from dfdc_prep.crops.folder import read_crop_folders
from dfdc_prep.errors import ShardError, SourceError
from dfdc_prep.parallel.cpu_count import available_cores
from dfdc_prep.shards.tfrecord import example, records
from manifests.auditing.perceptual_hash import Prints, fingerprint
from manifests.schema import SHARDED, SPLIT
from manifests.tables.external import clean, read_bare
from manifests.tables.factorize import Mask
from manifests.tables.parquet import read_manifest


@dataclass(frozen=True)
class Evidence:
    """A table with a split, and what its images tell.

    Attributes:
        table: the rows; with the sha256 of their images where they could be read.
        prints: uint64 [rows], the perceptual hash of each image; None where none was read.
        printed: bool [rows], whether an image was read.
    """

    table: pa.Table
    prints: Prints | None
    printed: Mask | None


def gather(path: Path) -> Evidence:
    """Read the table and the images of a path that is to be audited.

    Args:
        path: a shards folder, a faces folder with a split.parquet, a folder of crops sorted
            as <split>/<real|fake>, or a CSV or parquet table; the images of a table are
            looked for where its column `path` says, from the table's folder on.

    Raises:
        TableError, SourceError, ShardError: it is none of them, or is damaged.
    """
    if not path.exists():
        raise SourceError(f"expected something to audit at {path}, found nothing; give its path")
    if path.is_file():
        return _with_images(read_bare(path), path.parent)
    if (path / "dataset_info.json").is_file():
        return _of_shards(path)
    if (path / "split.parquet").is_file():
        return _with_images(read_manifest(path / "split.parquet", "dfdc-prep split", SPLIT), path)
    if (path / "manifest.parquet").is_file():
        return _with_images(read_manifest(path / "manifest.parquet"), path)
    return _with_images(read_crop_folders(path), path)


def _of_shards(folder: Path) -> Evidence:
    table = clean(
        read_manifest(folder / "manifest.parquet", "dfdc-prep shard", SHARDED), str(folder)
    )
    return _looked_at(table, _records(folder, table))


def _records(folder: Path, table: pa.Table) -> Iterator[bytes | None]:
    """The image of every row, in the order of the records.

    Raises:
        ShardError: a shard has other records than the manifest has rows, or is damaged.
    """
    if table["shard"].null_count:
        raise ShardError(_disagree(folder, "no shard in some row"))
    for name, rows in groupby(table["shard"].to_pylist()):
        left = sum(1 for _ in rows)
        for record in records(folder / Path(name).name):
            image = (example(record).get("image") or [None])[0]
            left -= 1
            if left < 0:
                break
            yield image if isinstance(image, bytes) else None
        if left:
            raise ShardError(_disagree(folder, f"another number of records in {name}"))


def _disagree(folder: Path, found: str) -> str:
    return (
        f"expected the shards in {folder} to hold what their manifest says, found {found}; see "
        f"what is wrong with dfdc-prep verify {folder}"
    )


def _with_images(table: pa.Table, folder: Path) -> Evidence:
    if "path" not in table.column_names:
        return Evidence(table, None, None)
    root = os.path.realpath(folder)
    return _looked_at(table, (_read(root, path) for path in table["path"].to_pylist()))


def _read(root: str, path: str | None) -> bytes | None:
    """The bytes of an image inside `root`; None where it is missing or lies outside."""
    file = os.path.realpath(os.path.join(root, path or "").replace("\0", ""))
    if not file.startswith(root + os.sep) or not os.path.isfile(file):
        return None
    return Path(file).read_bytes()


def _looked_at(table: pa.Table, images: Iterator[bytes | None]) -> Evidence:
    """Hash every image as it comes; where one is missing, the row keeps the sha256 it has."""
    rows = table.num_rows
    shas: list[str | None] = [None] * rows
    prints, printed = np.zeros(rows, np.uint64), np.zeros(rows, bool)
    bar = tqdm(total=rows, desc="images", unit=" images", disable=None)
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for at, (sha, print_) in enumerate(_in_blocks(pool, images)):
            shas[at] = sha
            if print_ is not None:
                prints[at], printed[at] = print_, True
            bar.update()
    if not printed.any():
        return Evidence(table, None, None)
    seen = pa.array(shas, pa.string())
    if "sha256" in table.column_names:
        seen = pc.coalesce(seen, table["sha256"])
        table = table.drop_columns(["sha256"])
    return Evidence(table.append_column("sha256", seen), prints, printed)


def _in_blocks(
    pool: ThreadPoolExecutor, images: Iterator[bytes | None]
) -> Iterator[tuple[str | None, int | None]]:
    """Hash in threads, a block at a time, so that memory does not grow with the images."""
    while block := list(islice(images, 1000)):
        yield from pool.map(_hash, block)


def _hash(image: bytes | None) -> tuple[str | None, int | None]:
    if image is None:
        return None, None
    return hashlib.sha256(image).hexdigest(), fingerprint(image)
