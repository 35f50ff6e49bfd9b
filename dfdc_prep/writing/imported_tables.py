"""The tables of an import: which row has which image, its manifest and clip log. Does no I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import SourceError
from manifests.columns import PROVENANCE_COLUMNS, ClipRow, make_row
from manifests.errors import TableError
from manifests.labels import FAKE
from manifests.schema import CLIP_LOG_SCHEMA, CLIP_SOURCE_FIELD, MANIFEST_SCHEMA
from manifests.tables.parquet import sort_manifest

#: Part of the crops whose table has no `part`.
PART = "imported"
#: What becomes of a row, in the order in which the clip log names the faults of a clip.
KINDS = ("crop", "unreadable", "missing", "without image", "duplicate")
CROP, UNREADABLE, MISSING, NO_IMAGE, DUPLICATE = KINDS
#: Unsafe paths and names: parent folders, absolute paths, backslashes, NUL characters.
_UNSAFE_PATH = r"(^|/)\.\.(/|$)|^/|\\|\x00"
_UNSAFE_NAME = r"/|\\|\x00|^\.{0,2}$"
#: Manifest columns that have another name in the Kaggle table.
_KAGGLE_NAMES = {"w": "original_width", "h": "original_height"}
#: Faults listed in one row of the clip log; the rest is only counted.
_MAX_FAULTS = 5


class Outcome(NamedTuple):
    """What became of one row of the table."""

    row: int
    kind: str  #: one of `KINDS`
    fault: str | None = None  #: None for a crop
    image: str = ""  #: relative to the folder of crops
    path: str = ""  #: of the crop, relative to the faces folder
    sha256: str = ""  #: of its file, hexadecimal


def match_images(
    table: pa.Table, images: list[str], prefix: str
) -> tuple[list[Outcome], list[str]]:
    """Find the image of every row: by its `path`, or by the stem of its `video` if that is null.

    Of several images with this stem, the one in a folder called like the row's `part` is taken,
    else the first.

    Args:
        images: sorted paths of all images, relative to the folder of crops.
        prefix: path of the folder of crops relative to the table's folder; the paths in the
            table may start with it.

    Returns:
        The outcome of each row, `CROP` if it has an image; and the images that no row names.

    Raises:
        SourceError: a name or path leads out of its folder.
    """
    _check_names(table)
    stems = defaultdict(list)
    for image in images:
        stems[PurePosixPath(image).stem].append(image)
    # `video` may have been read from another column; `videoname` still names the image.
    video = "videoname" if "videoname" in table.column_names else "video"
    outcomes, existing, taken = [], set(images), set()
    for row, (path, name, part) in enumerate(_columns(table, "path", video, "part")):
        wanted = path
        if path is None:
            same = stems.get(PurePosixPath(name).stem, [])
            inside = [image for image in same if part in PurePosixPath(image).parent.parts]
            wanted = next(iter(inside or same), None)
        elif path not in existing:
            wanted = path.removeprefix(f"{prefix}/")
        if wanted is None:
            outcomes.append(Outcome(row, NO_IMAGE, "no image has this name"))
        elif wanted not in existing:
            outcomes.append(Outcome(row, MISSING, f"there is no image {wanted}"))
        elif wanted in taken:
            fault = f"row {row + 1} names {wanted} again and was left out"
            outcomes.append(Outcome(row, DUPLICATE, fault))
        else:
            taken.add(wanted)
            outcomes.append(Outcome(row, CROP, image=wanted))
    return outcomes, [image for image in images if image not in taken]


def _columns(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """The values of these columns, row by row; None for a column that the table lacks."""
    lists = (
        table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        for name in names
    )
    return zip(*lists, strict=True)


def _check_names(table: pa.Table) -> None:
    """Raise SourceError if a name or path of the table leads out of its folder."""
    for name in ("video", "original", "family", "part", "path"):
        pattern = _UNSAFE_PATH if name == "path" else _UNSAFE_NAME
        if name not in table.column_names:
            continue
        unsafe = table[name].filter(pc.match_substring_regex(table[name], pattern))
        if len(unsafe):
            raise SourceError(
                f"expected names that stay inside their folder in the column {name}, found "
                f"{unsafe[0].as_py()!r}; fix or remove that row"
            )


def build_manifest(table: pa.Table, crops: list[Outcome]) -> pa.Table:
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


def build_clip_log(table: pa.Table, outcomes: list[Outcome], unnamed: list[str]) -> pa.Table:
    """The clip log: one row per clip of the table, and one per image that no row names.

    `frames_wanted` counts the rows of the clip, `frames_decoded` and `faces` its crops. A
    clip with crops and faults is `truncated`; one with faults only is `missing` or
    `unreadable`. `seconds` is 0, because an import does not time its clips.
    """
    names = list(zip(_parts(table).to_pylist(), table["video"].to_pylist(), strict=True))
    of_clip: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: KINDS.index(outcome.kind)):
        of_clip[names[outcome.row]].append(outcome)
    # The first row of each clip gives what is the same in all of them.
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    given = [name for name in PROVENANCE_COLUMNS if name in table.column_names]
    columns = table.select(["label", "original", "family", "family_source", *given])
    columns = columns.take(pa.array(list(first.values())))
    columns = columns.set_column(1, "original", _originals(columns))
    rows = [
        _clip_row({"video": video, "part": part, **values}, of_clip[part, video])
        for (part, video), values in zip(first, columns.to_pylist(), strict=True)
    ]
    by_name: dict[str, list[Outcome]] = defaultdict(list)
    for image in unnamed:
        fault = f"no row names {image}"
        by_name[PurePosixPath(image).name].append(Outcome(-1, MISSING, fault))
    for name, found in by_name.items():
        rows.append(_clip_row({"video": name, "part": PART, "family": name}, found))
    order = [("part", "ascending"), ("video", "ascending")]
    return pa.Table.from_pylist(rows, schema=CLIP_LOG_SCHEMA).sort_by(order)


def _clip_row(clip: Mapping[str, Any], outcomes: list[Outcome]) -> ClipRow:
    """The clip log row of a clip, given by some columns, with its outcomes counted."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    faults = [outcome.fault for outcome in outcomes if outcome.fault]
    failed = UNREADABLE if kinds[UNREADABLE] else MISSING
    imported = "truncated" if kinds.keys() & {UNREADABLE, MISSING, NO_IMAGE} else "ok"
    more = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    counted = {
        "status": imported if kinds[CROP] else failed,
        "error": "; ".join([*faults[:_MAX_FAULTS], *more]) or None,
        "frames_wanted": len(outcomes),
        "frames_decoded": kinds[CROP],
        "faces": kinds[CROP],
        "seconds": 0.0,
    }
    return make_row(ClipRow, {**clip, **counted})
