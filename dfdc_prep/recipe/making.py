"""Makes the recipe of a faces or a shards folder from its crops and their clips, and checks it.

What was read of a clip and its crops goes into a journal beside the recipe, so that the same
command goes on after it was killed. The journal is removed at the end.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfdc_prep.catalog.clips import Clip, SourceOptions
from dfdc_prep.catalog.files import is_path
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.crops import placement
from dfdc_prep.crops.encoding import MASK_SUFFIX, decode
from dfdc_prep.crops.files import read_verified, resolve_inside
from dfdc_prep.detectors.base import Face, Landmarks
from dfdc_prep.errors import RecipeError, ShardError
from dfdc_prep.extraction.clip import CropOptions
from dfdc_prep.extraction.crops_out import GIVEN, crop_path
from dfdc_prep.parallel.threads import ThreadPool
from dfdc_prep.progress import Progress
from dfdc_prep.recipe import file
from dfdc_prep.recipe.comparison import clip_starts
from dfdc_prep.recipe.file import OVERRIDDEN, SHARDS_FILES, TABLE_COLUMNS, Recipe, landmarks_of
from dfdc_prep.recipe.fingerprints import clip_print, crop_print
from dfdc_prep.recipe.page import RecipeReport
from dfdc_prep.recipe.tables import faces_tables, shards_manifest
from dfdc_prep.storage.urls import is_url
from dfdc_prep.video.source_file import file_version, is_version
from dfdc_prep.writing.card import Card, licence
from manifests.arrow import MANIFEST_SCHEMA, RECIPE_SCHEMA, SHARD_MANIFEST_SCHEMA
from manifests.files import Journal, atomic_file, file_sha256, lock, read_lines
from manifests.folders import OTHER_KINDS, FacesFolder, ShardsFolder
from manifests.labels import NO_LABEL
from manifests.schemas import RECIPE_CLIP_COLUMNS, SORT_KEY
from manifests.tables.parquet import (
    bound,
    bound_to,
    check_bound,
    manifest_hash,
    read_clip_log,
    read_table,
    sort_manifest,
    write_parquet,
)

_MANIFEST = FacesFolder.MANIFEST
#: Statuses of clips of which a frame decoded.
_DECODED = ("ok", "no_face", "truncated")
#: Packages beside those of run.json that determine the bytes of tables, and of JPEGs in shards.
_PACKAGES = ("pyarrow", "pillow")
_POINTS = [f"{name}_{axis}" for name in Landmarks._fields for axis in "xy"]
#: Columns of bytes, which manifests have in hexadecimal; columns that manifests have as they are.
_HASHES = ("sha256", "mask_sha256")
_SAME = [n for n in RECIPE_SCHEMA.names if n in MANIFEST_SCHEMA.names and n not in _HASHES]
#: A clip's part and video.
Name = tuple[str, str]


@dataclass(frozen=True)
class Author:
    """What an author gives beside the folder."""

    faces: Path  # the crops of SHARDS
    source: Path | None = None  # the clips; None for those that run.json names
    table: Path | None = None  # the CSV of a source in the layout `table`
    card: Card = field(default_factory=dict)  # who may use the data set and how to cite it
    landmarks: bool = False  # keep those that the crops are not aligned by


@dataclass(frozen=True)
class _Faces:
    """A faces folder, or the rows of it that shards are of."""

    folder: Path
    run: Mapping[str, Any]
    options: CropOptions
    manifest: pa.Table  # in its order; the landmarks are null if the recipe leaves them out
    log: dict[Name, dict[str, Any]]  # of the clips of the recipe
    rows: dict[Name, range]  # of the manifest, of each of them, in order


@dataclass(frozen=True)
class _Tables:
    """The tables beside the manifest of the crops."""

    names: dict[str, list[str]]  # which of `TABLE_COLUMNS` they have
    columns: dict[str, pa.Array]  # of the recipe, for each row of the manifest
    left_out: list[str]


def make(folder: Path, out: Path, author: Author) -> RecipeReport:
    """Write the recipe of a faces or a shards folder, and check it against the folder.

    Raises:
        RecipeError: the folder cannot be rebuilt from a recipe, or a clip is not the one that it
            was made from.
        TableError, ShardError, SourceError: a table, a crop or a clip is missing or altered.
        OutputError: another run writes the recipe.
    """
    is_shards = (folder / ShardsFolder.INFO).is_file()
    faces = _read_faces(author.faces if is_shards else folder, author.landmarks or is_shards)
    tables = _Tables({}, {}, [])
    if is_shards:
        faces = _read_shards(folder, faces, tables)
    else:
        _read_derived(faces, tables)
    journal = out.with_name(f"{out.name}.journal")
    with lock(out.with_name(f".{journal.name}.lock"), journal):
        clips = _find_clips(faces, author)
        table = _fill(faces, tables, clips, _read_all(faces, clips, journal))
        header = _header(faces, tables, table, author.card)
        if is_shards:
            texts = {name: folder / name for name in SHARDS_FILES if (folder / name).is_file()}
            header["kind"] = file.SHARDS
            header["files"] = {name: path.read_text("utf-8") for name, path in texts.items()}
            header["manifest"] = bound_to(pq.read_schema(folder / _MANIFEST))
        header["tables"] = _check(Recipe(header, table, ""), faces, tables, folder)
        with atomic_file(out) as half:
            file.write_recipe(half, header, table)
            try:
                recipe = file.read_recipe(half)
            except RecipeError as error:
                found = str(error).partition(";")[0].replace(f" in {half}", "")
                raise RecipeError(f"{found} of {folder}; extract it again") from error
            if not recipe.table.equals(table):
                raise _refusal(folder, "values that a recipe can hold", "others")
            size = half.stat().st_size
        journal.unlink(missing_ok=True)
    return RecipeReport(out, size, recipe)


def show_recipe(path: Path) -> RecipeReport:
    """Read a recipe, for its page; raises as `read_recipe`."""
    recipe = file.read_recipe(path)
    return RecipeReport(path, path.stat().st_size, recipe)


def _refusal(folder: Path, expected: str, found: str, advice: str = "") -> RecipeError:
    advice = advice or "extract it again, then make the recipe"
    return RecipeError(f"expected {expected} in {folder}, found {found}; {advice}")


def _read_faces(folder: Path, landmarks: bool) -> _Faces:
    for name, kind in OTHER_KINDS.items():
        if (folder / name).is_file():
            raise _refusal(folder, "the crops of dfdc-prep extract", kind, "give their folder")
    manifest = sort_manifest(read_table(folder / _MANIFEST, MANIFEST_SCHEMA, "dfdc-prep extract"))
    run = FacesFolder.read_run(folder) or {}
    if run.get("command") != "extract":
        advice = "nothing says how its crops were cut, so that nobody can cut them again"
        if run.get("command") == "rebuild":
            advice = "hand on the recipe that it was made from"
        command = run.get("command", f"no {FacesFolder.RUN}")
        raise _refusal(folder, "the crops of dfdc-prep extract", str(command), advice)
    log = read_clip_log(folder, manifest_hash(folder))
    names = [each.name for each in fields(CropOptions)]
    if absent := [name for name in names if name not in run["options"]]:
        raise _refusal(folder, f"the options of a run in {FacesFolder.RUN}", f"no {absent[0]}")
    if log is None or manifest.column_names != MANIFEST_SCHEMA.names:
        found = "others" if log else f"no {FacesFolder.CLIPS}"
        raise _refusal(folder, "the tables of dfdc-prep extract", found)
    options = CropOptions(**{name: run["options"][name] for name in names})
    if not landmarks and options.align == placement.NONE:
        for name in _POINTS:
            nulls = pa.nulls(manifest.num_rows, pa.float64())
            at = manifest.column_names.index(name)
            manifest = manifest.set_column(at, MANIFEST_SCHEMA.field(name), nulls)
    columns = [name for name in (*RECIPE_CLIP_COLUMNS, "status") if name in log.column_names]
    rows = log.select(dict.fromkeys(columns)).to_pylist()
    clips = {(row["part"], row["video"]): row for row in rows}
    ranges = _ranges(manifest)
    if not ranges.keys() <= clips.keys():
        raise _refusal(folder, f"every clip in {FacesFolder.CLIPS}", "crops of another")
    return _Faces(folder, run, options, manifest, clips, dict.fromkeys(clips, range(0)) | ranges)


def _ranges(manifest: pa.Table) -> dict[Name, range]:
    """The rows of each clip in a sorted manifest."""
    starts = clip_starts(manifest)  # Arrow's groups come in no order that can be relied on
    ends = np.append(starts[1:], manifest.num_rows).tolist()
    parts, videos = (manifest[n].take(pa.array(starts)).to_pylist() for n in ("part", "video"))
    spans = map(range, starts.tolist(), ends)
    return dict(zip(zip(parts, videos, strict=True), spans, strict=True))


def _read_derived(faces: _Faces, tables: _Tables) -> None:
    """Read balanced.parquet and split.parquet, those that are there."""
    for name, made_by in ((FacesFolder.BALANCED, "balance"), (FacesFolder.SPLIT, "split")):
        path, command = faces.folder / name, f"dfdc-prep {made_by}"
        if path.is_file():
            table = read_table(path, MANIFEST_SCHEMA, command)
            check_bound(path, manifest_hash(faces.folder), command)
            if (unknown := _add_table(tables, faces.manifest, name, table)) is not None:
                tables.left_out.append(f"{name}, for {unknown}")
            elif name == FacesFolder.BALANCED:
                tables.columns["balanced"] = pc.is_in(faces.manifest["path"], table["path"])


def _read_shards(folder: Path, faces: _Faces, tables: _Tables) -> _Faces:
    """Read the manifest of shards; return the crops of the frames that they hold crops of."""
    table = read_table(folder / ShardsFolder.MANIFEST, SHARD_MANIFEST_SCHEMA, "dfdc-prep shard")
    manifest = faces.manifest
    at = pc.index_in(table["path"], manifest["path"].combine_chunks())
    if at.null_count or not manifest["sha256"].take(at).equals(table["sha256"]):
        raise _refusal(
            folder, f"the crops of {faces.folder}", "others", "give their folder with --faces"
        )
    # The other faces of a frame too, so that those of the recipe are numbered from 0.
    frames = manifest.select(["part", "video", "frame"])
    wanted = frames.take(at).append_column("wanted", pa.array([True] * len(at)))
    wanted = wanted.group_by(wanted.column_names).aggregate([])
    numbered = frames.append_column("row", pa.array(np.arange(len(frames))))
    joined = numbered.join(wanted, frames.column_names, join_type="inner")
    manifest = manifest.take(pa.array(np.sort(joined["row"].to_numpy())))
    rows = _ranges(manifest)
    names = set(rows)
    if faces.options.compare:  # the originals that fakes are compared with
        originals = {faces.log[name]["family"] for name in names}
        names |= {name for name in faces.log if name[1] in originals}
    log = {name: row for name, row in faces.log.items() if name in names}
    faces = replace(faces, manifest=manifest, log=log, rows=dict.fromkeys(log, range(0)) | rows)
    if (unknown := _add_table(tables, manifest, ShardsFolder.MANIFEST, table)) is not None:
        raise _refusal(folder, "shards of one faces folder", unknown, "give FACES instead")
    records = pc.index_in(manifest["path"], table["path"].combine_chunks())
    tables.columns["record"] = records.combine_chunks()
    return faces


def _add_table(tables: _Tables, manifest: pa.Table, name: str, table: pa.Table) -> str | None:
    """Add what a table says of the crops; return what a recipe cannot hold of it, if anything."""
    added = [each for each in table.column_names if each not in manifest.column_names]
    if unknown := [each for each in added if each not in TABLE_COLUMNS]:
        return f"its column {unknown[0]}"
    at = pc.index_in(table["path"], manifest["path"].combine_chunks())
    if at.null_count:
        return "its crops that are not in the manifest"
    for each in OVERRIDDEN:
        given, own = table[each].combine_chunks(), manifest[each].take(at).combine_chunks()
        differs = pc.not_equal(pc.fill_null(given, ""), pc.fill_null(own, ""))
        # A split by identity changes the field of its column too.
        if pc.any(differs).as_py() or (each == "identity" and "identity_source" in added):
            added.append(each)
            given = pc.if_else(differs, given, None)
            tables.columns.setdefault(f"split_{each}", _spread(given, at, manifest.num_rows))
    for each in added:
        if each not in OVERRIDDEN:
            column = table[each].combine_chunks()
            tables.columns.setdefault(each, _spread(column, at, manifest.num_rows))
    tables.names[name] = added
    return None


def _spread(values: pa.Array, at: pa.Array, rows: int) -> pa.Array:
    """The values at their rows, null in the others."""
    where = np.full(rows, -1)
    where[np.asarray(at.to_numpy())] = np.arange(len(values))
    return values.take(pa.array(where, mask=where < 0))


def _find_clips(faces: _Faces, author: Author) -> dict[Name, tuple[Clip, str | None]]:
    """The clips of the recipe, and the path of each below the source where it is not part/video.

    A clip that was read must be there, and be the one that was read.
    """
    run, recorded = faces.run, str(faces.run.get("source"))
    source = author.source or Path(recorded)
    if (author.source is None and is_url(recorded)) or not source.is_dir():
        raise RecipeError(
            f"expected the clips of {faces.folder} in {author.source or recorded}, found no folder "
            "on this machine; give theirs with --source"
        )
    table = author.table or (Path(run["table"]) if run.get("table") else None)
    layout = {name: run["options"].get(name) for name in ("dataset", "compression")}
    reading = SourceOptions(
        run["options"].get("layout", "auto"), **layout, table=table, real_is=run.get("real_is")
    )
    listed = {(clip.part, clip.video): clip for clip in read_catalog(source, None, reading).clips}
    versions, found = _versions(faces.folder / FacesFolder.JOURNAL), {}
    for name, row in faces.log.items():
        clip = listed.get(name)
        if clip is None or (clip.size is None and row["status"] != "missing"):
            raise RecipeError(
                f"expected {'/'.join(name)} in {source}, found no such clip; give the clips of "
                f"{faces.folder} with --source"
            )
        known = versions.get(name)
        if known and clip.size is not None and not is_version(Path(clip.path), known):
            raise RecipeError(
                f"expected {clip.path} as the crops in {faces.folder} were cut from it, found "
                "another file; put it back, or run dfdc-prep extract again"
            )
        below = Path(clip.path)
        path = below.relative_to(source).as_posix() if below.is_relative_to(source) else ""
        found[name] = clip, path if is_path(path) and path != "/".join(name) else None
    return found


def _versions(journal: Path) -> dict[Name, str | None]:
    """What a journal of extract says of the clips' files; nothing of entries of other versions."""
    found: dict[Name, str | None] = {}
    for _, entry in read_lines(journal):
        with suppress(TypeError, KeyError, ValueError):
            for row, known in zip(entry["clips"], entry["versions"], strict=True):
                found[row["part"], row["video"]] = known
    return found


def _read_all(
    faces: _Faces, clips: Mapping[Name, tuple[Clip, str | None]], journal: Path
) -> dict[Name, dict[str, Any]]:
    """Read every clip and every crop that the journal does not have yet; return its entries."""
    keys = {name: _key(faces, name, clip) for name, (clip, _) in clips.items()}
    known = {entry["key"] for _, entry in read_lines(journal) if _is_entry(entry)}
    todo = [name for name, key in keys.items() if key not in known]
    guard = Lock()
    bar = Progress(len(keys), "clips", "recipe", len(keys) - len(todo))
    with bar, Journal(journal) as opened, ThreadPool() as pool:

        def read(pool: ThreadPool, name: Name) -> None:
            pool.check_cancelled()
            entry = {"key": keys[name], **_read_clip(faces, name, clips[name][0])}
            with guard:
                opened.append(entry)
                bar.update()

        pool.map(read, todo)
        opened.sync()
    entries = {entry["key"]: entry for _, entry in read_lines(journal) if _is_entry(entry)}
    return {name: entries[key] for name, key in keys.items()}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.keys() == {"key", "clip", "pixels", "sketches"}


def _key(faces: _Faces, name: Name, clip: Clip) -> str:
    """Hash of all that an entry of the journal depends on."""
    rows = faces.manifest.slice(faces.rows[name].start, len(faces.rows[name]))
    known = None if clip.size is None else file_version(Path(clip.path))
    hashes = rows["sha256"].to_pylist(), rows["mask_sha256"].to_pylist()
    text = json.dumps([name, str(clip.path), known, faces.log[name]["status"], hashes])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_clip(faces: _Faces, name: Name, clip: Clip) -> dict[str, Any]:
    """What the journal has of a clip: its print, and those of its crops."""
    rows = faces.manifest.slice(faces.rows[name].start, len(faces.rows[name])).to_pylist()
    prints = [_read_crop(faces, clip, row) for row in rows]
    found: list[Any] | None = None
    status = faces.log[name]["status"]
    if status != "missing":
        seen = clip_print(Path(clip.path), status in _DECODED)
        digests = (seen.sha256, seen.first_frame, seen.sketch)
        found = [seen.size, seen.frames, *(each and each.hex() for each in digests)]
    return {
        "clip": found,
        "pixels": "".join(pixels.hex() for pixels, _ in prints),
        "sketches": "".join(sketch.hex() for _, sketch in prints),
    }


def _read_crop(faces: _Faces, clip: Clip, row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The print of a crop; raise RecipeError if a rebuild would cut another."""
    options, root = faces.options, str(faces.folder.resolve())
    data = read_verified(resolve_inside(root, row["path"]), row["path"], row["sha256"])
    if row["mask"]:
        read_verified(resolve_inside(root, row["mask"]), row["mask"], row["mask_sha256"])
    points = [row[name] for name in _POINTS]
    landmarks = None if None in points else Landmarks(*zip(points[::2], points[1::2], strict=True))
    face = Face(row["x"], row["y"], row["w"], row["h"], row["score"], landmarks)
    place = placement.place(face, options.align, options.margin, options.size)
    path = crop_path(Path(), clip, row["frame"], row["face"], options.format)
    expected = {
        "path": path.as_posix(),
        "mask": path.with_suffix(MASK_SUFFIX).as_posix() if row["mask_sha256"] else None,
        "align": place.align,
        "margin": place.margin,
        "detector": faces.run["options"].get("detector"),
        **{f"crop_{name}": value for name, value in vars(place.square).items()},
        **{f"affine_{name}": value for name, value in vars(place.affine).items()},
    }
    for name, value in expected.items():
        if row[name] != value:
            raise _refusal(faces.folder, f"{name} {value} of {row['path']}", str(row[name]))
    try:
        return crop_print(decode(data))
    except ValueError as error:
        raise ShardError(
            f"expected a crop that decodes at {row['path']}, found {error}; extract it again"
        ) from error


def _fill(
    faces: _Faces,
    tables: _Tables,
    clips: Mapping[Name, tuple[Clip, str | None]],
    read: Mapping[Name, Mapping[str, Any]],
) -> pa.Table:
    """The table of the recipe."""
    of_clips: dict[str, list[Any]] = {name: [] for name in RECIPE_CLIP_COLUMNS}
    crops: list[int | None] = []  # of each row of the recipe, its row of the manifest
    numbers: list[int] = []  # and its clip
    for number, (name, row) in enumerate(faces.log.items()):
        clip, path = clips[name]
        size, frames, *digests = read[name]["clip"] or [None] * 5
        known = dict(
            zip(("clip_sha256", "first_frame", "first_frame_sketch"), digests, strict=True)
        )
        values = {
            **row,
            "label": row["label"] or NO_LABEL,
            "file": path,
            "folder": clip.folder,
            "clip_bytes": size,
            "clip_frames": frames,
            **{key: value and bytes.fromhex(value) for key, value in known.items()},
        }
        for column, taken in of_clips.items():
            taken.append(values[column])
        span = faces.rows[name]
        crops += span or [None]
        numbers += [number] * max(1, len(span))
    manifest, given_masks = faces.manifest, _given_masks(faces.manifest)
    fields_of = {name: RECIPE_SCHEMA.field(name).type for name in RECIPE_SCHEMA.names}
    at, clip_at = pa.array(crops, pa.int32()), pa.array(numbers, pa.int32())
    columns = {
        name: pa.array(values, fields_of[name]).take(clip_at) for name, values in of_clips.items()
    }
    columns |= {n: manifest[n].take(at) for n in _SAME if n not in columns}
    for column in _HASHES:
        given = (text and bytes.fromhex(text) for text in manifest[column].to_pylist())
        columns[column] = pa.array(given, fields_of[column]).take(at)
    columns["mask_sha256"] = pc.if_else(given_masks.take(at), None, columns["mask_sha256"])
    for column, key in (("pixels", "pixels"), ("sketch", "sketches")):
        data = bytes.fromhex("".join(read[each][key] for each in faces.log))
        size = fields_of[column].byte_width
        prints = [data[start : start + size] for start in range(0, len(data), size)]
        columns[column] = pa.array(prints, fields_of[column]).take(at)
    columns["landmarks"] = _landmarks(manifest).take(at)
    columns |= {name: values.take(at) for name, values in tables.columns.items()}
    rows = len(at)
    return file.sort_rows(
        pa.table(
            [columns.get(n, pa.nulls(rows, kind)) for n, kind in fields_of.items()],
            schema=RECIPE_SCHEMA,
        )
    )


def _landmarks(manifest: pa.Table) -> pa.Array:
    """The landmarks of each row, lists of 10 float32 or null."""
    points = np.stack([manifest[name].to_numpy() for name in _POINTS], axis=1)
    known = ~np.isnan(points).any(axis=1)
    offsets = np.r_[0, np.cumsum(known * len(_POINTS))]
    values = pa.array(points[known].astype(np.float32).ravel())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=pa.array(~known))


def _header(faces: _Faces, tables: _Tables, table: pa.Table, card: Card) -> dict[str, Any]:
    options = faces.run["options"]
    clips = table.group_by(["part", "video"]).aggregate([("clip_bytes", "max")])
    datasets = [name for name in pc.unique(table["dataset"]).to_pylist() if name]
    left_out = list(tables.left_out)
    found = pq.read_table(faces.folder / _MANIFEST, columns=[_POINTS[0]])[0]
    if found.null_count < len(found) and pc.all(pc.is_null(table["landmarks"])).as_py():
        left_out.append("landmarks, which --landmarks keeps: manifest.parquet will have none")
    if pc.any(_given_masks(faces.manifest)).as_py():
        left_out.append("masks of mask videos, which a rebuild does not read, and so the tables")
    return {
        "format": file.FORMAT,
        "kind": file.FACES,
        "source": {name: options.get(name) for name in ("layout", "dataset", "compression")},
        "crops": {each.name: options[each.name] for each in fields(CropOptions)},
        "detector": {"name": options.get("detector"), "sha256": options.get("model_sha256")},
        "versions": {**faces.run.get("versions", {}), **{n: version(n) for n in _PACKAGES}},
        "counts": {
            "clips": clips.num_rows,
            "bytes": pc.sum(clips["clip_bytes_max"]).as_py() or 0,
            "crops": faces.manifest.num_rows,
        },
        "tables": {},
        "columns": tables.names,
        "left_out": left_out,
        "card": {**card, "license": licence(datasets, card)},
        "manifest": None,
        "files": {},
    }


def _given_masks(manifest: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(manifest["mask_source"], GIVEN), False)


def _check(recipe: Recipe, faces: _Faces, tables: _Tables, folder: Path) -> dict[str, str]:
    """Compare what the recipe gives with what is in the folder; return the SHA-256 of its tables.

    A derived table of FACES that differs is left out, and the header says so.
    """
    manifest, rows = faces.manifest, recipe.table.filter(pc.is_valid(recipe.table["frame"]))
    rows = rows.sort_by([(name, "ascending") for name in SORT_KEY])
    given_masks = _given_masks(manifest)
    for name in (*_SAME, *_HASHES):
        given = rows[name]
        if name in _HASHES:
            hashes = (each and each.hex() for each in given.to_pylist())
            given = pa.chunked_array([pa.array(hashes, pa.string())])
        own = manifest[name]
        if name == "mask_sha256":
            own = pc.if_else(given_masks, None, own)
        if not given.equals(own):
            raise _refusal(faces.folder, f"the same {name} in all tables", "another")
    points = np.stack([manifest[name].to_numpy() for name in _POINTS], axis=1)
    if not np.array_equal(landmarks_of(rows).reshape(points.shape), points, equal_nan=True):
        raise _refusal(faces.folder, "landmarks in hundredths of a pixel", "others")
    with TemporaryDirectory(prefix="dfdc-prep-") as scratch:

        def sha256(table: pa.Table) -> str:
            write_parquet(table, Path(scratch, "table"))
            return file_sha256(Path(scratch, "table"))

        found = {_MANIFEST: sha256(manifest)}
        if recipe.header["kind"] == file.SHARDS:
            given = shards_manifest(recipe, manifest)
            if not given.equals(pq.read_table(folder / _MANIFEST), check_metadata=True):
                raise _refusal(folder, "what a recipe can give", "other values", "give FACES")
        for name, derived in faces_tables(recipe, manifest):
            shown = [each for each in derived.column_names if each not in _POINTS]
            own = pq.read_table(folder / name).replace_schema_metadata()
            same = derived.column_names == own.column_names
            if same and derived.select(shown).equals(own.select(shown), check_metadata=True):
                found[name] = sha256(bound(derived, found[_MANIFEST]))
            else:
                del recipe.header["columns"][name]
                recipe.header["left_out"].append(f"{name}, which has rows of another order")
    return {} if pc.any(given_masks).as_py() else found
