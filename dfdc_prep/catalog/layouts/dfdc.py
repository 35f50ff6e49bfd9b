"""DFDC: folders of clips, each with a metadata.json that names labels and originals."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dfdc_prep.catalog import files
from dfdc_prep.catalog.clips import Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.errors import SourceError
from manifests.labels import LABELS, REAL
from manifests.wording import abbreviated, listed

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
_AGAIN = "download the part's metadata.json again"


def _read(source: Path, options: SourceOptions) -> Listing:
    dataset = options.dataset or DATASET
    unknown = Provenance(dataset)
    provenances = {split: Provenance(dataset, official_split=split) for split in _SPLITS}
    entries: list[Entry] = []
    unnamed, refused = [], []
    for part, folder in _find_parts(source).items():
        metadata = folder / METADATA
        rows = []
        for video, fields in load_metadata(metadata).items():
            given = fields if isinstance(fields, dict) else {}
            original = given.get("original")
            if isinstance(original, str) and original.lower() in _NO_ORIGINAL:
                original = None
            # Originals of other types are an error.
            if not files.is_file_name(video) or (
                isinstance(original, str) and not files.is_file_name(original)
            ):
                refused.append(f"{part}/{video}")
                continue
            label = _parse_label(metadata, video, fields, original)
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
            "pass the folder that contains the parts"
        )
    unnamed.sort()
    notes = [f"not named by any metadata.json, left out: {listed(unnamed)}"] if unnamed else []
    return Listing(dataset, entries, unnamed, notes, refused)


def _find_parts(source: Path) -> dict[str, Path]:
    """Return the folders with a metadata.json by name, sorted; may include the source itself."""
    parts: dict[str, Path] = {}
    for folder in _walk_parts(source, _MAX_DEPTH):
        name = folder.resolve().name
        if not name.isprintable():
            raise SourceError(
                f"expected parts with printable names below {source}, found {abbreviated(name)}; "
                "rename the folder"
            )
        if name in parts:
            raise SourceError(
                f"expected parts with different names below {source}, found {name} twice, "
                f"in {parts[name].parent} and {folder.parent}; rename or move one of them"
            )
        parts[name] = folder
    return dict(sorted(parts.items()))


def _walk_parts(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the parts at most `depth` levels below a folder; parts are not nested."""
    if (folder / METADATA).is_file():
        yield folder
        return
    for name in files.subfolders(folder) if depth else ():
        yield from _walk_parts(folder / name, depth - 1)


def load_metadata(path: Path) -> dict[str, Any]:
    """Return the parsed JSON object of a metadata.json; its values are not validated.

    Raises:
        SourceError: the file cannot be read or is not a JSON object with unique keys.
    """
    loaded = files.load_json(path, _AGAIN)
    if not isinstance(loaded, dict):
        raise SourceError(f"expected {_SHAPE}, found a {type(loaded).__name__} in {path}; {_AGAIN}")
    return loaded


def _parse_label(metadata: Path, video: str, fields: Any, original: Any) -> str:
    """The label of an item of a metadata.json; raise SourceError if it or a FAKE's original has
    another type."""
    label = fields.get("label") if isinstance(fields, dict) else None
    label = label.upper() if isinstance(label, str) else None
    if label not in LABELS:
        raise SourceError(
            f"expected a label REAL or FAKE for {abbreviated(video)} in {metadata}, found "
            f"{abbreviated(fields)}; correct the entry"
        )
    if label != REAL and not isinstance(original, str | None):
        raise SourceError(
            f"expected a file name as original of {abbreviated(video)} in {metadata}, found "
            f"{abbreviated(original)}; correct the entry"
        )
    return str(label)


DFDC = Layout("dfdc", _SHAPE, (METADATA,), _read)
