"""DFDC: folders of clips, each with a metadata.json that names labels and originals."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dfdc_prep.catalog import files
from dfdc_prep.catalog.clips import Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.errors import SourceError
from manifests.labels import LABELS, NO_LABEL, REAL
from manifests.wording import abbreviated, counted, listed

METADATA = "metadata.json"
DATASET = "dfdc"
_SHAPE = (
    "a DFDC tree: folders such as dfdc_train_part_0, each with its clips and a metadata.json "
    'of the form {"clip.mp4": {"label": "FAKE", "original": "other.mp4"}}'
)
#: Levels of folders below the source that are searched for parts: unpacking the archives
#: often adds one or two.
_MAX_DEPTH = 3
#: Values that mean "no original" in DFDC's metadata.
_NO_ORIGINAL = ("", "none", "null", "nan")
_SPLITS = ("train", "validation", "test")
#: Names of the challenge's folders of clips without labels, in lower case.
_TEST_FOLDER = re.compile(r"test(_videos)?([ _-]?\(?\d+\)?)?")
_AGAIN = "download the part's metadata.json again"


def _read(source: Path, options: SourceOptions) -> Listing:
    dataset = options.dataset or DATASET
    unknown = Provenance(dataset)
    provenances = {split: Provenance(dataset, official_split=split) for split in _SPLITS}
    entries: list[Entry] = []
    unnamed, refused = [], []
    parts, notes = _distinct_parts(source)
    for part, (folder, items) in parts.items():
        metadata = folder / METADATA
        rows = []
        for video, fields in items.items():
            given = fields if isinstance(fields, dict) else {}
            original = given.get("original")
            if isinstance(original, str) and original.lower() in _NO_ORIGINAL:
                original = None
            if not files.is_file_name(video) or (
                isinstance(original, str) and not files.is_file_name(original)
            ):
                refused.append(f"{part}/{video}")
                continue
            label = given.get("label")
            label = label.upper() if isinstance(label, str) else None
            if label not in LABELS:
                raise SourceError(
                    f"expected a label REAL or FAKE for {abbreviated(video)} in {metadata}, found "
                    f"{abbreviated(fields)}; correct the entry"
                )
            if label != REAL and not isinstance(original, str | None):
                raise SourceError(
                    f"expected a file name as original of {abbreviated(video)} in {metadata}, "
                    f"found {abbreviated(original)}; correct the entry"
                )
            split = given.get("split")
            known = provenances.get(split, unknown) if isinstance(split, str) else unknown
            rows.append((video, label, None if label == REAL else original, known))
        sizes = files.file_sizes(folder, {row[0] for row in rows})
        # Join strings: creating a hundred thousand Path objects takes seconds.
        entries += [
            Entry(part, video, label, original, f"{folder}{os.sep}{video}", sizes.get(video), known)
            for video, label, original, known in rows
        ]
        unnamed += [
            f"{part}/{name}" for name in files.unnamed_videos(sizes, (row[0] for row in rows))
        ]
    if not entries and not refused:
        raise SourceError(
            f"expected {_SHAPE}, found no metadata.json with a clip below {source}; "
            "give the folder that contains the parts"
        )
    unnamed.sort()
    notes += [f"not named by any metadata.json, left out: {listed(unnamed)}"] if unnamed else []
    tests, refused_tests, told = _read_unlabelled(source, parts, dataset)
    entries, refused, notes = entries + tests, refused + refused_tests, notes + told
    return Listing(dataset, entries, unnamed, notes, refused)


def _read_unlabelled(
    source: Path, parts: Mapping[str, tuple[Path, dict[str, Any]]], dataset: str
) -> tuple[list[Entry], list[str], list[str]]:
    """The clips of the challenge's tests, names of theirs that are refused, and notes on all."""
    entries: list[Entry] = []
    refused, notes, named = [], [], set(parts)
    read = {folder for folder, _ in parts.values()}
    for folder in _folders_without_labels(source, read):
        sizes = files.clip_sizes(folder)
        clips = counted(len(sizes), "clip")
        if not _TEST_FOLDER.fullmatch(folder.name.lower()) or folder.name in named:
            notes.append(
                f"no metadata.json in {folder}, {clips} left out: download that of the part, or "
                "give the folder to extract alone, for crops without labels"
            )
            continue
        named.add(folder.name)
        files.check_file_name(source, folder.name)
        about = Provenance(dataset, official_split="test")
        entries += [
            Entry(folder.name, video, NO_LABEL, None, f"{folder}{os.sep}{video}", size, about)
            for video, size in sorted(sizes.items())
            if files.is_file_name(video)
        ]
        refused += [f"{folder.name}/{v}" for v in sizes if not files.is_file_name(v)]
        notes.append(
            f"no metadata.json in {folder}, {clips} without a label: balance, split and shard "
            "leave their crops out"
        )
    return entries, refused, notes


def _distinct_parts(source: Path) -> tuple[dict[str, tuple[Path, dict[str, Any]]], list[str]]:
    """The folders with a metadata.json by name, sorted, with its items; and notes on copies.

    They may include the source itself.
    """
    parts: dict[str, tuple[Path, dict[str, Any]]] = {}
    first: dict[frozenset[str], tuple[Path, dict[str, Any]]] = {}
    notes = []
    for folder in find_parts(source):
        name = folder.resolve().name
        if not name.isprintable():
            raise SourceError(
                f"expected parts with printable names below {source}, found {abbreviated(name)}; "
                "rename the folder"
            )
        items = load_metadata(folder / METADATA)
        earlier, known = first.setdefault(frozenset(items), (folder, items))
        same = items and earlier != folder and known == items
        if same and files.file_sizes(folder) == files.file_sizes(earlier):
            notes.append(f"left out, the clips of {folder} are those of {earlier}: a part twice")
        elif name in parts:
            raise SourceError(
                f"expected parts with different names below {source}, found {name} twice, "
                f"in {parts[name][0].parent} and {folder.parent}; rename or move one of them"
            )
        else:
            parts[name] = folder, items
    return dict(sorted(parts.items())), notes


def _folders_without_labels(source: Path, parts: Collection[Path]) -> list[Path]:
    """The folders with clips that are no parts, copies of parts or folders with other labels."""
    labelled = {METADATA, "labels.csv"}
    unread = [] if source in parts else files.unread_folders(source, parts, inside=False)
    return [folder for folder in unread if not labelled & set(files.listed_names(folder))]


def find_parts(folder: Path, depth: int = _MAX_DEPTH) -> Iterator[Path]:
    """Yield the parts at most `depth` levels below a folder; parts are not nested."""
    if (folder / METADATA).is_file():
        yield folder
        return
    for name in files.subfolders(folder) if depth else ():
        yield from find_parts(folder / name, depth - 1)


def load_metadata(path: Path) -> dict[str, Any]:
    """Return the parsed JSON object of a metadata.json; its values are not validated.

    Raises:
        SourceError: the file cannot be read or is not a JSON object with unique keys.
    """
    loaded = files.load_json(path, _AGAIN)
    if not isinstance(loaded, dict):
        raise SourceError(f"expected {_SHAPE}, found a {type(loaded).__name__} in {path}; {_AGAIN}")
    return loaded


DFDC = Layout("dfdc", _SHAPE, ((METADATA,),), _read)
