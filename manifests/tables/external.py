"""Bare tables: CSV or parquet files from elsewhere that list crops or clips and their labels.

Column names and label spellings vary; the result always has `video`, `label` (REAL or FAKE),
`original`, `family` and `family_source` as in a manifest. Other columns are kept unchanged.

Here 0 is REAL and 1 is FAKE, in Kaggle's 140k faces the other way round: labels in words and
words in the paths must not contradict the numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from manifests.errors import TableError
from manifests.files import UTF_16, separator
from manifests.folders import path_meant
from manifests.labels import FAKE, KNOWN, LABELS, NAMES, label_in_names, parse_label, word_label
from manifests.schemas import PROVENANCE_COLUMNS, with_path
from manifests.tables import path_names
from manifests.tables.clip_reading import read_clips
from manifests.tables.codes import SOURCE, Codes, Mask, clip_lines, factorize, set_column
from manifests.tables.families import add_families
from manifests.tables.parquet import first_line
from manifests.wording import columns_found, counted, did_you_mean, listed

#: Spellings of a missing value.
NULL_SPELLINGS = (
    "", "NaN", "nan", "null", "NULL", "None", "none", "N/A", "NA", "<NA>", "#N/A",
)  # fmt: skip
_TEXT_COLUMNS = (
    "video", "videoname", "path", "part", "label", "original", "family", "split", "sha256",
    "identity", "identity_source", *PROVENANCE_COLUMNS, SOURCE, "family_source",
)  # fmt: skip
_CLIPS = {"video", "videoname"}
#: Bytes that hold the first line.
_START = 1 << 16
#: Numbers that stand for labels, as text in lower case.
_NUMBERS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
#: Columns of names, not of words for labels.
_NAME_COLUMNS = ("label", "path", "video", "videoname", "original", "family", "part", "sha256")


@dataclass(frozen=True)
class Reading:
    """How to read what a table from elsewhere does not say.

    Attributes:
        clips_from: which clip a row belongs to, as for `clip_reading.read_clips`; None for the
            columns video or videoname, or else by the paths.
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


class NotedTable(NamedTuple):
    """A table with at least video, label, original and family; and how it was read, in words."""

    rows: pa.Table
    notes: tuple[str, ...] = ()


def read_bare_table(path: Path, reading: Reading = BY_EVIDENCE) -> NotedTable:
    """Read a bare table and convert its columns and labels to those of a manifest.

    Raises:
        TableError: the file is missing or cannot be parsed, has no rows, lacks a label or a
            clip name, has a duplicate column, has a label other than REAL and FAKE, or its clips
            cannot be told (`clip_reading.read_clips`).
    """
    return normalize_table(read_unchanged(path), str(path), reading)


def read_unchanged(path: Path, text: Sequence[str] = ()) -> pa.Table:
    """Read a CSV or parquet file as it is.

    Args:
        text: further columns of a CSV that are text, whatever they look like.

    Raises:
        TableError: the file is missing or cannot be parsed.
    """
    if not path.is_file():
        advice = path_meant(path) or "give a CSV or parquet file"
        raise TableError(f"expected a table at {path}, found none; {advice}")
    try:
        is_parquet = path.suffix.lower() == ".parquet"
        return pq.read_table(path.absolute()) if is_parquet else _read_csv(path, text)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise TableError(
            f"expected a CSV or parquet table in {path}, found {first_line(error)}; correct "
            "the file"
        ) from error


def normalize_table(table: pa.Table, where: str, reading: Reading = BY_EVIDENCE) -> NotedTable:
    """Convert a table as `read_bare_table` does; `where` is its path or name, for messages."""
    try:
        if not _CLIPS & set(table.column_names):
            renamed = with_path(table.column_names)
            if reading.clips_from not in set(table.column_names) - set(renamed):
                table = table.rename_columns(renamed)
        if "label" not in table.column_names:
            lower = {name: "label" for name in table.column_names if name.lower() == "label"}
            table = table.rename_columns([lower.get(name, name) for name in table.column_names])
        _check_columns(table.column_names, where, reading.clips_from)
        if not table.num_rows:
            raise TableError(f"expected rows in {where}, found none; give another table")
        table.validate(full=True)
        table = _normalize_text_columns(table)
        for name in (name for name in ("frame", "face") if name in table.column_names):
            table = set_column(table, name, _to_integers(table[name], name, where))
        labels, notes = read_labels(table, reading.real_is, where)
        table = set_column(table, "label", labels)
        named = "original" in table.column_names
        table = _with_clips(table, where, reading.clips_from)
        table = add_families(table, originals_from=KNOWN if named else NAMES)
        return NotedTable(table, (*clip_lines(table), *notes))
    except (pa.ArrowException, UnicodeError) as error:
        raise TableError(
            f"expected columns of text and numbers in {where}, found {first_line(error)}; "
            "correct the column"
        ) from error


def _read_csv(path: Path, text: Sequence[str]) -> pa.Table:
    options = pv.ConvertOptions(
        column_types=dict.fromkeys((*_TEXT_COLUMNS, *text), pa.string()),
        null_values=list(NULL_SPELLINGS),
        strings_can_be_null=True,
    )
    with path.open("rb") as file:
        start = file.read(_START)
    encoding = "utf-16" if start[:2] in UTF_16 else "utf8"
    header = start.decode(encoding, "ignore").partition("\n")[0]
    reading = pv.ReadOptions(encoding=encoding)
    parsing = pv.ParseOptions(delimiter=separator(header))
    return pv.read_csv(path, read_options=reading, parse_options=parsing, convert_options=options)


def _check_columns(names: list[str], where: str, clips_from: str | None) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise TableError(
            f"expected each column once in {where}, found {duplicates[0]!r} twice; drop one"
        )
    lacks = "label" if "label" not in names else "video"
    if lacks == "label" or not {*_CLIPS, "path", clips_from} & set(names):
        raise TableError(
            f"expected the columns label and video (or videoname, or path) in {where}, found no "
            f"{lacks}, but {columns_found(names, lacks)}; rename the columns, or name that of the "
            "clips with --clips-from"
        )


def _normalize_text_columns(table: pa.Table) -> pa.Table:
    """Trim text, and replace spellings of a missing value by null."""
    for name in (name for name in _TEXT_COLUMNS if name in table.column_names):
        text = pc.utf8_trim_whitespace(table[name].cast(pa.string()))
        text = path_names.with_slashes(text) if name == "path" else text
        missing = pc.is_in(text, pa.array(NULL_SPELLINGS))
        table = set_column(table, name, pc.if_else(missing, pa.scalar(None, pa.string()), text))
    if "family" in table.column_names and table["family"].null_count:
        table = table.drop_columns(["family"])
    return table


def _with_clips(table: pa.Table, where: str, clips_from: str | None) -> pa.Table:
    """Add `video` if the table has none, or if `clips_from` says how to read it."""
    names = table.column_names
    if clips_from is not None or not _CLIPS & set(names):
        return read_clips(table, clips_from, where)
    if "video" not in names:
        table = table.rename_columns({"videoname": "video"})
    if nameless := table["video"].null_count:
        raise TableError(
            f"expected a clip name in every row of {where}, found "
            f"{counted(nameless, 'row')} without; fill them in or drop them"
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
            f"({first_line(error)}); correct or drop the column"
        ) from error


class Evidence(NamedTuple):
    """What something beside the label says of each row."""

    what: str  # says so, for messages
    label: Codes  # int64 [rows], the index in LABELS, -1 where nothing is said
    surely: Mask  # bool [rows], whether a whole name is the label, not a part of one


def read_labels(
    table: pa.Table, real_is: int | None, where: str
) -> tuple[pa.ChunkedArray | pa.Array, list[str]]:
    """Return the label of every row, REAL or FAKE, and what must be said of their reading.

    The other columns and the path are compared. `real_is` is the number that stands for REAL, 0 or
    1; None for 0 unless that is contradicted. `where` is the table's path or name, for messages.

    Raises:
        TableError: a label is none of the accepted spellings; labels in words or paths contradict
            the numbers; or `real_is` is given, but no label is a number.
    """
    spellings = pc.unique(table["label"])
    texts = spellings.to_pylist()
    code = pc.index_in(table["label"], spellings).to_numpy()
    labels = [parse_label(text) for text in texts]
    numbers = np.array([_NUMBERS.get(str(text).lower(), -1) for text in texts])[code]
    by_spelling = pa.array(labels, pa.string()).take(pa.array(code))
    if by_spelling.null_count:
        invalid = table["label"].filter(pc.is_null(by_spelling))
        raise TableError(
            f"expected the labels REAL and FAKE (or 0 and 1) in {where}, found "
            f"{invalid[0].as_py() or 'no label'!r} in {counted(len(invalid), 'row')}; "
            + (did_you_mean(str(invalid[0].as_py()), LABELS) or "correct or drop them")
        )
    spelled = {str(text).lower() for text in texts}
    if spelled & {"true", "false"} and spelled & {"fake", "real"}:
        raise TableError(
            f"expected either true and false or words in the labels of {where}, found "
            f"{listed(sorted(spelled))}: true may mean REAL or FAKE; write REAL and FAKE"
        )
    if (numbers < 0).all():
        if real_is is not None:
            raise TableError(
                f"expected labels 0 and 1 in {where} for --real-is, found words; leave it out"
            )
        return by_spelling, []
    notes = [f"labels: {real_is} is REAL, as given"]
    if real_is is None:
        notes = _compare(table, numbers, where)
    by_number = [LABELS[number ^ (real_is or 0)] for number in (0, 1)]
    meant = [
        label if (number := _NUMBERS.get(str(text).lower())) is None else by_number[number]
        for text, label in zip(texts, labels, strict=True)
    ]
    return pa.array(meant, pa.string()).take(pa.array(code)), notes


def _compare(table: pa.Table, numbers: Codes, where: str) -> list[str]:
    """Compare the numbers, 0 for REAL, with what else the table says; TableError if it differs."""
    confirmed, notes = False, []
    for what, label, surely in _evidence(table):
        rows = (numbers >= 0) & (label >= 0)
        if len(np.unique(label[rows])) < 2:
            # The same for all rows: a folder called deepfakes may hold a whole data set.
            rows &= surely & (len(np.unique(numbers[rows])) < 2)
        opposite = rows & (label != numbers)
        if 2 * opposite.sum() > rows.sum():
            row = int(opposite.argmax())
            raise TableError(
                f"expected 0 or false for REAL and 1 or true for FAKE in {where}, found "
                f"{numbers[row]} where {what} says {LABELS[label[row]]}, in {opposite.sum():,} of "
                f"{counted(int(rows.sum()), 'row')}; "
                "say what the numbers mean with --real-is 0 or 1"
            )
        confirmed |= bool(rows.any())
        if opposite.any():
            notes.append(
                f"labels: in {opposite.sum():,} of {counted(int(rows.sum()), 'row')} {what} says "
                "the opposite"
            )
    if not confirmed:
        notes.append(
            "labels: 0 and false were taken for REAL, 1 and true for FAKE, which nothing in the "
            "table confirms; "
            "otherwise give --real-is 1"
        )
    return notes


def _evidence(table: pa.Table) -> Iterator[Evidence]:
    """Yield what columns of labels in words, and words in the paths, say."""
    for name in table.column_names:
        column = table[name]
        if name in _NAME_COLUMNS or not pa.types.is_string(column.type):
            continue
        values = pc.unique(column).drop_null()
        said = [word_label(text) for text in values.to_pylist()] if len(values) < 20 else [None]
        if said and None not in said:
            code = pc.index_in(column, values).fill_null(-1).to_numpy()
            label = np.array([*(LABELS.index(str(word)) for word in said), -1])[code]
            yield Evidence(f"the column {name}", label, label >= 0)
    if "original" in table.column_names:
        named = pc.is_valid(table["original"]).to_numpy()
        label = np.where(named, LABELS.index(FAKE), -1)
        yield Evidence("the column original, which names the original of a fake,", label, named)
    if "path" not in table.column_names:
        return
    # The innermost folder, or the name, with a word for a label.
    folder, name = path_names.divide(path_names.with_slashes(table["path"].fill_null("")))
    # Few distinct texts are left without the names and the numbers that say nothing.
    says = pc.match_substring_regex(name, path_names.LABEL_WORD)
    name = pc.replace_substring_regex(pc.if_else(says, name, ""), r"[0-9]+", "0")
    (code,), distinct = factorize(pc.binary_join_element_wise(folder, name, "/"))
    found = [label_in_names(text.split("/")) for text in distinct.to_pylist()]
    label = np.array([LABELS.index(name) if name else -1 for name, _ in found], np.int64)
    surely = np.array([sure for _, sure in found], bool)
    yield Evidence("the path", label[code], surely[code])
