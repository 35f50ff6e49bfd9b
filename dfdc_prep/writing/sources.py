"""Reads the crops of one or several faces folders, with the split of each, and their images."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.files import CropFolders
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress
from manifests.balancing.sets import balance_sets
from manifests.errors import TableError
from manifests.files import file_sha256
from manifests.folders import FacesFolder
from manifests.identities.table import FILE, join_people
from manifests.pictures.near_identical import rows_to_compare
from manifests.pictures.thumbnails import SIDE, Pictures, Thumbnails, thumbnail
from manifests.schema import MANIFEST_SCHEMA, SPLIT_SCHEMA
from manifests.splitting.groups import IDENTITY, JOINED, drop_joined
from manifests.splitting.sets import (
    RowsInSplits,
    check_every_split,
    given_splits,
    split_each_set,
    split_rows,
)
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
class CropChoice:
    """Which crops of a faces folder are taken, and how they are split.

    Attributes:
        plan: the splits, the grouping, and the seed.
        crops: `balanced`, `all`, or `split`: the crops of split.parquet, whose splits are taken
            instead of those of the plan.
        label_by: `clip`, or `face`: a face of a fake that was not changed is REAL.
        join_duplicates: whether families whose crops are near-identical go to one split.
    """

    plan: SplitPlan
    crops: str = BALANCED
    label_by: str = CLIP
    join_duplicates: bool = True

    @property
    def compares(self) -> bool:
        """Whether crops are compared, so that near-identical ones go to one split."""
        several = len(self.plan.names) > 1 and self.plan.group_by != "none"
        return self.join_duplicates and several and self.crops != SPLIT


@dataclass(frozen=True)
class SplitCrops:
    """The chosen crops.

    Attributes:
        table: the rows of the manifest, with the column `joined_family`.
        splits: the split of each row.
        folders: what the paths of the rows are relative to.
        seed: of the split, and of the shuffle within it.
        text: a description for the terminal.
    """

    table: pa.Table
    splits: RowsInSplits
    folders: CropFolders
    seed: int
    text: str


def read_crops(faces: Sequence[Path], choice: CropChoice) -> SplitCrops:
    """Read the crops of one or several faces folders and split them.

    Several folders are joined by `join_sets` and, unless all crops or a split are asked for,
    reduced to equal numbers by `balance_sets`; each data set is split by itself.

    Raises:
        TableError: a table is missing or invalid, or the crops cannot be balanced or split,
            or a split has none.
    """
    tables = [_read_table(folder, choice) for folder in faces]
    if len(faces) == 1:
        (table,), folders, text = tables, CropFolders.single(faces[0]), ""
    else:
        table, folders = _join(faces, tables, choice)
        text = ""
        if choice.crops == BALANCED:
            balanced = balance_sets(table, choice.plan.seed)
            table, text = balanced.table, balanced.text() + "\n"
    if choice.crops == SPLIT:
        splits = given_splits(table)
    else:
        pictures = read_pictures(table, folders.resolve) if choice.compares else None
        split = split_rows if len(faces) == 1 else split_each_set
        splits = split(table, choice.plan, pictures)
        check_every_split(splits.names, splits.order)
    table = drop_joined(table).append_column(SPLIT_SCHEMA.field(JOINED), splits.joined)
    return SplitCrops(table, splits, folders, choice.plan.seed, text + splits.text)


def _read_table(folder: Path, choice: CropChoice) -> pa.Table:
    schema = SPLIT_SCHEMA if choice.crops == SPLIT else MANIFEST_SCHEMA
    source = folder / _TABLES[choice.crops]
    table = label_rows(read_manifest(source, _MADE_BY[choice.crops], schema), choice.label_by)
    if choice.crops != ALL:
        check_bound(source, manifest_hash(folder), _MADE_BY[choice.crops])
    if choice.plan.group_by == IDENTITY and choice.crops != SPLIT:
        table = join_people(table, folder)
    return table


def _join(
    faces: Sequence[Path], tables: Sequence[pa.Table], choice: CropChoice
) -> tuple[pa.Table, CropFolders]:
    """Join the tables of several folders, in an order that does not depend on the arguments."""
    hashes = [file_sha256(folder / _TABLES[choice.crops]) for folder in faces]
    names = [_data_set(folder, table) for folder, table in zip(faces, tables, strict=True)]
    _check_names(faces, names)
    order = sorted(range(len(faces)), key=lambda at: (names[at][0], hashes[at]))
    sets, roots, seen = [], {}, Counter[str]()
    for at in order:
        name, _ = names[at]
        seen[name] += 1
        prefix = name if seen[name] == 1 else f"{name}.{seen[name]}"
        sets.append(CropSet(prefix, name, tables[at]))
        roots[prefix] = os.path.realpath(faces[at])
    return join_sets(sets), CropFolders(roots)


def _data_set(folder: Path, table: pa.Table) -> tuple[str, bool]:
    """The data set of a folder's crops, and whether the table says so.

    If the table names none, or several, it is the folder's own name.
    """
    found = pc.unique(dataset_column(table)).to_pylist()
    if len(found) == 1 and found[0] is not None:
        return str(found[0]), True
    return Path(os.path.realpath(folder)).name, False


def _check_names(faces: Sequence[Path], names: Sequence[tuple[str, bool]]) -> None:
    """Raise TableError if two folders cannot be told apart, or a name cannot begin a path."""
    paths = [os.path.realpath(folder) for folder in faces]
    for at, (name, known) in enumerate(names):
        if paths[at] in paths[:at]:
            raise TableError(
                f"expected different faces folders, found {faces[at]} twice; name it once"
            )
        if "/" in name or not name:
            raise TableError(
                f"expected a data set's name without a slash in {faces[at]}, found {name!r}; "
                "extract or import again with another --dataset"
            )
        same = [other for other in range(at) if names[other][0] == name]
        if same and not (known and all(names[other][1] for other in same)):
            raise TableError(
                f"expected the name of a data set for each folder, found none for {faces[same[0]]} "
                f"or {faces[at]}, which are both called {name}; rename one of the folders, or "
                "extract or import again with --dataset"
            )


def crops_metadata(faces: Sequence[Path], choice: CropChoice) -> dict[str, Any]:
    """What determines the rows and their splits, for metadata.json.

    Raises:
        TableError: a table is missing, invalid, or of another manifest.
    """
    for folder in faces:
        _read_table(folder, choice)
    name, given = _TABLES[choice.crops], choice.crops == SPLIT
    sources = [{"file": name, "sha256": file_sha256(folder / name)} for folder in faces]
    fractions = {split: round(share, 6) for split, share in choice.plan.fractions}
    found = {
        "source": _one_or_sorted(sources),
        "split": name if given else fractions,
        "group_by": GIVEN if given else choice.plan.group_by,
        "seed": choice.plan.seed,
    }
    if not given:
        found["join_duplicates"] = choice.compares
    if choice.label_by != CLIP:
        found["label_by"] = choice.label_by
    if choice.plan.group_by == IDENTITY and not given:
        files = [folder / FILE for folder in faces if (folder / FILE).is_file()]
        if files:  # otherwise the data set names its people
            found["identities"] = _one_or_sorted([file_sha256(file) for file in files])
    return found


def _one_or_sorted(values: list[Any]) -> Any:
    """A single value itself; several in an order that does not depend on the arguments."""
    return values[0] if len(values) == 1 else sorted(values, key=str)


def read_image(file: str) -> bytes | None:
    """Return the bytes of an image file; None if there is no such file."""
    return Path(file).read_bytes() if os.path.isfile(file) else None


def read_pictures(table: pa.Table, locate: Callable[[str], str | None]) -> Pictures:
    """Read the thumbnails of the images that the column `path` of a table names, if it has one.

    Args:
        locate: returns the file of a path; None if there can be none.
    """
    wanted = rows_to_compare(table)
    if "path" not in table.column_names:
        wanted[:] = False
        return read_images(iter([None] * len(wanted)), wanted)[1]
    paths = zip(table["path"].to_pylist(), wanted.tolist(), strict=True)
    files = (locate(path) if path and want else None for path, want in paths)
    return read_images((read_image(file) if file else None for file in files), wanted)[1]


def read_images(images: Iterator[bytes | None], wanted: Mask) -> tuple[list[str | None], Pictures]:
    """Read the images of a table, one per row, a block at a time.

    Args:
        images: the encoded image of each row; None where there is none.
        wanted: bool [rows], the rows whose thumbnails are wanted.

    Returns:
        The SHA-256 of each row's image, None without; and the thumbnails of the rows that were
        wanted and could be decoded.
    """
    hashes: list[str | None] = []
    rows: list[int] = []
    thumbnails: list[Thumbnails] = []
    bar = Progress(len(wanted), "images", "compare")
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(wanted), _BLOCK):
            block = list(islice(images, min(_BLOCK, len(wanted) - start)))
            kept = wanted[start : start + _BLOCK].tolist()
            parts = (slice(at, at + _PART) for at in range(0, len(block), _PART))
            tasks = [(block[part], kept[part]) for part in parts]
            read = [each for part in pool.map(_read_part, tasks) for each in part]
            hashes += [digest for digest, _ in read]
            for row, (_, small) in enumerate(read, start):
                if small is not None:
                    rows.append(row)
                    thumbnails.append(small)
            bar.update(len(block))
    stack = np.array(thumbnails, np.uint8).reshape(-1, SIDE, SIDE)
    return hashes, Pictures(np.array(rows, np.int64), stack)


def _read_part(
    part: tuple[list[bytes | None], list[bool]],
) -> list[tuple[str | None, Thumbnails | None]]:
    return [
        (None, None)
        if image is None
        else (hashlib.sha256(image).hexdigest(), thumbnail(image) if wanted else None)
        for image, wanted in zip(*part, strict=True)
    ]
