"""Bare tables: CSV or parquet files from elsewhere that list crops or clips and their labels.

An example is the table of the Kaggle `deepfake_faces` set. Column names and label spellings
vary; the result always has `video`, `label` (REAL or FAKE), `original` and `family` as in a
manifest. Other columns are kept unchanged.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from manifests.errors import TableError
from manifests.labels import parse_label
from manifests.tables import families

#: Spellings of a missing value.
NULL_SPELLINGS = (
    "", "NaN", "nan", "null", "NULL", "None", "none", "N/A", "NA", "<NA>", "#N/A",
)  # fmt: skip
_TEXT_COLUMNS = (
    "video", "videoname", "path", "part", "label", "original", "family", "split", "sha256",
    "identity", "identity_source", "dataset", "method", "face_identity", "official_split",
)  # fmt: skip
_INTEGER_COLUMNS = ("frame", "face")


def read_bare_table(path: Path) -> pa.Table:
    """Read a bare table and convert its columns and labels to those of a manifest.

    Raises:
        TableError: the file is missing or cannot be parsed, has no rows, lacks a label or a
            clip name, has a duplicate column, or has a label other than REAL and FAKE.
    """
    if not path.is_file():
        raise TableError(f"expected a table at {path}, found none; give a CSV or parquet file")
    try:
        is_parquet = path.suffix.lower() == ".parquet"
        table = pq.read_table(path.absolute()) if is_parquet else _read_csv(path)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise TableError(
            f"expected a CSV or parquet table in {path}, found {_first_line(error)}; fix the file"
        ) from error
    return normalize_table(table, str(path))


def normalize_table(table: pa.Table, where: str) -> pa.Table:
    """Convert the columns and labels of a table to those of a manifest.

    Args:
        where: the table's path or name, for error messages.

    Raises:
        TableError: as `read_bare_table`.
    """
    try:
        return _normalize(table, where)
    except (pa.ArrowException, UnicodeError) as error:
        raise TableError(
            f"expected columns of text and numbers in {where}, found {_first_line(error)}; "
            "fix the column"
        ) from error


def _normalize(table: pa.Table, where: str) -> pa.Table:
    _check_columns(table.column_names, where)
    if not table.num_rows:
        raise TableError(f"expected rows in {where}, found none; give another table")
    table.validate(full=True)
    table = _normalize_text_columns(table, where)
    for name in _INTEGER_COLUMNS:
        if name in table.column_names:
            table = _set_column(table, name, _to_integers(table[name], name, where))
    table = _set_column(table, "label", _parse_labels(table["label"], where))
    if "original" not in table.column_names:
        table = table.append_column("original", pa.nulls(table.num_rows, pa.string()))
    return _set_column(table, "family", families.family_column(table))


def _read_csv(path: Path) -> pa.Table:
    options = pv.ConvertOptions(
        column_types={name: pa.string() for name in _TEXT_COLUMNS},
        null_values=list(NULL_SPELLINGS),
        strings_can_be_null=True,
    )
    return pv.read_csv(path, convert_options=options)


def _check_columns(names: list[str], where: str) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise TableError(
            f"expected each column once in {where}, found {duplicates[0]!r} twice; drop one"
        )
    if "label" not in names or not {"video", "videoname", "path"} & set(names):
        raise TableError(
            f"expected the columns label and video (or videoname, or path) in {where}, "
            f"found {', '.join(names)[:200]}; rename the columns"
        )


def _normalize_text_columns(table: pa.Table, where: str) -> pa.Table:
    """Trim text, replace spellings of a missing value by null, and add `video`."""
    for name in _TEXT_COLUMNS:
        if name in table.column_names:
            text = pc.utf8_trim_whitespace(table[name].cast(pa.string()))
            missing = pc.is_in(text, pa.array(NULL_SPELLINGS))
            text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
            table = _set_column(table, name, text)
    if "video" not in table.column_names:
        table = _add_video(table)
    nameless = table["video"].null_count
    if nameless:
        raise TableError(
            f"expected a clip name in every row of {where}, found {nameless:,} rows without; "
            f"fill them in or drop them"
        )
    if "family" in table.column_names and table["family"].null_count:
        table = table.drop_columns(["family"])
    return table


def _add_video(table: pa.Table) -> pa.Table:
    if "videoname" in table.column_names:
        return table.rename_columns({"videoname": "video"})
    file_names = pc.replace_substring_regex(table["path"], r"^.*[/\\]", "")
    return table.append_column("video", file_names)


def _parse_labels(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Parse each distinct spelling once, then map the rows to the results."""
    spellings = pc.unique(column)
    parsed = pa.array([parse_label(text) for text in spellings.to_pylist()], pa.string())
    labels = parsed.take(pc.index_in(column, spellings))
    if labels.null_count:
        invalid = column.filter(pc.is_null(labels))
        raise TableError(
            f"expected the labels REAL and FAKE (or 0 and 1) in {where}, found "
            f"{invalid[0].as_py() or 'no label'!r} in {len(invalid):,} rows; fix or drop them"
        )
    return labels


def _to_integers(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    """Convert a column to int64; NaN becomes null."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    try:
        return column.cast(pa.int64())
    except pa.ArrowException as error:
        raise TableError(
            f"expected integers in the column {name} of {where}, found {column.type} "
            f"({_first_line(error)}); fix or drop the column"
        ) from error


def _set_column(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
