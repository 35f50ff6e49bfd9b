"""Rebuilds the crops, tables and shards of a recipe from another copy of the clips.

The run is that of `extract`, with its journal, slices, engines and buckets. But the families and
clips are those of the recipe, and so are frames and boxes, which are made of its rows when the turn
of a family comes.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.catalog.clips import Catalog, Clip, Provenance
from dfdc_prep.catalog.files import clips_below
from dfdc_prep.catalog.reader import read_bucket_catalog
from dfdc_prep.detectors.base import Face, Landmarks
from dfdc_prep.errors import OptionsDiffer, RecipeError, SourceError
from dfdc_prep.extraction.clip import OWN, Boxes, Given
from dfdc_prep.extraction.run import (
    REBUILD,
    Prepared,
    RunOptions,
    checked_places,
    confinement,
    extract,
)
from dfdc_prep.extraction.summary import RunSummary
from dfdc_prep.extraction.worker import package_versions
from dfdc_prep.recipe.comparison import Comparison, clip_starts, compare, shards_files
from dfdc_prep.recipe.file import SHARDS, Recipe, landmarks_of, read_recipe
from dfdc_prep.recipe.fingerprints import SAME, ClipPrint, describe_copy
from dfdc_prep.recipe.tables import faces_tables, shards_manifest
from dfdc_prep.storage.urls import Location, Url
from dfdc_prep.storage.workspace import Mirror, Push, Workspace, workspace
from dfdc_prep.video.source_file import clip_size
from manifests.arrow import MANIFEST_SCHEMA
from manifests.files import atomic_folder, parse_json, write_text
from manifests.folders import FacesFolder, ShardsFolder, path_meant
from manifests.labels import FAKE, LABELS
from manifests.schemas import PROVENANCE_COLUMNS, RECIPE_CLIP_COLUMNS
from manifests.tables.parquet import bound, manifest_hash, read_table, write_table

#: Columns of the rows of a clip that are needed to crop it.
_NEEDED = (
    *("part", "video", "status", "clip_bytes", "clip_sha256", "clip_frames", "first_frame"),
    *("first_frame_sketch", "frame", "x", "y", "w", "h", "score", "box_source", "width", "height"),
)
#: Families whose boxes are kept: more than are under way at a time.
_FAMILIES = 256
_MADE_BY = "dfdc-prep rebuild"
#: What is read of a faces folder in a bucket, beside crops.
_TABLES = (FacesFolder.MANIFEST, FacesFolder.CLIPS, FacesFolder.BALANCED, FacesFolder.SPLIT)


def rebuild(
    path: Path, source: Location, out: Location, shards: Path | None, run: RunOptions
) -> Comparison | RunSummary:
    """Rebuild the data set of a recipe; continue an earlier run.

    For the arguments and errors, see `dfdc_prep.commands.recipe.rebuild`.

    Returns:
        How it compares with the author's; for a slice, what was done.
    """
    recipe = read_recipe(path)
    if shards is not None:
        _check_shards(recipe, shards, run.overwrite)
    source, out = checked_places(source, out, run)
    catalog = _read_source(recipe, source)
    metadata = _run_metadata(recipe, source, catalog)
    metadata["confinement"] = confinement(source, out, run.engine)
    given = _Families(recipe).given
    ready = Prepared(source, out, catalog, recipe.crop_options, run, metadata, given=given)
    summary = extract(ready)
    if run.own_slice:
        return summary
    with workspace(out, _TABLES, Push(alone=True)) as space:
        folder = space.folder
        manifest = read_table(folder / FacesFolder.MANIFEST, MANIFEST_SCHEMA, _MADE_BY)
        made_from = manifest_hash(folder)
        for name, table in faces_tables(recipe, manifest):
            write_table(bound(table, made_from), folder / name)
        found = compare(recipe, folder, manifest, _fetching(space))
        if shards is not None:
            found = _rebuild_shards(recipe, manifest, space, shards, found)
    return _completed(recipe, shards, found, out)


def verify(path: Path, out: Location, shards: Path | None) -> Comparison:
    """Compare an existing faces folder, and shards, with those of a recipe; change nothing."""
    recipe = read_recipe(path)
    with workspace(out, _TABLES) as space:
        if not space.folder.is_dir():
            raise SourceError(
                f"expected a faces folder at {out}, found none; "
                + (path_meant(space.folder) or f"run {_MADE_BY} first")
            )
        found = compare(recipe, space.folder, None, _fetching(space))
    if shards is not None:
        found = replace(found, files=found.files | shards_files(recipe, shards))
    return _completed(recipe, shards, found, out)


def _completed(recipe: Recipe, shards: Path | None, found: Comparison, out: Location) -> Comparison:
    """Say of which folder it is, and whether shards that the recipe has were left alone."""
    notes = found.notes
    if shards is None and recipe.header["kind"] == SHARDS:
        notes = (*notes, "not compared: the shards, since no SHARDS is given")
    return replace(found, out=out, notes=notes)


def _fetching(space: Workspace) -> Callable[[list[str]], object]:
    return space.pull if isinstance(space, Mirror) else list


def _run_metadata(recipe: Recipe, source: Location, catalog: Catalog) -> dict[str, Any]:
    """The content of run.json."""
    detector, crops = recipe.header["detector"], recipe.header["crops"]
    named = {"detector": detector["name"], "model_sha256": detector["sha256"]}
    return {
        "command": REBUILD,
        "source": str(source),
        "options": {"recipe": recipe.sha256, **catalog.options, **crops, **named},
        "versions": package_versions(),
        "author_versions": recipe.header["versions"],
    }


def _read_source(recipe: Recipe, source: Location) -> Catalog:
    if isinstance(source, Url):
        return read_bucket_catalog(source, lambda folder: read_clips(recipe, folder))
    if not source.is_dir():
        raise SourceError(
            f"expected the clips of the recipe below {source}, found no such folder; "
            + (path_meant(source) or "give its path")
        )
    return read_clips(recipe, source)


def read_clips(recipe: Recipe, folder: Path) -> Catalog:
    """The clips of a recipe, with their files below a folder.

    A clip's file is the one at the author's path, or in the folder of its part. Else it is the only
    one of its name, or of several the one that has the size of the author's.

    Raises:
        SourceError, SourceUnreachable: a folder, or the size of a clip, cannot be read.
    """
    columns = [*RECIPE_CLIP_COLUMNS]
    rows = recipe.table.take(pa.array(clip_starts(recipe.table))).select(columns).to_pylist()
    provenances: dict[tuple[str | None, ...], Provenance] = {}
    named: dict[str, list[tuple[Path, int]]] | None = None
    clips = []
    for row in rows:
        own = f"{row['part']}/{row['video']}"
        path = next((folder / p for p in (row["file"], own) if p and (folder / p).exists()), None)
        size = None
        if path is None:
            if named is None:
                named = _clips_by_name(folder)
            others = named.get(row["video"], [])
            if len(others) > 1:
                others = [each for each in others if each[1] == row["clip_bytes"]]
            path, size = others[0] if len(others) == 1 else (folder / (row["file"] or own), None)
        else:
            size = clip_size(path)
        key = tuple(row[name] for name in PROVENANCE_COLUMNS)
        provenance = provenances.setdefault(key, Provenance(*key))
        names = {n: row[n] for n in ("part", "video", "label", "original", "family", "folder")}
        source = row["family_source"]
        clip = Clip(**names, path=str(path), size=size, provenance=provenance, family_source=source)
        clips.append(clip)
    return Catalog(tuple(sorted(clips)), (), options=recipe.header["source"])


def _clips_by_name(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    found: dict[str, list[tuple[Path, int]]] = {}
    for names, sizes in clips_below(folder):
        for name, size in sizes.items():
            found.setdefault(name, []).append((folder.joinpath(*names, name), size))
    return found


class _Families:
    """What a recipe gives of the clips, a family at a time."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        names = recipe.table["family"]
        changes = pc.not_equal(names[1:], names[:-1]).to_numpy()
        starts = np.flatnonzero(np.append(True, changes)).tolist()
        ends = [*starts[1:], len(names)]
        firsts = names.take(pa.array(starts)).to_pylist()
        self._rows = dict(zip(firsts, zip(starts, ends, strict=True), strict=True))
        self._family = lru_cache(_FAMILIES)(self._read)

    def given(self, clip: Clip) -> Given:
        """What the recipe gives of a clip."""
        family = self._family(clip.family)
        given = family[clip.part, clip.video]
        if not self._recipe.crop_options.compare or clip.label != FAKE:
            return given
        # Where its original's crops show the same places, they are read and not cut once more.
        boxes = given.boxes
        for name in (clip.original, clip.family):
            named = [key for key in family if key[1] == name and key != (clip.part, clip.video)]
            if named:
                key = min(named, key=lambda key: (key[0] != clip.part, key))
                faces = dict(zip(family[key].boxes.frames, family[key].boxes.faces, strict=True))
                equal = all(
                    faces.get(f) == g for f, g in zip(boxes.frames, boxes.faces, strict=True)
                )
                return replace(given, boxes=replace(boxes, origin=key if equal else None))
        return given

    def _read(self, name: str) -> dict[tuple[str, str], Given]:
        start, end = self._rows[name]
        table = self._recipe.table.slice(start, end - start)
        rows = table.select(_NEEDED).to_pylist()
        for row, points in zip(rows, landmarks_of(table).tolist(), strict=True):
            is_there = points[0][0] == points[0][0]  # not NaN
            row["landmarks"] = Landmarks(*map(tuple, points)) if is_there else None
        clips = {key: [*of] for key, of in groupby(rows, lambda row: (row["part"], row["video"]))}
        hashes = {row["clip_sha256"] for row in rows} - {None}
        return {
            key: Given(
                _boxes_of(of),
                self._recipe.header["detector"]["name"],
                of[0]["status"],
                _describing(of[0], hashes - {of[0]["clip_sha256"]}),
            )
            for key, of in clips.items()
        }


def _describing(row: dict[str, Any], relatives: set[bytes]) -> Callable[[Path], str] | None:
    """What describes a copy of a clip, if the author had one."""
    if row["clip_sha256"] is None:
        return None
    names = ("clip_bytes", "clip_sha256", "clip_frames", "first_frame", "first_frame_sketch")
    expected = ClipPrint(*(row[name] for name in names))
    return partial(describe_copy, expected=expected, relatives=relatives)


def _boxes_of(rows: list[dict[str, Any]]) -> Boxes:
    """The boxes of a clip's crops."""
    crops = [row for row in rows if row["frame"] is not None]
    frames = {frame: [*of] for frame, of in groupby(crops, lambda row: row["frame"])}
    sizes = {(row["width"], row["height"]) for row in crops}
    width, height = sizes.pop() if len(sizes) == 1 else (None, None)
    return Boxes(
        crops[0]["box_source"] if crops else OWN,
        width,
        height,
        tuple(frames),
        tuple(
            tuple(
                Face(**{name: row[name] for name in ("x", "y", "w", "h", "score", "landmarks")})
                for row in of
            )
            for of in frames.values()
        ),
    )


def _check_shards(recipe: Recipe, shards: Path, overwrite: bool) -> None:
    """Raise unless the recipe has shards, and the folder may be written."""
    if recipe.header["kind"] != SHARDS:
        raise RecipeError(
            "expected a recipe of shards, found one of a faces folder; leave out SHARDS, and run "
            "dfdc-prep shard on the faces folder"
        )
    if not shards.exists() or (shards.is_dir() and not any(shards.iterdir())):
        return
    if overwrite:
        ShardsFolder.check_replaceable(shards)
    elif set(shards_files(recipe, shards).values()) != {SAME}:
        raise OptionsDiffer(
            f"expected {shards} to be empty or the recipe's shards, found something else; use "
            "--overwrite to replace shards, or choose another folder"
        )


def _rebuild_shards(
    recipe: Recipe, manifest: pa.Table, space: Workspace, shards: Path, found: Comparison
) -> Comparison:
    """Write the shards, unless a crop is not the author's."""
    rows = shards_manifest(recipe, manifest)
    wanted = len(recipe.table) - recipe.table["record"].null_count
    if not found.ok or rows.num_rows < wanted:
        note = f"{shards} not written: it would not have the author's crops"
        return replace(found, notes=(*found.notes, note))
    _check_rows(rows)
    if set(shards_files(recipe, shards).values()) != {SAME}:
        _fetching(space)([each for n in ("path", "mask") for each in rows[n].to_pylist() if each])
        try:
            _write_shards(recipe, rows, space.folder, shards)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecipeError(
                f"expected the files of shards in the recipe, found others ({error}); get the "
                "recipe again from its author"
            ) from error
    return replace(found, files=found.files | shards_files(recipe, shards))


def _check_rows(rows: pa.Table) -> None:
    """Raise RecipeError unless the rows can be those of shards."""
    shards = rows["shard"].to_pylist()
    pieces = [name for name, _ in groupby(shards)]
    names = set(pieces)
    labels = set(pc.unique(rows["label"]).to_pylist())
    if len(names) < len(pieces) or not all(n and ShardsFolder.is_shard(n) for n in names):
        raise RecipeError(
            "expected the names of shards in their order in the recipe, found others; get the "
            "recipe again from its author"
        )
    if not labels <= set(LABELS):
        raise RecipeError(f"expected the labels {' and '.join(LABELS)} of shards, found others")


def _write_shards(recipe: Recipe, rows: pa.Table, folder: Path, shards: Path) -> None:
    # Imported here because they load slowly, and most recipes are of crops.
    from dfdc_prep.crops.files import CropFolders, CropReader
    from dfdc_prep.writing.tfrecord import TFRecords
    from dfdc_prep.writing.writer import describe, write_sums

    texts = dict(recipe.header["files"])
    metadata = parse_json(texts[ShardsFolder.METADATA])
    images, card = metadata["image_format"], metadata.get("card", {})
    quality = metadata["quality"] or 95
    output = TFRecords(None, images, quality, card)
    reader = CropReader(CropFolders.single(folder), images, quality, output.crop_size)
    with atomic_folder(shards) as temporary:
        written = output.write_assigned(rows, reader, temporary)
        describe(temporary, output, written, metadata)
        # Another version of this project may describe the same shards in other words.
        sums = texts.pop(ShardsFolder.SUMS).splitlines()
        if all(f"{sha256}  {name}" in sums for name, sha256 in written.hashes.items()):
            for name, text in texts.items():
                write_text(temporary / name, text)
            write_sums(temporary, written.hashes)
