"""Reads the labels of a table from elsewhere, and checks what its numbers mean.

Here 0 is REAL and 1 is FAKE, in Kaggle's 140k faces the other way round: labels in words and
words in the paths must not contradict the numbers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.labels import FAKE, LABELS, label_in_names, parse_label, word_label
from manifests.tables import path_names
from manifests.tables.factorize import Codes, Mask, factorize

#: Numbers that stand for labels, as text.
_NUMBERS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}

#: Columns of names, not of words for labels.
_NAMES = ("label", "path", "video", "videoname", "original", "family", "part", "sha256")


class Evidence(NamedTuple):
    """What something beside the label says of each row.

    Attributes:
        what: where it is said, for messages.
        label: int64 [rows], index in LABELS; -1 where nothing is said.
        surely: bool [rows], whether a whole name is the label, not a part of a longer name.
    """

    what: str
    label: Codes
    surely: Mask


def read_labels(
    table: pa.Table, real_is: int | None, where: str
) -> tuple[pa.ChunkedArray | pa.Array, list[str]]:
    """Return the label of every row, REAL or FAKE, and what must be said of their reading.

    Args:
        table: with the text column label; other columns and path are compared.
        real_is: the number that stands for REAL, 0 or 1; None for 0 unless that is contradicted.
        where: the table's path or name, for messages.

    Raises:
        TableError: a label is none of the accepted spellings; labels in words or paths contradict
            the numbers; or `real_is` is given, but no label is a number.
    """
    spellings = pc.unique(table["label"])
    texts = spellings.to_pylist()
    code = pc.index_in(table["label"], spellings).to_numpy()
    labels = [parse_label(text) for text in texts]
    numbers = np.array([_NUMBERS.get(str(text), -1) for text in texts])[code]
    _check_spellings(pa.array(labels, pa.string()).take(pa.array(code)), table["label"], where)
    if (numbers < 0).all():
        if real_is is not None:
            raise TableError(
                f"expected labels 0 and 1 in {where} for --real-is, found words; leave it out"
            )
        return pa.array(labels, pa.string()).take(pa.array(code)), []
    notes = [f"labels: {real_is} is REAL, as given"]
    if real_is is None:
        notes = _compare(table, numbers, where)
    named = {text: LABELS[_NUMBERS[text] ^ (real_is or 0)] for text in texts if text in _NUMBERS}
    meant = [named.get(text, label) for text, label in zip(texts, labels, strict=True)]
    return pa.array(meant, pa.string()).take(pa.array(code)), notes


def _check_spellings(labels: pa.Array, given: pa.ChunkedArray, where: str) -> None:
    if labels.null_count:
        invalid = given.filter(pc.is_null(labels))
        raise TableError(
            f"expected the labels REAL and FAKE (or 0 and 1) in {where}, found "
            f"{invalid[0].as_py() or 'no label'!r} in {len(invalid):,} rows; fix or drop them"
        )


def _compare(table: pa.Table, numbers: Codes, where: str) -> list[str]:
    """Compare the numbers, 0 for REAL, with what else the table says.

    Raises:
        TableError: it says the opposite.
    """
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
                f"expected 0 for REAL and 1 for FAKE in {where}, found {numbers[row]} where "
                f"{what} says {LABELS[label[row]]}, in {opposite.sum():,} of {rows.sum():,} rows; "
                "say what the numbers mean with --real-is 0 or 1"
            )
        confirmed |= bool(rows.any())
        if opposite.any():
            notes.append(
                f"labels: in {opposite.sum():,} of {rows.sum():,} rows {what} says the opposite"
            )
    if not confirmed:
        notes.append(
            "labels: 0 was taken for REAL and 1 for FAKE, which nothing in the table confirms; "
            "otherwise give --real-is 1"
        )
    return notes


def _evidence(table: pa.Table) -> Iterator[Evidence]:
    """Yield what columns of labels in words, and words in the paths, say."""
    for name in table.column_names:
        column = table[name]
        if name in _NAMES or not pa.types.is_string(column.type):
            continue
        values = pc.unique(column).drop_null()
        said = [word_label(text) for text in values.to_pylist()] if len(values) < 20 else [None]
        if said and None not in said:
            code = pc.index_in(column, values).fill_null(-1).to_numpy()
            label = np.array([*(LABELS.index(str(each)) for each in said), -1])[code]
            yield Evidence(f"the column {name}", label, label >= 0)
    if "original" in table.column_names:
        named = pc.is_valid(table["original"]).to_numpy()
        label = np.where(named, LABELS.index(FAKE), -1)
        yield Evidence("the column original, which names the original of a fake,", label, named)
    if "path" in table.column_names:
        yield _path_evidence(table["path"])


def _path_evidence(path: pa.ChunkedArray) -> Evidence:
    """What the innermost folder, or the name, with a word for a label says."""
    folder, name = path_names.divide(path_names.with_slashes(path.fill_null("")))
    # Few distinct texts are left without the names and the numbers that say nothing.
    says = pc.match_substring_regex(name, path_names.LABEL_WORD)
    name = pc.replace_substring_regex(pc.if_else(says, name, ""), r"[0-9]+", "0")
    (code,), distinct = factorize(pc.binary_join_element_wise(folder, name, "/"))
    found = [label_in_names(text.split("/")) for text in distinct.to_pylist()]
    label = np.array([LABELS.index(name) if name else -1 for name, _ in found], np.int64)
    surely = np.array([sure for _, sure in found], bool)
    return Evidence("the path", label[code], surely[code])
