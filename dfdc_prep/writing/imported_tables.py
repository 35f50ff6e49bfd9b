"""Builds the tables of an import: its manifest and its clip log. Does no I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.writing.matching import Matches
from manifests.columns import PROVENANCE_COLUMNS, ClipRow, make_row
from manifests.errors import TableError
from manifests.labels import FAKE
from manifests.schema import CLIP_LOG_SCHEMA, CLIP_SOURCE_FIELD, MANIFEST_SCHEMA
from manifests.tables.parquet import sort_manifest

#: Part of the crops whose table has no `part`.
PART = "imported"
#: Manifest columns that have another name in the Kaggle table.
_KAGGLE_NAMES = {"w": "original_width", "h": "original_height"}
#: Faults listed in one row of the clip log; the rest is only counted.
_MAX_FAULTS = 5


@dataclass(frozen=True)
class ImportedCrop:
    """One image that matches a row.

    Attributes:
        row: row number in the table.
        path: path of the crop, relative to the faces folder.
        sha256: SHA-256 of its file, hexadecimal; empty if there is a fault.
        fault: why the image was not imported; None if it was.
    """

    row: int
    path: str
    sha256: str
    fault: str | None


def crop_path(part: str | None, image: str) -> str:
    """Path of an imported image, relative to the faces folder."""
    return f"crops/{part or PART}/{image}"


def build_manifest(table: pa.Table, crops: list[ImportedCrop]) -> pa.Table:
    """The manifest of the imported crops; columns that the table lacks are null.

    Raises:
        TableError: a column of the table cannot be converted to the manifest's type.
    """
    rows = table.take(pa.array([crop.row for crop in crops]))
    derived = {
        "part": _parts(rows),
        "original": _originals(rows),
        "crop_size": _square_sizes(rows),
        "path": pa.array([crop.path for crop in crops]),
        "sha256": pa.array([crop.sha256 for crop in crops]),
        # Masks are not imported.
        "mask": pa.nulls(len(crops), pa.string()),
        "mask_sha256": pa.nulls(len(crops), pa.string()),
    }
    columns = [derived.get(name, _column(rows, name)) for name in MANIFEST_SCHEMA.names]
    typed = [_cast(column, field) for column, field in zip(columns, MANIFEST_SCHEMA, strict=True)]
    manifest = pa.table(typed, schema=MANIFEST_SCHEMA)
    if CLIP_SOURCE_FIELD.name in rows.column_names:
        manifest = manifest.append_column(CLIP_SOURCE_FIELD, rows[CLIP_SOURCE_FIELD.name])
    return sort_manifest(manifest)


def _parts(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    if "part" not in table.column_names:
        return pa.repeat(pa.scalar(PART), table.num_rows)
    return table["part"].fill_null(PART)


def _originals(table: pa.Table) -> pa.ChunkedArray:
    """The originals of the FAKE rows; values in REAL rows are ignored."""
    null = pa.scalar(None, pa.string())
    return pc.if_else(pc.equal(table["label"], FAKE), table["original"], null)


def _square_sizes(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """The side of each crop's square in source pixels; null where width and height differ."""
    if "crop_size" in table.column_names:
        return table["crop_size"]
    width, height = _column(table, "w"), _column(table, "h")
    return pc.if_else(pc.equal(width, height), width, pa.scalar(None, width.type))


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    for known in (name, _KAGGLE_NAMES.get(name)):
        if known in table.column_names:
            return table[known]
    return pa.nulls(table.num_rows, MANIFEST_SCHEMA.field(name).type)


def _cast(column: pa.ChunkedArray | pa.Array, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise TableError(
            f"expected {field.type} in the column {field.name}, found {column.type}; "
            f"fix or remove the column"
        ) from error


@dataclass(frozen=True)
class _Outcome:
    """The outcome of one row or image of a clip.

    `kind` is `ok`, `unreadable`, `missing` or `duplicate`; `fault` is None for `ok`.
    """

    kind: str
    fault: str | None


def build_clip_log(table: pa.Table, matches: Matches, checked: list[ImportedCrop]) -> pa.Table:
    """The clip log: one row per clip of the table, and one per image that no row names.

    `frames_wanted` counts the rows of the clip, `frames_decoded` and `faces` its crops. A
    clip with crops and faults is `truncated`; one with faults only is `missing` or
    `unreadable`. `seconds` is 0, because an import does not time its clips.
    """
    outcomes: dict[tuple[str, str], list[_Outcome]] = defaultdict(list)
    names = list(zip(_parts(table).to_pylist(), table["video"].to_pylist(), strict=True))
    for row, outcome in _outcomes(matches, checked):
        outcomes[names[row]].append(outcome)
    # The first row of each clip gives what is the same in all of them.
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    given = [name for name in PROVENANCE_COLUMNS if name in table.column_names]
    columns = table.select(["label", "original", "family", "family_source", *given])
    columns = columns.take(pa.array(list(first.values())))
    columns = columns.set_column(1, "original", _originals(columns))
    rows = [
        _clip_row({"video": video, "part": part, **values}, outcomes[part, video])
        for (part, video), values in zip(first, columns.to_pylist(), strict=True)
    ]
    unnamed: dict[str, list[_Outcome]] = defaultdict(list)
    for image in matches.unnamed:
        unnamed[PurePosixPath(image).name].append(_Outcome("missing", f"no row names {image}"))
    rows += [
        _clip_row({"video": name, "part": PART, "family": name}, found)
        for name, found in unnamed.items()
    ]
    order = [("part", "ascending"), ("video", "ascending")]
    return pa.Table.from_pylist(rows, schema=CLIP_LOG_SCHEMA).sort_by(order)


def _outcomes(matches: Matches, checked: list[ImportedCrop]) -> Iterator[tuple[int, _Outcome]]:
    """Yield the row number and outcome of every row."""
    for crop in checked:
        yield crop.row, _Outcome("unreadable" if crop.fault else "ok", crop.fault)
    for row, image in matches.missing:
        yield row, _Outcome("missing", f"there is no image {image}")
    for row in matches.without_image:
        yield row, _Outcome("missing", "no image has this name")
    for row, image in matches.duplicates:
        yield row, _Outcome("duplicate", f"row {row + 1} names {image} again and was left out")


def _clip_row(clip: Mapping[str, Any], outcomes: list[_Outcome]) -> ClipRow:
    """The clip log row of a clip, given by some columns, with its outcomes counted."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    failed = "unreadable" if kinds["unreadable"] else "missing"
    imported = "truncated" if kinds["unreadable"] or kinds["missing"] else "ok"
    more = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    counted = {
        "status": imported if kinds["ok"] else failed,
        "error": "; ".join([*faults[:_MAX_FAULTS], *more]) or None,
        "frames_wanted": len(outcomes),
        "frames_decoded": kinds["ok"],
        "faces": kinds["ok"],
        "seconds": 0.0,
    }
    return make_row(ClipRow, {**clip, **counted})
