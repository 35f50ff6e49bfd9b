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
from manifests.arrow import SHARD_MANIFEST_SCHEMA, SPLIT_SCHEMA
from manifests.folders import FacesFolder, ShardsFolder, path_meant
from manifests.identities.table import FILE, add_identities, read_identities
from manifests.pictures.near_identical import NearIdentical, find_in_table, rows_to_compare
from manifests.pictures.thumbnails import Pictures
from manifests.tables import external
from manifests.tables.codes import clip_lines, factorize, text_column
from manifests.tables.parquet import (
    check_bound,
    manifest_hash,
    read_manifest,
    unlabelled_lines,
)

#: Files of shards and faces folders; another folder is one of crops.
_OWN_TABLES = (ShardsFolder.INFO, FacesFolder.SPLIT, FacesFolder.MANIFEST)


@dataclass(frozen=True)
class AuditInputs:
    """A table with a split, and what its images share."""

    table: pa.Table  # the rows, with the column `sha256` if images could be read
    # the near-identical images of different splits; None if no image could be read
    near: NearIdentical | None
    notes: tuple[str, ...] = ()  # how the rows were read, where the path does not say it
    pictures: Pictures | None = None  # that were compared; None if no image could be read


def read_audit_inputs(
    path: Path, identities: Path | None = None, reading: external.Reading = external.BY_EVIDENCE
) -> AuditInputs:
    """Read the table and compare the images of a data set.

    Args:
        path: a shards folder, a faces folder with a split.parquet, a folder of crops in
            <split>/<real|fake>/, or a CSV or Parquet table. The column `path` of a table
            gives its images, relative to the table's folder.
        identities: identities.parquet or its faces folder, whose identities replace those of the
            table; None for those in `path`, if any.

    Raises:
        TableError, SourceError, ShardError: `path` is none of these, or is damaged.
    """
    inputs = _read(path, reading)
    identities = identities or (path if (path / FILE).is_file() else None)
    if identities is None:
        return inputs
    table = add_identities(inputs.table, read_identities(identities), strict=False)
    return replace(inputs, table=table)


def _read(path: Path, reading: external.Reading) -> AuditInputs:
    if not path.exists():
        raise SourceError(
            f"expected a shards folder, a faces folder, a table or a folder of crops at {path}, "
            f"found nothing; {path_meant(path) or 'give its path'}"
        )
    folder = path.parent if path.is_file() else path
    if path.is_file():
        found = external.read_bare_table(path, reading)
    elif not any((path / name).is_file() for name in _OWN_TABLES):
        found = read_crop_folders(path, reading)
    else:
        reading.check_unused(path)
        if (path / ShardsFolder.INFO).is_file():
            file = path / ShardsFolder.MANIFEST
            table = read_manifest(file, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
            found = external.normalize_table(table, str(path))
            return _with_images(found, shard_images(path, found.rows))
        if (path / FacesFolder.SPLIT).is_file():
            table = read_manifest(path / FacesFolder.SPLIT, "dfdc-prep split", SPLIT_SCHEMA)
            left_out = []
            check_bound(path / FacesFolder.SPLIT, manifest_hash(path), "dfdc-prep split")
        else:
            table = read_manifest(path / FacesFolder.MANIFEST)
            left_out = unlabelled_lines(path / FacesFolder.MANIFEST, table)
        found = external.NotedTable(table, (*clip_lines(table), *left_out))
    if "path" not in found.rows.column_names:
        return AuditInputs(found.rows, None, found.notes)
    root = os.path.realpath(folder)
    files = (path_inside(root, image or "") for image in found.rows["path"].to_pylist())
    return _with_images(found, map(read_image, files))


def shard_images(folder: Path, table: pa.Table) -> Iterator[bytes | None]:
    """Yield the image of every row, in the order of the records; ShardError if they differ."""

    def mismatch(found: str) -> ShardError:
        return ShardError(
            f"expected the shards in {folder} to match their manifest, found {found}; run "
            f"dfdc-prep verify {folder} for details"
        )

    if table["shard"].null_count:
        raise mismatch("a row without a shard")
    for name, rows in groupby(table["shard"].to_pylist()):
        left = sum(1 for _ in rows)
        for record in read_records(folder / Path(name).name):
            image = (parse_example(record).get("image") or [None])[0]
            left -= 1
            if left < 0:
                break
            yield image if isinstance(image, bytes) else None
        if left:
            raise mismatch(f"another number of records in {name}")


def _with_images(found: external.NotedTable, images: Iterator[bytes | None]) -> AuditInputs:
    """Hash and compare the images, one per row; a row without an image keeps its `sha256`."""
    table, notes = found
    hashes, pictures = read_images(images, rows_to_compare(table))
    if not len(pictures.rows):
        return AuditInputs(table, None, notes)
    column = pa.array(hashes, pa.string())
    if "sha256" in table.column_names:
        column = pc.coalesce(column, table["sha256"])
        table = table.drop_columns(["sha256"])
    table = table.append_column("sha256", column)
    if "split" not in table.column_names:
        return AuditInputs(table, None, notes)
    (split,), _ = factorize(text_column(table, "split"))
    return AuditInputs(table, find_in_table(pictures, split), notes, pictures)
