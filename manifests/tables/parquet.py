"""The files of tables: read and checked against a schema, written atomically, bound to a manifest.

balanced.parquet, split.parquet, identities.parquet and clips.parquet carry the SHA-256 of
manifest.parquet in their metadata, which stays the same until a row of the manifest changes.
"""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.arrow import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.errors import TableError
from manifests.files import atomic_file, file_sha256
from manifests.folders import FacesFolder, path_meant
from manifests.labels import LABELS, NO_LABEL
from manifests.schemas import SORT_KEY
from manifests.tables.codes import cast_column
from manifests.wording import columns_found, counted

MANIFEST, CLIP_LOG = FacesFolder.MANIFEST, FacesFolder.CLIPS
#: Key of a manifest's hash in the metadata of a table made from it.
_KEY = b"dfdc-prep:manifest"


def sort_manifest(table: pa.Table) -> pa.Table:
    """Sort the rows of a manifest by (part, video, frame, face), then by path."""
    keys = [(name, "ascending") for name in (*SORT_KEY, "path") if name in table.column_names]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table atomically: CSV with a header if the path ends in .csv, else parquet.

    Equal rows give equal bytes: one writer, fixed compression, no timestamp.

    Raises:
        OutputError: another run is writing the same table.
        OSError: the folder cannot be written; the path is unchanged.
    """
    with atomic_file(path) as temporary:
        if path.suffix != ".csv":
            write_parquet(table, temporary)
            return
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(table.column_names)
            for batch in table.to_batches(max_chunksize=65536):
                columns = (column.to_pylist() for column in batch.columns)
                writer.writerows(zip(*columns, strict=True))


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write parquet to a path that nobody reads yet; equal rows give equal bytes."""
    # An absolute path: a relative one with a colon would be taken for a URL.
    pq.write_table(table, path.absolute(), compression="zstd")


def first_line(error: Exception) -> str:
    """What an error says, for a message of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def read_table(path: Path, schema: pa.Schema, made_by: str) -> pa.Table:
    """Read a parquet table and check it against a schema.

    Args:
        schema: columns the table must have; they are cast to its types, and added as null where
            they may be. Other columns are kept unchanged.
        made_by: the command that writes this file, for error messages.

    Raises:
        TableError: the file is missing or not parquet, has a duplicate column, lacks a column
            of the schema, or has a column that does not fit its type.
    """
    again = f"run {made_by} again"
    if not path.is_file():
        raise TableError(
            f"expected a table at {path}, found none; {path_meant(path) or f'run {made_by} first'}"
        )
    try:
        with pq.ParquetFile(path.absolute()) as file:
            table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(
            f"expected parquet in {path}, found {first_line(error)}; {again}"
        ) from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise TableError(f"expected each column once in {path}, found {twice[0]} twice; {again}")
    absent = [field for field in schema if field.name not in table.column_names]
    if required := [field.name for field in absent if not field.nullable]:
        raise TableError(
            f"expected the column {required[0]} in {path}, found "
            f"{columns_found(table.column_names, required[0])}; {again}"
        )
    for field in absent:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    if absent:  # in the order of the schema
        further = [name for name in table.column_names if name not in schema.names]
        table = table.select([*schema.names, *further])
    for field in schema:
        given = table[field.name]
        try:
            column = given.cast(field.type)
        except pa.ArrowException as error:
            raise TableError(
                f"expected {field.type} in column {field.name} of {path}, found {given.type}; "
                f"{again}"
            ) from error
        if column.null_count and not field.nullable:
            raise TableError(
                f"expected a {field.name} in every row of {path}, found "
                f"{counted(column.null_count, 'row')} without; {again}"
            )
        table = table.set_column(table.column_names.index(field.name), field, column)
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowException as error:
            raise TableError(
                f"expected valid values in column {name} of {path}, found {first_line(error)}; "
                f"{again}"
            ) from error
    return table


def read_manifest(
    path: Path, made_by: str = "dfdc-prep extract", schema: pa.Schema = MANIFEST_SCHEMA
) -> pa.Table:
    """Read a manifest, or a table with further columns, as `read_table` does.

    Crops without a label are left out.

    Raises:
        TableError: as `read_table`, or the table has no rows or a label other than REAL and FAKE.
    """
    table = read_table(path, schema, made_by)
    if not table.num_rows:
        raise TableError(f"expected crops in {path}, found no rows; run {made_by} on other input")
    unlabelled = pc.equal(table["label"], NO_LABEL)
    if pc.any(unlabelled).as_py():
        table = table.filter(pc.invert(unlabelled))
        if not table.num_rows:
            raise TableError(
                f"expected the labels REAL and FAKE in {path}, found crops of clips without a "
                "label; extract them again from folders named real and fake, or with --table"
            )
    invalid = sorted(set(pc.unique(table["label"]).to_pylist()) - set(LABELS))
    if invalid:
        raise TableError(
            f"expected the labels REAL and FAKE in {path}, found {invalid[0]!r}; "
            f"run {made_by} again"
        )
    return table


def unlabelled_lines(path: Path, table: pa.Table) -> list[str]:
    """A line on the crops of a manifest that `read_manifest` left out."""
    left_out = pq.read_metadata(path).num_rows - table.num_rows
    return [f"{counted(left_out, 'crop')} without a label left out"] if left_out else []


def manifest_hash(folder: Path) -> str | None:
    """The SHA-256 of a faces folder's manifest, hexadecimal; None if the folder has none.

    Take it before the manifest is read: if the file is replaced in between, what is made of it
    then counts as stale, not as valid.
    """
    path = folder / MANIFEST
    return file_sha256(path) if path.is_file() else None


def bound(table: pa.Table, manifest: str | None) -> pa.Table:
    """The table with the hash of its manifest in its metadata; unchanged without one."""
    if manifest is None:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: manifest})


def bound_to(schema: pa.Schema) -> str | None:
    """The hash of the manifest that a table of this schema is bound to; None if it is to none."""
    found: bytes | None = (schema.metadata or {}).get(_KEY)
    return None if found is None else found.decode("ascii", "replace")


def check_bound(path: Path, manifest: str | None, made_by: str) -> None:
    """Raise TableError if a table of a faces folder, made by a command, is of another manifest.

    Without the hash of the folder's manifest there is nothing to compare.
    """
    if manifest is None:
        return
    known = bound_to(pq.read_schema(path.absolute()))
    if known != manifest:
        other = "one that was made from another manifest"
        if known is None:
            other = "no word of the manifest that it was made from"
        raise TableError(
            f"expected {path} made from the present {MANIFEST}, found {other}; run {made_by} "
            f"{path.parent} again"
        )


def read_clip_log(folder: Path, manifest: str | None) -> pa.Table | None:
    """Read the clip log of a faces folder; None if there is none.

    Raises:
        TableError: it is invalid, or of another manifest: the run that wrote it was interrupted.
    """
    path = folder / CLIP_LOG
    if not path.is_file():
        return None
    table = read_table(path, CLIP_LOG_SCHEMA, "dfdc-prep extract")
    check_bound(path, manifest, "dfdc-prep extract SOURCE")
    return table


def write_faces_tables(folder: Path, manifest: pa.Table, clips: pa.Table) -> None:
    """Write clips.parquet, metadata.csv and, when they are there, manifest.parquet."""
    with atomic_file(folder / MANIFEST) as temporary:
        write_parquet(manifest, temporary)
        write_table(bound(clips, file_sha256(temporary)), folder / CLIP_LOG)
        write_table(kaggle_table(manifest), folder / FacesFolder.KAGGLE_CSV)


def kaggle_table(table: pa.Table) -> pa.Table:
    """Return the columns of `metadata.csv`, one row per row of the manifest.

    The sizes are those of the crop before scaling, in pixels: the side of the square that was cut
    out or, for an imported set, the sizes in its own table. Those that a bare table lacks are left
    out.

    Raises:
        TableError: a size column is not numeric.
    """
    columns = {"videoname": table["video"]}
    for own, side in (("original_width", "w"), ("original_height", "h")):
        # The table's own size, else the crop's, else that of the face box.
        names = [own] if own in table.column_names else ["crop_size", side]
        sizes = [
            table[name]
            if pa.types.is_integer(table[name].type)
            else cast_column(table, name, pa.float64(), "numbers")
            for name in names
            if name in table.column_names
        ]
        if sizes:
            columns[own] = pc.coalesce(*sizes)
    return pa.table({**columns, "label": table["label"], "original": table["original"]})
