"""Reads the inputs of an audit: the table of a data set and what its images share."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.files import path_inside, read_crop_folders
from dfdc_prep.errors import ShardError, SourceError
from dfdc_prep.writing.sources import read_image, read_images
from dfdc_prep.writing.tfrecord import parse_example, read_records
from manifests.folders import FacesFolder, ShardsFolder
from manifests.identities.table import FILE, add_identities, read_identities
from manifests.pictures.near_identical import NearIdentical, find_in_table, rows_to_compare
from manifests.pictures.thumbnails import Pictures
from manifests.schema import SHARD_MANIFEST_SCHEMA, SPLIT_SCHEMA
from manifests.tables.codes import clip_lines, factorize, text_column
from manifests.tables.external import (
    BY_EVIDENCE,
    NotedTable,
    Reading,
    normalize_table,
    read_bare_table,
)
from manifests.tables.parquet import check_bound, manifest_hash, read_manifest

#: Files of shards and faces folders; another folder is one of crops.
_OWN_TABLES = (ShardsFolder.INFO, FacesFolder.SPLIT, FacesFolder.MANIFEST)


@dataclass(frozen=True)
class AuditInputs:
    """A table with a split, and what its images share.

    Attributes:
        table: the rows, with the column `sha256` if images could be read.
        near: the near-identical images of different splits; None if no image could be read.
        notes: how the rows were read, where `path` does not say it.
        pictures: the pictures that were compared; None if no image could be read.
    """

    table: pa.Table
    near: NearIdentical | None
    notes: tuple[str, ...] = ()
    pictures: Pictures | None = None


def read_audit_inputs(
    path: Path, identities: Path | None = None, reading: Reading = BY_EVIDENCE
) -> AuditInputs:
    """Read the table and compare the images of a data set.

    Args:
        path: a shards folder, a faces folder with a split.parquet, a folder of crops in
            <split>/<real|fake>/, or a CSV or Parquet table. The column `path` of a table
            gives its images, relative to the table's folder.
        identities: identities.parquet or its faces folder, whose identities replace those of the
            table; None for those in `path`, if any.
        reading: how to read what a folder of crops or a table does not say.

    Raises:
        TableError, SourceError, ShardError: `path` is none of these, or is damaged.
    """
    inputs = _read(path, reading)
    if identities is None and (path / FILE).is_file():
        identities = path
    if identities is None:
        return inputs
    table = add_identities(inputs.table, read_identities(identities), strict=False)
    return replace(inputs, table=table)


def _read(path: Path, reading: Reading) -> AuditInputs:
    if not path.exists():
        raise SourceError(f"expected something to audit at {path}, found nothing; check the path")
    if path.is_file():
        return _with_images(read_bare_table(path, reading), path.parent)
    if not any((path / name).is_file() for name in _OWN_TABLES):
        return _with_images(read_crop_folders(path, reading), path)
    reading.check_unused(path)
    if (path / ShardsFolder.INFO).is_file():
        return _read_shards(path)
    if (path / FacesFolder.SPLIT).is_file():
        table = read_manifest(path / FacesFolder.SPLIT, "dfdc-prep split", SPLIT_SCHEMA)
        check_bound(path / FacesFolder.SPLIT, manifest_hash(path), "dfdc-prep split")
    else:
        table = read_manifest(path / FacesFolder.MANIFEST)
    return _with_images(NotedTable(table, tuple(clip_lines(table))), path)


def _read_shards(folder: Path) -> AuditInputs:
    found = normalize_table(
        read_manifest(folder / FacesFolder.MANIFEST, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA),
        str(folder),
    )
    return _hash_images(found, _shard_images(folder, found.rows))


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


def _with_images(found: NotedTable, folder: Path) -> AuditInputs:
    if "path" not in found.rows.column_names:
        return AuditInputs(found.rows, None, found.notes)
    root = os.path.realpath(folder)
    files = (path_inside(root, path or "") for path in found.rows["path"].to_pylist())
    return _hash_images(found, (read_image(file) if file else None for file in files))


def _hash_images(found: NotedTable, images: Iterator[bytes | None]) -> AuditInputs:
    """Hash and compare the images, one per row; a row without an image keeps its `sha256`."""
    table = found.rows
    hashes, pictures = read_images(images, rows_to_compare(table))
    if not len(pictures.rows):
        return AuditInputs(table, None, found.notes)
    column = pa.array(hashes, pa.string())
    if "sha256" in table.column_names:
        column = pc.coalesce(column, table["sha256"])
        table = table.drop_columns(["sha256"])
    table = table.append_column("sha256", column)
    if "split" not in table.column_names:
        return AuditInputs(table, None, found.notes)
    (split,), _ = factorize(text_column(table, "split"))
    near = find_in_table(pictures, split)
    return AuditInputs(table, near, found.notes, pictures)
