"""Reading and writing the tables: whole or not at all, and held against their schema."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.errors import TableError
from manifests.io.atomic import whole_file
from manifests.labels import LABELS
from manifests.schema import MANIFEST, SORT_KEY


def sort_manifest(table: pa.Table) -> pa.Table:
    """The rows of a manifest in the order every manifest has, by (part, video, frame, face)."""
    keys = [(name, "ascending") for name in (*SORT_KEY, "path") if name in table.column_names]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table so that `path` either holds all of it or is untouched.

    A path that ends in .csv becomes a CSV with a header, any other parquet. The same rows
    give the same bytes: one writer, fixed compression, no timestamp.

    Raises:
        OutputError: another run is writing the same table.
        OSError: the folder cannot be written; nothing is left behind.
    """
    with whole_file(path) as half:
        if path.suffix == ".csv":
            _write_csv(table, half)
        else:
            pq.write_table(table, half, compression="zstd")


def _write_csv(table: pa.Table, path: Path) -> None:
    """Plain CSV: quotes only where needed, nothing for null, a batch of rows at a time."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        for batch in table.to_batches(max_chunksize=65536):
            writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def read_table(path: Path, schema: pa.Schema, made_by: str) -> pa.Table:
    """Read a parquet table and hold it against a schema; further columns are kept as they are.

    Args:
        made_by: the command that writes this file, for the message where it is missing.

    Raises:
        TableError: the file is missing, no parquet, has a column twice, or lacks a column or
            its type.
    """
    if not path.is_file():
        raise TableError(f"expected a table at {path}, found none; run {made_by} first")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(
            f"expected parquet in {path}, found {_first_line(error)}; run {made_by} again"
        ) from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise TableError(
            f"expected each column once in {path}, found {twice[0]} twice; run {made_by} again"
        )
    absent = [name for name in schema.names if name not in table.column_names]
    if absent:
        raise TableError(
            f"expected the columns {', '.join(schema.names)} in {path}, "
            f"missing are {', '.join(absent)}; run {made_by} again"
        )
    return _cast(table, schema, path, made_by)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _cast(table: pa.Table, schema: pa.Schema, path: Path, made_by: str) -> pa.Table:
    for name in schema.names:
        want = schema.field(name)
        index = table.column_names.index(name)
        try:
            column = table.column(name).cast(want.type)
        except pa.ArrowException as error:
            raise TableError(
                f"expected {want.type} in column {name} of {path}, "
                f"found {table.column(name).type}; run {made_by} again"
            ) from error
        if column.null_count and not want.nullable:
            raise TableError(
                f"expected no empty {name} in {path}, found {column.null_count}; "
                f"run {made_by} again"
            )
        table = table.set_column(index, want, column)
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowException as error:
            raise TableError(
                f"expected whole values in column {name} of {path}, found {_first_line(error)}; "
                f"run {made_by} again"
            ) from error
    return table


def read_manifest(
    path: Path, made_by: str = "dfdc-prep extract", schema: pa.Schema = MANIFEST
) -> pa.Table:
    """Read a manifest and check its labels and that it has rows.

    Args:
        schema: MANIFEST, or SPLIT or SHARDED where the columns of those are needed too.

    Raises:
        TableError: as `read_table`, or no row, or a label other than REAL and FAKE.
    """
    table = read_table(path, schema, made_by)
    if not table.num_rows:
        raise TableError(f"expected crops in {path}, found no row; run {made_by} on other input")
    odd = sorted(set(pc.unique(table["label"]).to_pylist()) - set(LABELS))
    if odd:
        raise TableError(f"expected the labels REAL and FAKE in {path}, found {odd[0]!r}")
    return table
