"""Bare tables: CSV or parquet files from elsewhere that list crops or clips and their labels.

An example is the table of the Kaggle `deepfake_faces` set. Column names and label spellings
vary; the result always has `video`, `label` (REAL or FAKE), `original`, `family` and
`family_source` as in a manifest. Other columns are kept unchanged. Where a table names no clips,
they are read from its paths (`manifests.tables.clip_reading`).
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from manifests.errors import TableError
from manifests.labels import KNOWN, NAMES
from manifests.tables.clip_reading import read_clips, set_column
from manifests.tables.clips import SOURCE, clip_lines
from manifests.tables.family_sources import add_families
from manifests.tables.label_reading import read_labels

#: Spellings of a missing value.
NULL_SPELLINGS = (
    "", "NaN", "nan", "null", "NULL", "None", "none", "N/A", "NA", "<NA>", "#N/A",
)  # fmt: skip
_TEXT_COLUMNS = (
    "video", "videoname", "path", "part", "label", "original", "family", "split", "sha256",
    "identity", "identity_source", "dataset", "method", "face_identity", "official_split",
    SOURCE, "family_source",
)  # fmt: skip
_INTEGER_COLUMNS = ("frame", "face")


@dataclass(frozen=True)
class Reading:
    """How to read what a table from elsewhere does not say.

    Attributes:
        clips_from: which clip a row belongs to: folder, name, a column or a pattern, as for
            `clip_reading.read_clips`; None for the columns video or videoname, or else by the
            paths.
        real_is: the number that stands for REAL in the labels, 0 or 1; None for 0, unless words
            in the table contradict it.
    """

    clips_from: str | None = None
    real_is: int | None = None

    def check_unused(self, path: Path) -> None:
        """Raise TableError if anything is given, because `path` says it itself."""
        if self != BY_EVIDENCE:
            raise TableError(
                f"expected a table from elsewhere for --clips-from and --real-is, found {path}, "
                "which says what they would; leave them out"
            )


#: What the table does not say is read from what it shows.
BY_EVIDENCE = Reading()


@dataclass(frozen=True)
class NotedTable:
    """A table with the columns of a manifest, and what must be said of how it was read.

    Attributes:
        rows: with at least video, label, original and family.
        notes: sentences that say how it was read, where the table itself does not say it.
    """

    rows: pa.Table
    notes: tuple[str, ...] = ()


def read_bare_table(path: Path, reading: Reading = BY_EVIDENCE) -> NotedTable:
    """Read a bare table and convert its columns and labels to those of a manifest.

    Raises:
        TableError: the file is missing or cannot be parsed, has no rows, lacks a label or a
            clip name, has a duplicate column, has a label other than REAL and FAKE, or its clips
            cannot be told (`clip_reading.read_clips`).
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
    return normalize_table(table, str(path), reading)


def normalize_table(table: pa.Table, where: str, reading: Reading = BY_EVIDENCE) -> NotedTable:
    """Convert the columns and labels of a table to those of a manifest.

    Args:
        where: the table's path or name, for error messages.

    Raises:
        TableError: as `read_bare_table`.
    """
    try:
        return _normalize(table, where, reading)
    except (pa.ArrowException, UnicodeError) as error:
        raise TableError(
            f"expected columns of text and numbers in {where}, found {_first_line(error)}; "
            "fix the column"
        ) from error


def _normalize(table: pa.Table, where: str, reading: Reading) -> NotedTable:
    _check_columns(table.column_names, where, reading.clips_from)
    if not table.num_rows:
        raise TableError(f"expected rows in {where}, found none; give another table")
    table.validate(full=True)
    table = _normalize_text_columns(table)
    for name in _INTEGER_COLUMNS:
        if name in table.column_names:
            table = set_column(table, name, _to_integers(table[name], name, where))
    labels, notes = read_labels(table, reading.real_is, where)
    table = set_column(table, "label", labels)
    named = "original" in table.column_names
    table = _with_clips(table, where, reading.clips_from)
    table = add_families(table, originals_from=KNOWN if named else NAMES)
    return NotedTable(table, (*clip_lines(table), *notes))


def _read_csv(path: Path) -> pa.Table:
    options = pv.ConvertOptions(
        column_types={name: pa.string() for name in _TEXT_COLUMNS},
        null_values=list(NULL_SPELLINGS),
        strings_can_be_null=True,
    )
    return pv.read_csv(path, convert_options=options)


def _check_columns(names: list[str], where: str, clips_from: str | None) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise TableError(
            f"expected each column once in {where}, found {duplicates[0]!r} twice; drop one"
        )
    if "label" not in names or not {"video", "videoname", "path", clips_from} & set(names):
        raise TableError(
            f"expected the columns label and video (or videoname, or path) in {where}, "
            f"found {', '.join(names)[:200]}; rename the columns, or name that of the clips with "
            "--clips-from"
        )


def _normalize_text_columns(table: pa.Table) -> pa.Table:
    """Trim text, and replace spellings of a missing value by null."""
    for name in _TEXT_COLUMNS:
        if name in table.column_names:
            text = pc.utf8_trim_whitespace(table[name].cast(pa.string()))
            missing = pc.is_in(text, pa.array(NULL_SPELLINGS))
            text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
            table = set_column(table, name, text)
    if "family" in table.column_names and table["family"].null_count:
        table = table.drop_columns(["family"])
    return table


def _with_clips(table: pa.Table, where: str, clips_from: str | None) -> pa.Table:
    """Add `video` if the table has none, or if `clips_from` says how to read it."""
    names = table.column_names
    if clips_from is not None or not {"video", "videoname"} & set(names):
        return read_clips(table, clips_from, where)
    if "video" not in names:
        table = table.rename_columns({"videoname": "video"})
    nameless = table["video"].null_count
    if nameless:
        raise TableError(
            f"expected a clip name in every row of {where}, found {nameless:,} rows without; "
            f"fill them in or drop them"
        )
    return table


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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
