"""Bare tables: a CSV or parquet file that names crops or clips and their labels, no more.

The Kaggle `deepfake_faces` table is one. Whatever its columns are called and its labels
written like, what comes out has `video`, `label` (REAL or FAKE), `original` and `family`
as in a manifest, and every further column as it was.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from manifests.errors import TableError
from manifests.labels import FAKE, REAL
from manifests.tables import families

#: How tables write that there is no value.
ABSENT = ("", "NaN", "nan", "null", "NULL", "None", "none", "N/A", "NA", "<NA>", "#N/A")
#: How tables write the labels, in lower case.
_LABELS = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE, "0.0": REAL, "1.0": FAKE}
_NAMES = ("video", "videoname", "path", "part", "label", "original", "family", "split", "sha256")
_NUMBERS = ("frame", "face")


def read_bare(path: Path) -> pa.Table:
    """Read a bare table and bring it to the columns and labels of a manifest.

    Raises:
        TableError: the file is missing or no table, has no row, lacks the label or any
            name of the clip, has a column twice, or a label that is neither REAL nor FAKE.
    """
    if not path.is_file():
        raise TableError(f"expected a table at {path}, found none; give a CSV or parquet file")
    try:
        table = pq.read_table(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise TableError(
            f"expected a CSV or parquet table in {path}, found {_first_line(error)}; mend the file"
        ) from error
    return clean(table, str(path))


def clean(table: pa.Table, where: str) -> pa.Table:
    """Bring the columns and labels of a table to those of a manifest; see `read_bare`."""
    try:
        return _cleaned(table, where)
    except (pa.ArrowException, UnicodeError) as error:
        raise TableError(
            f"expected columns of text and numbers in {where}, found {_first_line(error)}; "
            "mend the column"
        ) from error


def _cleaned(table: pa.Table, where: str) -> pa.Table:
    _check_columns(table.column_names, where)
    if not table.num_rows:
        raise TableError(f"expected rows in {where}, found none; give another table")
    table.validate(full=True)
    table = _named(table, where)
    for name in _NUMBERS:
        if name in table.column_names:
            table = _with(table, name, _number(table[name], name, where))
    table = _with(table, "label", _label(table["label"], where))
    if "original" not in table.column_names:
        table = table.append_column("original", pa.nulls(table.num_rows, pa.string()))
    return _with(table, "family", families.of(table))


def _read_csv(path: Path) -> pa.Table:
    options = pv.ConvertOptions(
        column_types={name: pa.string() for name in _NAMES},
        null_values=list(ABSENT),
        strings_can_be_null=True,
    )
    return pv.read_csv(path, convert_options=options)


def _check_columns(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(
            f"expected each column once in {where}, found {twice[0]!r} twice; drop one"
        )
    if "label" not in names or not {"video", "videoname", "path"} & set(names):
        raise TableError(
            f"expected the columns label and video (or videoname, or path) in {where}, "
            f"found {', '.join(names)[:200]}; rename the columns"
        )


def _named(table: pa.Table, where: str) -> pa.Table:
    """The table with trimmed names, empty ones null, and a `video` in every row."""
    for name in _NAMES:
        if name in table.column_names:
            text = pc.utf8_trim_whitespace(table[name].cast(pa.string()))
            none = pc.is_in(text, pa.array(ABSENT))
            table = _with(table, name, pc.if_else(none, pa.scalar(None, pa.string()), text))
    if "video" not in table.column_names:
        table = _video(table)
    nameless = table["video"].null_count
    if nameless:
        raise TableError(
            f"expected the name of a clip in every row of {where}, found {nameless:,} rows "
            f"without; fill them in or drop them"
        )
    if "family" in table.column_names and table["family"].null_count:
        table = table.drop_columns(["family"])
    return table


def _video(table: pa.Table) -> pa.Table:
    if "videoname" in table.column_names:
        return table.rename_columns({"videoname": "video"})
    files = pc.replace_substring_regex(table["path"], r"^.*[/\\]", "")
    return table.append_column("video", files)


def _label(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    known = pc.index_in(pc.utf8_lower(column), pa.array(list(_LABELS)))
    if known.null_count:
        odd = column.filter(pc.is_null(known))
        raise TableError(
            f"expected the labels REAL and FAKE (or 0 and 1) in {where}, found "
            f"{odd[0].as_py() or 'no label'!r} in {len(odd):,} rows; mend or drop them"
        )
    return pa.array(list(_LABELS.values())).take(known)


def _number(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    try:
        return column.cast(pa.int64())
    except pa.ArrowException as error:
        raise TableError(
            f"expected whole numbers in the column {name} of {where}, found {column.type} "
            f"({_first_line(error)}); mend or drop the column"
        ) from error


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
