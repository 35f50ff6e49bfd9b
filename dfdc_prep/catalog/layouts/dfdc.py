"""DFDC: folders of clips, each with a metadata.json that names labels and originals."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.clips import Entry, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.files import (
    abbreviated,
    check_file_name,
    file_sizes,
    is_file_name,
    is_video,
    load_json,
    shortened,
    subfolders,
)
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, LABELS, REAL

METADATA = "metadata.json"
DATASET = "dfdc"
#: Levels of folders below the source that are searched for parts: unpacking the archives
#: often adds one or two.
_MAX_DEPTH = 3
#: Values that mean "no original" in DFDC's metadata.
_NO_ORIGINAL = (None, "", "none", "null", "nan")
_SPLITS = ("train", "validation", "test")
_AGAIN = "download the part's metadata.json again"

#: The clips of a metadata.json, without their part, path and size.
_Row = tuple[str, str, str | None, Provenance]


@dataclass(frozen=True)
class _Part:
    """A part: the rows of its metadata.json and the sizes of its files in bytes, by name."""

    name: str
    folder: str
    rows: list[_Row]
    sizes: dict[str, int]
    refused: list[str]


class Dfdc:
    """The parts of DFDC's training set, or one of them."""

    name = "dfdc"
    shape = (
        "a DFDC tree: folders such as dfdc_train_part_0, each with its clips and a metadata.json "
        'of the form {"clip.mp4": {"label": "FAKE", "original": "other.mp4"}}'
    )
    marks: tuple[str, ...] = (METADATA,)

    def dataset(self, source: Path, options: SourceOptions) -> str:
        return options.dataset or DATASET

    def read(self, source: Path, options: SourceOptions) -> Listing:
        dataset = self.dataset(source, options)
        provenances = {split: Provenance(dataset, official_split=split) for split in _SPLITS}
        unknown = Provenance(dataset)
        parts = [
            _read_part(name, folder, provenances, unknown)
            for name, folder in _find_parts(source).items()
        ]
        entries = [
            # Join strings: creating a hundred thousand Path objects takes seconds.
            Entry(
                part.name,
                video,
                label,
                original,
                f"{part.folder}{os.sep}{video}",
                part.sizes.get(video),
                provenance,
            )
            for part in parts
            for video, label, original, provenance in part.rows
        ]
        if not entries and not any(part.refused for part in parts):
            raise SourceError(
                f"expected {self.shape}, found no metadata.json with a clip below {source}; "
                "pass the folder that contains the parts"
            )
        unnamed = sorted(
            f"{part.name}/{name}"
            for part in parts
            for name in part.sizes.keys() - {row[0] for row in part.rows}
            if is_video(name)
        )
        notes = (f"not named by any metadata.json, left out: {shortened(unnamed)}",)
        refused = tuple(name for part in parts for name in part.refused)
        return Listing(entries, tuple(unnamed), notes if unnamed else (), refused=refused)


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
    if depth:
        for name in subfolders(folder):
            yield from _walk_parts(folder / name, depth - 1)


def _read_part(
    name: str, folder: Path, provenances: dict[str, Provenance], unknown: Provenance
) -> _Part:
    metadata = folder / METADATA
    rows: list[_Row] = []
    refused = []
    for video, fields in load_metadata(metadata).items():
        original = fields.get("original") if isinstance(fields, dict) else None
        if not (is_file_name(video) and _may_name(original)):
            refused.append(f"{name}/{video}")
            continue
        label, original = parse_entry(metadata, video, fields)
        split = fields.get("split")
        known = provenances.get(split, unknown) if isinstance(split, str) else unknown
        rows.append((video, label, original, known))
    return _Part(name, str(folder), rows, file_sizes(folder, {row[0] for row in rows}), refused)


def _may_name(original: Any) -> bool:
    """Whether a value of `original` is a file name, or none at all; other types are an error."""
    if not isinstance(original, str) or original.lower() in _NO_ORIGINAL:
        return True
    return is_file_name(original)


def load_metadata(path: Path) -> dict[str, Any]:
    """Return the parsed JSON object of a metadata.json; its values are not validated.

    Raises:
        SourceError: the file cannot be read or is not a JSON object with unique keys.
    """
    loaded = load_json(path, _AGAIN)
    if not isinstance(loaded, dict):
        raise SourceError(
            f"expected {Dfdc.shape}, found a {type(loaded).__name__} in {path}; {_AGAIN}"
        )
    return loaded


def parse_entry(metadata: Path, name: str, fields: Any) -> tuple[str, str | None]:
    """Validate one item of a metadata.json; return its label and its original.

    Args:
        metadata: path of the file, for messages.
        name: file name of the clip.
        fields: the unvalidated JSON value.

    Raises:
        SourceError: the name, label or original is invalid.
    """
    check_file_name(metadata, name)
    label = fields.get("label") if isinstance(fields, dict) else None
    label = label.upper() if isinstance(label, str) else None
    if label not in LABELS:
        raise SourceError(
            f"expected a label REAL or FAKE for {abbreviated(name)} in {metadata}, found "
            f"{abbreviated(fields)}; correct the entry"
        )
    original = fields.get("original")
    if isinstance(original, str) and original.lower() in _NO_ORIGINAL:
        original = None
    if label == REAL or original is None:
        return label, None
    if not isinstance(original, str):
        raise SourceError(
            f"expected a file name as original of {abbreviated(name)} in {metadata}, found "
            f"{abbreviated(original)}; correct the entry"
        )
    check_file_name(metadata, original)
    return FAKE, original
