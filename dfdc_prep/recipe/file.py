"""The file of a recipe: parquet with a row for each crop, a header, and its own hash.

The header is JSON in the metadata of the parquet file. A second key there holds the SHA-256 of the
file's bytes with the digits of this hash set to zeros. It tells a damaged file from a whole one;
who wrote it, it does not tell. A recipe comes from elsewhere: `read_recipe` checks every value.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dfdc_prep.catalog.files import is_file_name, is_path
from dfdc_prep.crops.encoding import FORMATS
from dfdc_prep.crops.placement import ALIGNMENTS
from dfdc_prep.errors import RecipeError
from dfdc_prep.extraction.clip import ALL, LARGEST, ORIGINAL, OWN, SIBLING, CropOptions
from dfdc_prep.video.timeline import SAMPLINGS
from manifests.arrow import RECIPE_SCHEMA
from manifests.files import atomic_file, parse_json
from manifests.folders import FacesFolder, ShardsFolder
from manifests.labels import FAMILY_SOURCES, LABELS, NO_LABEL, STATUSES
from manifests.schemas import RECIPE_CLIP_COLUMNS
from manifests.tables.parquet import first_line
from manifests.wording import abbreviated

#: Number of the format.
FORMAT = 1
#: Order of the rows.
SORT_KEY = ("family", "part", "video", "frame", "face")
_KEYS = [(name, "ascending") for name in SORT_KEY]
#: Values of the header's `kind`: what the recipe is of.
FACES, SHARDS, BOXES = "faces", "shards", "boxes"
#: Files of a shards folder that the header may hold.
SHARDS_FILES = tuple(name for name in ShardsFolder.INDEX if name != ShardsFolder.MANIFEST)
#: Columns that balanced.parquet, split.parquet and the manifest of shards may have besides those of
#: the manifest of the crops, and those that may differ from it there.
OVERRIDDEN = ("label", "identity", "face_identity")
TABLE_COLUMNS = (*OVERRIDDEN, "identity_source", "joined_family", "split", "shard")

#: Keys that these objects of the header have, all of them and no others.
_KEYS_OF = {
    "source": {"layout", "dataset", "compression"},
    "detector": {"name", "sha256"},
    "counts": {"clips", "crops", "bytes"},
}
_HEADER, _SIGNATURE = "dfdc_prep.recipe", "dfdc_prep.sha256"
#: The signature as Thrift's compact protocol stores it: the key, then a string of 64 bytes.
_SIGNED = re.compile(_SIGNATURE.encode() + rb"\x18\x40([0-9a-f]{64})")
_MAGIC = b"PAR1"
#: Most bytes of a file's footer, most rows, and most bytes of them in memory.
_MAX_FOOTER, _MAX_ROWS, _MAX_BYTES = 64_000_000, 20_000_000, 8_000_000_000
_ROWS_A_GROUP = 1 << 17
#: Columns of bytes that differ from row to row and do not compress; those of clips repeat.
_RANDOM = ("sha256", "pixels", "sketch", "mask_sha256")
_REPEATED = ("clip_sha256", "first_frame", "first_frame_sketch")
_TEXTS = [field.name for field in RECIPE_SCHEMA if field.type == pa.string()]
#: Text columns that are names of files or folders; those with few values, and these.
_NAMES = ("part", "video", "folder", "original", "family", "joined_family", "shard", "split")
_VALUES: dict[str, Collection[str]] = {
    "label": (*LABELS, NO_LABEL),
    "family_source": FAMILY_SOURCES,
    "status": STATUSES,
    "box_source": (OWN, ORIGINAL, SIBLING),
    "split_label": LABELS,
}
#: Least and largest value of columns of numbers. Sides are those that FFmpeg can decode.
_SIDE, _FRAMES = 1 << 16, 10_000_000
_BOUNDS = {
    "clip_bytes": (0, 1 << 50),
    "clip_frames": (0, _FRAMES),
    "frame": (0, _FRAMES),
    "face": (0, 10_000),
    "width": (1, _SIDE),
    "height": (1, _SIDE),
    "x": (-_SIDE, _SIDE),
    "y": (-_SIDE, _SIDE),
    "w": (1, _SIDE),
    "h": (1, _SIDE),
    "score": (-1e6, 1e6),
    "landmarks": (-2.0 * _SIDE, 2.0 * _SIDE),
    "record": (0, _MAX_ROWS),
}
#: Columns that every crop has, and columns that a clip without crops lacks.
_OF_CROPS = ("frame", "face", "x", "y", "w", "h", "box_source")
_NOT_WITHOUT = (*_OF_CROPS, "score", "landmarks", "sha256", "pixels", "sketch", "mask_sha256")


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read.

    Attributes:
        header: has `format`; `kind`, what it is of: `faces`, `shards`, or `boxes` of another
            pipeline; `source` (layout, dataset, compression); `crops` (see `crop_options`);
            `detector` (name, sha256); `versions` of packages; `counts`; `tables`, the SHA-256 of
            those that a rebuild gives, by name; `columns`, those of `TABLE_COLUMNS` that each
            table has, by its name; `left_out`, sentences; `card` (see `writing.card`); of shards,
            `manifest`, the SHA-256 that their manifest is bound to, and `files`, their small files
            by name.
        table: has the columns of `manifests.schemas.RecipeRow`, sorted by `SORT_KEY`.
        sha256: is that which the file is signed by.
    """

    header: Mapping[str, Any]
    table: pa.Table
    sha256: str

    @property
    def crop_options(self) -> CropOptions:
        """The options that determine the bytes of the crops."""
        return CropOptions(**self.header["crops"])


def write_recipe(path: Path, header: Mapping[str, Any], table: pa.Table) -> str:
    """Write a recipe atomically and return its signature; equal values give equal bytes.

    Args:
        table: has the columns of `RecipeRow`; it is sorted by `sort_rows`.

    Raises:
        OutputError: another run writes the same file.
        OSError: the folder cannot be written.
    """
    table = table.select(RECIPE_SCHEMA.names).cast(RECIPE_SCHEMA)
    order = pc.sort_indices(table, sort_keys=_KEYS)
    with atomic_file(path) as temporary:
        with pq.ParquetWriter(
            temporary.absolute(),
            RECIPE_SCHEMA,
            compression={n: "NONE" if n in _RANDOM else "ZSTD" for n in _leaves()},
            use_dictionary=[*_TEXTS, *_REPEATED],
            write_statistics=False,
        ) as writer:
            for start in range(0, len(order), _ROWS_A_GROUP):
                group = table.take(order.slice(start, _ROWS_A_GROUP))
                folder = group["folder"]
                short = pc.if_else(pc.equal(folder, _stems(group)), None, folder)
                writer.write_table(_with_folders(group, short))
            writer.add_key_value_metadata(
                {
                    _HEADER: json.dumps(header, allow_nan=False, separators=(",", ":")),
                    _SIGNATURE: "0" * 64,
                }
            )
        with temporary.open("rb+") as file:
            start, sha256 = _digest(file, path)
            file.seek(start)
            file.write(sha256.encode())
    return sha256


def read_recipe(path: Path) -> Recipe:
    """Read a recipe and check it wholly.

    Raises:
        RecipeError: it is no recipe, was altered, or has a value that none has.
    """
    try:
        with path.open("rb") as file:
            start, sha256 = _digest(file, path)
            file.seek(start)
            signed = file.read(64).decode()
        if signed != sha256:
            raise _error(
                path, f"bytes of the hash {signed[:12]}…", f"{sha256[:12]}…: it is damaged"
            )
        metadata = pq.read_metadata(path.absolute())
        texts = [name for name in _TEXTS if name in metadata.schema.names]
        with pq.ParquetFile(path.absolute(), metadata=metadata, read_dictionary=texts) as opened:
            header = _header(path, (metadata.metadata or {}).get(_HEADER.encode(), b""))
            table = _read_table(path, opened)
    except FileNotFoundError as error:
        raise _error(path, "a recipe", "no such file") from error
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise _error(path, "parquet of a recipe", first_line(error)) from error
    _check_rows(path, table)
    return Recipe(header, table, sha256)


def sort_rows(table: pa.Table) -> pa.Table:
    """The rows in the order of a recipe."""
    return table.take(pc.sort_indices(table, sort_keys=_KEYS))


def _stems(table: pa.Table) -> pa.ChunkedArray:
    """The names of the clips without their extensions."""
    return pc.replace_substring_regex(table["video"], r"^(\.*[^.].*)\.[^.]*$", r"\1")


def _with_folders(table: pa.Table, folders: pa.ChunkedArray) -> pa.Table:
    at = RECIPE_SCHEMA.get_field_index("folder")
    return table.set_column(at, RECIPE_SCHEMA.field(at), folders)


def landmarks_of(table: pa.Table) -> NDArray[np.float64]:
    """The landmarks of each row, float64 [rows, 5, 2]; NaN in rows without.

    They are hundredths of a pixel, as detectors' are, which the column's float32 are rounded from.
    """
    column = table["landmarks"].combine_chunks()
    found = np.full((table.num_rows, 10), np.nan)
    found[column.is_valid().to_numpy(zero_copy_only=False)] = (
        column.flatten().to_numpy(zero_copy_only=False).reshape(-1, 10)
    )
    return found.round(2).reshape(-1, 5, 2)


def _leaves() -> list[str]:
    """The columns, by the path that parquet has of each."""
    return [f.name + ".list.element" * pa.types.is_list(f.type) for f in RECIPE_SCHEMA]


def _error(path: Path, expected: str, found: str, advice: str = "") -> RecipeError:
    advice = advice or "get the recipe again from its author"
    return RecipeError(f"expected {expected} in {path}, found {found}; {advice}")


def _digest(file: BinaryIO, path: Path) -> tuple[int, str]:
    """Where the signature lies, and what it must be."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(size - 8, _MAX_FOOTER):
        raise _error(path, "a recipe", "another file", "give the file that dfdc-prep recipe wrote")
    file.seek(size - 8 - length)
    found = list(_SIGNED.finditer(file.read(length)))
    if len(found) != 1:
        raise _error(
            path, "a recipe", "parquet without one", "give the file that dfdc-prep recipe wrote"
        )
    start = size - 8 - length + found[0].start(1)
    digest = hashlib.sha256()
    file.seek(0)
    for position in range(0, size, 1 << 20):
        block = bytearray(file.read(1 << 20))
        low, high = max(0, start - position), min(len(block), start + 64 - position)
        if low < high:
            block[low:high] = b"0" * (high - low)
        digest.update(block)
    return start, digest.hexdigest()


def _header(path: Path, text: bytes) -> dict[str, Any]:
    header = parse_json(text)
    try:
        if header["format"] != FORMAT:
            raise _error(
                path,
                f"format {FORMAT}",
                f"format {abbreviated(header['format'])}",
                "install the version of dfdc-prep that wrote it",
            )
        _check_header(header)
    except (KeyError, TypeError, AttributeError, _Invalid) as error:
        found = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise _error(path, "the header of a recipe", found) from error
    return dict(header)


class _Invalid(Exception):
    """What is wrong with a value of a header."""


def _check_header(header: Any) -> None:
    def need(condition: bool, name: str, value: Any) -> None:
        if not condition:
            raise _Invalid(f"{name} {abbreviated(value)}")

    def is_text(value: Any) -> bool:
        return isinstance(value, str) and len(value) < 10_000 and value.isprintable()

    need(header["kind"] in (FACES, SHARDS, BOXES), "kind", header["kind"])

    def is_texts(value: Any) -> bool:
        return isinstance(value, list) and len(value) < 1000 and all(map(is_text, value))

    def is_text_or_none(value: Any) -> bool:
        return value is None or is_text(value)

    def is_count(value: Any) -> bool:
        return type(value) is int and 0 <= value < 1 << 60

    kinds = {
        **dict.fromkeys(("source", "detector", "versions", "tables"), is_text_or_none),
        **dict.fromkeys(("columns", "card"), is_texts),
        "counts": is_count,
    }
    for name, is_valid in kinds.items():
        values = header[name]
        need(isinstance(values, dict) and len(values) < 1000, name, values)
        for key, value in values.items():
            need(is_text(key) and is_valid(value), name, value)
    for name, keys in _KEYS_OF.items():
        need(set(header[name]) == keys, name, header[name])
    need(is_text(header["detector"]["name"]), "detector", header["detector"])
    need(is_texts(header["left_out"]), "left_out", header["left_out"])
    need(is_text_or_none(header["manifest"]), "manifest", header["manifest"])
    known = {FacesFolder.MANIFEST, FacesFolder.BALANCED, FacesFolder.SPLIT}
    need(set(header["columns"]) <= known, "columns", header["columns"])
    for values in header["columns"].values():
        need(set(values) <= set(TABLE_COLUMNS), "columns", values)
        need(len(set(values)) == len(values), "columns", values)
    files = header["files"]
    need(isinstance(files, dict) and set(files) <= set(SHARDS_FILES), "files", files)
    for name, value in files.items():
        need(isinstance(value, str), name, value)
    options = header["crops"]
    need(set(options) == {each.name for each in fields(CropOptions)}, "crops", sorted(options))
    frames = options["frames"]
    by_label = frames if isinstance(frames, dict) else dict.fromkeys(LABELS, frames)
    need(set(by_label) == set(LABELS), "frames", frames)
    for value in by_label.values():
        need(type(value) is int and 1 <= value <= _FRAMES, "frames", frames)
    choices = {
        "sampling": SAMPLINGS,
        "faces": (LARGEST, ALL),
        "format": FORMATS,
        "align": ALIGNMENTS,
        **dict.fromkeys(("share_boxes", "compare", "masks"), (True, False)),
    }
    for name, allowed in choices.items():
        value = options[name]
        need(type(value) is type(allowed[0]) and value in allowed, name, value)
    need(type(options["size"]) is int and 16 <= options["size"] <= 4096, "size", options["size"])
    margin = options["margin"]
    need(type(margin) in (int, float) and 0 <= margin <= 4, "margin", margin)


def _read_table(path: Path, opened: pq.ParquetFile) -> pa.Table:
    metadata, schema = opened.metadata, opened.schema_arrow
    if schema.names != RECIPE_SCHEMA.names:
        absent = sorted(set(RECIPE_SCHEMA.names) - set(schema.names))
        found = f"no {absent[0]}" if absent else "others"
        raise _error(path, "the columns of a recipe", found)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    rows, size = sum(g.num_rows for g in groups), sum(g.total_byte_size for g in groups)
    biggest = max((group.num_rows for group in groups), default=0)
    if not 0 < rows <= _MAX_ROWS or biggest > 4 * _ROWS_A_GROUP:
        raise _error(path, f"1 to {_MAX_ROWS:,} rows, in groups", f"{rows:,}")
    if not 0 <= size <= _MAX_BYTES:
        raise _error(path, f"at most {_MAX_BYTES:,} bytes of rows", f"{size:,}")
    tables = []
    for index in range(len(groups)):
        # Texts are checked, and then no longer than 255 bytes, before they are spread out.
        group = opened.read_row_group(index, use_threads=False)
        columns = []
        for field, column in zip(RECIPE_SCHEMA, group.columns, strict=True):
            is_coded = field.name in _TEXTS and pa.types.is_dictionary(column.type)
            given = column.type.value_type if is_coded else column.type
            if (is_coded != (field.name in _TEXTS)) or given != field.type:
                raise _error(path, f"{field.type} in column {field.name}", str(given))
            column.validate(full=True)
            if column.null_count and not field.nullable:
                raise _error(path, f"a {field.name} in every row", "one without")
            _check_column(path, field.name, column)
            columns.append(column.cast(field.type))
        table = pa.table(columns, schema=RECIPE_SCHEMA)
        tables.append(_with_folders(table, pc.coalesce(table["folder"], _stems(table))))
    return pa.concat_tables(tables)


def _check_column(path: Path, name: str, column: pa.ChunkedArray) -> None:
    """Raise RecipeError unless each value of a column is one that it may have."""
    if name in _TEXTS:
        texts = {text for chunk in column.chunks for text in chunk.dictionary.to_pylist()}
        for text in texts - {None}:
            if name in _VALUES:
                valid = text in _VALUES[name]
            elif name in _NAMES:
                valid = is_file_name(text)
            elif name == "file":
                valid = is_path(text)
            else:
                valid = text.isprintable() and len(text.encode()) <= 255
            if not valid:
                raise _error(path, f"a valid {name}", abbreviated(text))
    if name in _BOUNDS:
        low, high = _BOUNDS[name]
        values = column
        if name == "landmarks":
            if not _all(pc.equal(pc.list_value_length(column), 10)):
                raise _error(path, "landmarks of 10 numbers", "others")
            values = pc.list_flatten(column)
            if values.null_count:
                raise _error(path, "landmarks of 10 numbers", "nulls")
        inside = pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
        if not _all(inside):  # NaN is not inside either
            outside = values.filter(pc.invert(pc.fill_null(inside, True)))[0].as_py()
            raise _error(path, f"a {name} from {low} to {high}", str(outside))


def _all(condition: pa.ChunkedArray) -> bool:
    return bool(pc.all(condition, min_count=0).as_py())


def _check_rows(path: Path, table: pa.Table) -> None:
    """Raise RecipeError unless the rows are in order, each once, and agree on their clip."""
    keys = {name: ranks(table[name]) for name in SORT_KEY}
    differs = np.zeros(max(0, table.num_rows - 1), bool)  # from the row before, so far
    ordered = True
    for values in keys.values():
        step = np.diff(values)
        ordered &= bool((step[~differs] >= 0).all())
        differs |= step != 0
    if not ordered or not differs.all():
        raise _error(path, "each crop once, in the order of clips and frames", "another order")
    new_clip = np.ones(table.num_rows, bool)
    new_clip[1:] = np.logical_or.reduce(
        [np.diff(keys[n]) != 0 for n in ("family", "part", "video")]
    )
    starts = np.flatnonzero(new_clip)
    names = np.stack([keys[name][starts] for name in ("part", "video")])
    if np.unique(names, axis=1).shape[1] < len(starts):
        raise _error(path, "every clip once", "one in two families")
    for name in RECIPE_CLIP_COLUMNS:
        if np.any(np.diff(ranks(table[name]))[~new_clip[1:]]):
            raise _error(path, f"one {name} for each clip", "two")
    empty = np.flatnonzero(keys["frame"] < 0)
    lengths = np.diff(np.append(starts, table.num_rows))
    if len(empty) and not (
        new_clip[empty].all() and (lengths[np.searchsorted(starts, empty)] == 1).all()
    ):
        raise _error(path, "one row for a clip without crops", "more")
    has_crop = pc.is_valid(table["frame"])
    for name in _NOT_WITHOUT:
        valid = pc.is_valid(table[name])
        wrong = pc.and_(valid, pc.invert(has_crop))
        if name in _OF_CROPS:
            wrong = pc.xor(valid, has_crop)
        if pc.any(wrong).as_py():
            raise _error(path, f"a {name} for each crop, and for no other row", "another")
    new_frame = new_clip.copy()
    new_frame[1:] |= np.diff(keys["frame"]) != 0
    face = pc.fill_null(table["face"], 0).to_numpy()
    follows = np.where(new_frame, 0, np.append(-1, face[:-1]) + 1)
    if (face != follows).any():
        raise _error(path, "the faces of a frame numbered from 0", "others")
    folders = np.stack([ranks(table[name])[starts] for name in ("part", "folder")])
    if np.unique(folders, axis=1).shape[1] < len(starts):
        raise _error(path, "a folder for the crops of each clip", "one for two clips")


def ranks(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each value, in the order of the values; -1 for null."""
    if pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column, -1).to_numpy(), np.int64)
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary
    found = np.empty(len(values) + 1, np.int64)
    found[pc.sort_indices(values).to_numpy()] = np.arange(len(values))
    found[-1] = -1
    return found[np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)]
