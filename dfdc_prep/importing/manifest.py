"""The tables of an import: its manifest and its clip log. Pure: it touches no disk."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.importing.matching import Matches
from manifests.errors import TableError
from manifests.labels import FAKE
from manifests.schema import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.tables.parquet import sort_manifest

#: The part of crops whose table names none.
PART = "imported"
#: Where the columns of the Kaggle table go that have another name in a manifest.
_CALLED = {"w": "original_width", "h": "original_height"}
#: Faults named in one row of the clip log before the rest is only counted.
_NAMED = 5


@dataclass(frozen=True)
class Imported:
    """One image that has a row.

    Attributes:
        row: of the table.
        path: of the crop, relative to the faces folder.
        sha256: of its file, hexadecimal; empty where there is a fault.
        fault: what is wrong with it, None where nothing is.
    """

    row: int
    path: str
    sha256: str
    fault: str | None


def place(part: str | None, image: str) -> str:
    """Where an image goes, relative to the faces folder."""
    return f"crops/{part or PART}/{image}"


def manifest(table: pa.Table, crops: list[Imported]) -> pa.Table:
    """The manifest of the crops that were taken over; what the table does not tell is null.

    Raises:
        TableError: a column that a manifest has too is of another type.
    """
    rows = table.take(pa.array([crop.row for crop in crops]))
    told = {
        "part": _parts(rows),
        "original": _originals(rows),
        "crop_size": _square(rows),
        "path": pa.array([crop.path for crop in crops]),
        "sha256": pa.array([crop.sha256 for crop in crops]),
    }
    columns = [told.get(name, _column(rows, name)) for name in MANIFEST_SCHEMA.names]
    typed = [_cast(column, field) for column, field in zip(columns, MANIFEST_SCHEMA, strict=True)]
    return sort_manifest(pa.table(typed, schema=MANIFEST_SCHEMA))


def _parts(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    if "part" not in table.column_names:
        return pa.repeat(pa.scalar(PART), table.num_rows)
    return table["part"].fill_null(PART)


def _originals(table: pa.Table) -> pa.ChunkedArray:
    """What the fakes were made from; what stands beside a REAL clip is not believed."""
    nothing = pa.scalar(None, pa.string())
    return pc.if_else(pc.equal(table["label"], FAKE), table["original"], nothing)


def _square(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """The side of the square cut out, where the table says that it was one."""
    if "crop_size" in table.column_names:
        return table["crop_size"]
    width, height = _column(table, "w"), _column(table, "h")
    return pc.if_else(pc.equal(width, height), width, pa.scalar(None, width.type))


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    for known in (name, _CALLED.get(name)):
        if known in table.column_names:
            return table[known]
    return pa.nulls(table.num_rows, MANIFEST_SCHEMA.field(name).type)


def _cast(column: pa.ChunkedArray | pa.Array, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise TableError(
            f"expected {field.type} in the column {field.name}, found {column.type}; "
            f"mend or drop the column"
        ) from error


@dataclass(frozen=True)
class _Note:
    """One thing that became of a clip: a crop of it, or a fault and its kind."""

    kind: str
    fault: str | None


def clip_log(table: pa.Table, matches: Matches, checked: list[Imported]) -> pa.Table:
    """One row per clip the table names, and one per image that it does not name.

    `frames_wanted` counts the rows of the clip, `frames_decoded` and `faces` its crops. A
    clip with crops and faults is `truncated`; one with faults alone is `missing` or
    `unreadable`. `seconds` is 0: an import does not time its clips.
    """
    notes: dict[tuple[str, str], list[_Note]] = defaultdict(list)
    names = list(zip(_parts(table).to_pylist(), table["video"].to_pylist(), strict=True))
    for row, note in _notes(matches, checked):
        notes[names[row]].append(note)
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    told = table.select(["label", "original", "family"]).take(pa.array(list(first.values())))
    told = told.set_column(1, "original", _originals(told))
    rows = [
        {"part": part, "video": video, **about, **_outcome(notes[part, video])}
        for (part, video), about in zip(first, told.to_pylist(), strict=True)
    ]
    unnamed: dict[str, list[_Note]] = defaultdict(list)
    for image in matches.unnamed:
        unnamed[PurePosixPath(image).name].append(_Note("missing", f"no row names {image}"))
    rows += [
        {"part": PART, "video": name, "family": name, **_outcome(found)}
        for name, found in unnamed.items()
    ]
    order = [("part", "ascending"), ("video", "ascending")]
    return pa.Table.from_pylist(rows, schema=CLIP_LOG_SCHEMA).sort_by(order)


def _notes(matches: Matches, checked: list[Imported]) -> Iterator[tuple[int, _Note]]:
    for one in checked:
        yield one.row, _Note("unreadable" if one.fault else "ok", one.fault)
    for row, image in matches.missing:
        yield row, _Note("missing", f"there is no image {image}")
    for row in matches.imageless:
        yield row, _Note("missing", "no image has this name")
    for row, image in matches.repeated:
        yield row, _Note("repeated", f"row {row + 1} names {image} once more and was left out")


def _outcome(notes: list[_Note]) -> dict[str, object]:
    kinds = Counter(note.kind for note in notes)
    faults = [note.fault for note in notes if note.fault]
    failed = "unreadable" if kinds["unreadable"] else "missing"
    partly = "truncated" if kinds["unreadable"] or kinds["missing"] else "ok"
    more = [f"and {len(faults) - _NAMED} more"] if len(faults) > _NAMED else []
    return {
        "status": partly if kinds["ok"] else failed,
        "error": "; ".join([*faults[:_NAMED], *more]) or None,
        "frames_wanted": len(notes),
        "frames_decoded": kinds["ok"],
        "faces": kinds["ok"],
        "seconds": 0.0,
    }
