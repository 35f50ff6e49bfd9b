"""Reads the crops of one or several faces folders, with the split of each, and their images."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.files import CropFolders
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress
from manifests.arrow import MANIFEST_SCHEMA, SPLIT_SCHEMA
from manifests.balancing.sets import balance_sets
from manifests.errors import TableError
from manifests.files import file_sha256
from manifests.folders import FacesFolder
from manifests.identities.table import FILE, join_people
from manifests.pictures.near_identical import rows_to_compare
from manifests.pictures.thumbnails import SIDE, Pictures, Thumbnails, thumbnail
from manifests.splitting import sets
from manifests.splitting.groups import IDENTITY, JOINED, drop_joined
from manifests.splitting.split import SplitPlan
from manifests.tables.codes import Mask, dataset_column
from manifests.tables.parquet import check_bound, manifest_hash, read_manifest
from manifests.tables.sources import CLIP, CropSet, join_sets, label_rows

#: Values of `--crops`: the table of a faces folder that is read.
BALANCED, ALL, SPLIT = "balanced", "all", "split"
_TABLES = {BALANCED: FacesFolder.BALANCED, ALL: FacesFolder.MANIFEST, SPLIT: FacesFolder.SPLIT}
_MADE_BY = {BALANCED: "dfdc-prep balance", ALL: "dfdc-prep extract", SPLIT: "dfdc-prep split"}
#: What metadata.json has as `group_by` where the splits were taken from a table.
GIVEN = "given"
#: Images held in memory at a time, and handed to a thread at a time.
_BLOCK, _PART = 1024, 32


@dataclass(frozen=True)
class CropSelection:
    """Which crops of a faces folder are taken, and how they are split."""

    plan: SplitPlan  # the splits, the grouping, and the seed
    # balanced, all, or split: those of split.parquet, with its splits instead of the plan's
    crops: str = BALANCED
    label_by: str = CLIP  # clip; or face: a face of a fake that was not changed is REAL
    join_duplicates: bool = True  # whether families with near-identical crops go to one split

    @property
    def compares(self) -> bool:
        """Whether crops are compared, so that near-identical ones go to one split."""
        several = len(self.plan.names) > 1 and self.plan.group_by != "none"
        return self.join_duplicates and several and self.crops != SPLIT


class SplitCrops(NamedTuple):
    """The selected crops."""

    table: pa.Table  #: the rows of the manifest, with the column `joined_family`
    splits: sets.RowsInSplits  #: the split of each row
    folders: CropFolders  #: what the paths of the rows are relative to
    seed: int  #: of the split, and of the shuffle within it
    text: str  #: a description for the terminal


def read_crops(faces: Sequence[Path], selection: CropSelection) -> SplitCrops:
    """Read the crops of one or several faces folders and split them.

    Several folders are joined by `join_sets` and, unless all crops or a split are asked for,
    reduced to equal numbers by `balance_sets`; each data set is split by itself.

    Raises:
        TableError: a table is missing or invalid, or the crops cannot be balanced or split,
            or a split has none.
    """
    tables = [_read_table(folder, selection) for folder in faces]
    if len(faces) == 1:
        (table,), folders, text = tables, CropFolders.single(faces[0]), ""
    else:
        table, folders = _join(faces, tables, selection)
        text = ""
        if selection.crops == BALANCED:
            balanced = balance_sets(table, selection.plan.seed)
            table, text = balanced.table, balanced.text() + "\n"
    if selection.crops == SPLIT:
        splits = sets.given_splits(table)
    else:
        pictures = read_pictures(table, folders.resolve) if selection.compares else None
        split = sets.split_rows if len(faces) == 1 else sets.split_each_set
        splits = split(table, selection.plan, pictures)
        sets.check_every_split(splits.names, splits.order)
    table = drop_joined(table).append_column(SPLIT_SCHEMA.field(JOINED), splits.joined)
    return SplitCrops(table, splits, folders, selection.plan.seed, text + splits.text)


def _read_table(folder: Path, selection: CropSelection) -> pa.Table:
    schema = SPLIT_SCHEMA if selection.crops == SPLIT else MANIFEST_SCHEMA
    source = folder / _TABLES[selection.crops]
    table = label_rows(read_manifest(source, _MADE_BY[selection.crops], schema), selection.label_by)
    if selection.crops != ALL:
        check_bound(source, manifest_hash(folder), _MADE_BY[selection.crops])
    if selection.plan.group_by == IDENTITY and selection.crops != SPLIT:
        table = join_people(table, folder)
    return table


def _join(
    faces: Sequence[Path], tables: Sequence[pa.Table], selection: CropSelection
) -> tuple[pa.Table, CropFolders]:
    """Join the tables of several folders, in an order that does not depend on the arguments."""
    hashes = [file_sha256(folder / _TABLES[selection.crops]) for folder in faces]
    paths = [os.path.realpath(folder) for folder in faces]
    # The data sets that the tables name; a folder's own name if its table names none, or several.
    named = [pc.unique(dataset_column(table)).to_pylist() for table in tables]
    known = [len(found) == 1 and found[0] is not None for found in named]
    names = [
        str(found[0]) if sure else Path(path).name
        for found, sure, path in zip(named, known, paths, strict=True)
    ]
    _check_names(faces, paths, names, known)
    crop_sets, roots, seen = [], {}, Counter[str]()
    for index in sorted(range(len(faces)), key=lambda index: (names[index], hashes[index])):
        name = names[index]
        seen[name] += 1
        prefix = name if seen[name] == 1 else f"{name}.{seen[name]}"
        crop_sets.append(CropSet(prefix, name, tables[index]))
        roots[prefix] = paths[index]
    return join_sets(crop_sets), CropFolders(roots)


def _check_names(
    faces: Sequence[Path], paths: Sequence[str], names: Sequence[str], known: Sequence[bool]
) -> None:
    """Raise TableError if two folders cannot be told apart, or a name cannot begin a path."""
    for index, name in enumerate(names):
        if paths[index] in paths[:index]:
            raise TableError(
                f"expected different faces folders, found {faces[index]} twice; name it once"
            )
        if "/" in name or not name:
            raise TableError(
                f"expected a data set's name without a slash in {faces[index]}, found {name!r}; "
                "extract or import again with another --dataset"
            )
        same = [other for other in range(index) if names[other] == name]
        if same and not (known[index] and all(known[other] for other in same)):
            raise TableError(
                f"expected the name of a data set for each folder, found none for {faces[same[0]]} "
                f"or {faces[index]}, which are both called {name}; rename one of the folders, or "
                "extract or import again with --dataset"
            )


def crops_metadata(faces: Sequence[Path], selection: CropSelection) -> dict[str, Any]:
    """What determines the rows and their splits, for metadata.json; raises as `read_crops`."""
    for folder in faces:
        _read_table(folder, selection)
    name, given = _TABLES[selection.crops], selection.crops == SPLIT
    # A single value itself; several in an order that does not depend on the arguments.
    sources = [{"file": name, "sha256": file_sha256(folder / name)} for folder in faces]
    sources.sort(key=str)
    fractions = {split: round(share, 6) for split, share in selection.plan.fractions}
    found: dict[str, Any] = {
        "source": sources if len(faces) > 1 else sources[0],
        "split": name if given else fractions,
        "group_by": GIVEN if given else selection.plan.group_by,
        "seed": selection.plan.seed,
    }
    if not given:
        found["join_duplicates"] = selection.compares
    if selection.label_by != CLIP:
        found["label_by"] = selection.label_by
    if selection.plan.group_by == IDENTITY and not given:
        # Without these files, the data set names its people.
        people = sorted(file_sha256(file / FILE) for file in faces if (file / FILE).is_file())
        if people:
            found["identities"] = people if len(people) > 1 else people[0]
    return found


def read_pictures(table: pa.Table, locate: Callable[[str], str | None]) -> Pictures:
    """Read the thumbnails of the images that the column `path` of a table names, if it has one.

    `locate` returns the file of a path; None if there can be none.
    """
    wanted = rows_to_compare(table)
    if "path" not in table.column_names:
        return Pictures(np.empty(0, np.int64), np.empty((0, SIDE, SIDE), np.uint8))
    paths = zip(table["path"].to_pylist(), wanted.tolist(), strict=True)
    files = (locate(path) if path and want else None for path, want in paths)
    return read_images(map(read_image, files), wanted)[1]


def read_image(file: str | None) -> bytes | None:
    """Return the bytes of an image file; None if there is no such file."""
    return Path(file).read_bytes() if file and os.path.isfile(file) else None


def read_images(images: Iterator[bytes | None], wanted: Mask) -> tuple[list[str | None], Pictures]:
    """Read the images of a table, one per row, a block at a time; None for a missing image.

    Returns:
        The SHA-256 of each row's image; and the thumbnails of the rows that were wanted, bool
        [rows], and could be decoded.
    """
    hashes: list[str | None] = []
    rows: list[int] = []
    thumbnails: list[Thumbnails] = []
    bar = Progress(len(wanted), "images", "compare")
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(wanted), _BLOCK):
            block = list(islice(images, min(_BLOCK, len(wanted) - start)))
            kept = wanted[start : start + _BLOCK].tolist()
            parts = [slice(first, first + _PART) for first in range(0, len(block), _PART)]
            read = pool.map(_read_part, (block[p] for p in parts), (kept[p] for p in parts))
            for row, (digest, small) in enumerate(chain.from_iterable(read), start):
                hashes.append(digest)
                if small is not None:
                    rows.append(row)
                    thumbnails.append(small)
            bar.update(len(block))
    stack = np.array(thumbnails, np.uint8).reshape(-1, SIDE, SIDE)
    return hashes, Pictures(np.array(rows, np.int64), stack)


def _read_part(
    images: list[bytes | None], wanted: list[bool]
) -> list[tuple[str | None, Thumbnails | None]]:
    """The SHA-256 and, where it is wanted, the thumbnail of each image."""
    return [
        (None, None)
        if image is None
        else (hashlib.sha256(image).hexdigest(), thumbnail(image) if want else None)
        for image, want in zip(images, wanted, strict=True)
    ]
