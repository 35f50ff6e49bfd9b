"""Reads the metadata.json files of a DFDC tree into a `Catalog`. Does not open any video."""

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.clips import Catalog, Clip, Provenance
from dfdc_prep.errors import SourceError
from dfdc_prep.video.source_file import unreachable_error
from manifests.labels import FAKE, LABELS, REAL

METADATA = "metadata.json"
DATASET = "dfdc"
#: Values of a clip's "split", and what its columns say with them; None for any other.
_PROVENANCES = {
    name: Provenance(DATASET, official_split=split)
    for name, split in {
        None: None,
        "train": "train",
        "validation": "validation",
        "test": "test",
    }.items()
}
#: Levels of folders below the source that are searched for parts: unpacking the archives
#: often adds one or two.
_MAX_DEPTH = 3
#: Extensions of the files that are reported if no metadata.json lists them.
_VIDEO_EXTENSIONS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
#: Values that mean "no original" in DFDC's metadata.
_NO_ORIGINAL = (None, "", "none", "null", "nan")

_EXPECTED_TREE = (
    "a DFDC tree: folders such as dfdc_train_part_0, each with its clips and a metadata.json of "
    'the form {"clip.mp4": {"label": "FAKE", "original": "other.mp4"}}'
)


@dataclass(frozen=True)
class _MetadataEntry:
    """One clip as listed in metadata.json."""

    video: str
    label: str
    original: str | None
    provenance: Provenance = _PROVENANCES[None]


@dataclass(frozen=True)
class _Part:
    """A part: the entries of its metadata.json and the sizes of its files in bytes, by name."""

    name: str
    folder: str
    entries: list[_MetadataEntry]
    sizes: dict[str, int]


def read_catalog(source: Path, limit: int | None = None) -> Catalog:
    """Read the metadata of every part below a source.

    Args:
        source: a folder of parts, or one part.
        limit: keep only the first families that together have at least this many clips.

    Raises:
        SourceError: the folder does not exist, contains no metadata.json, or contains an
            invalid one, such as one that uses a path as a clip's name.
        SourceUnreachable: the size of a clip cannot be read.
    """
    if not source.is_dir():
        raise SourceError(f"expected {_EXPECTED_TREE}, found no folder {source}; give its path")
    parts = [_read_part(name, folder) for name, folder in _find_parts(source).items()]
    rows = [(part, entry) for part in parts for entry in part.entries]
    if not rows:
        raise SourceError(
            f"expected {_EXPECTED_TREE}, found no metadata.json with a clip below {source}; "
            "pass the folder that contains the parts"
        )
    families = _family_names([entry for _, entry in rows])
    name_counts = Counter(
        (part.name, name) for part, entry in rows for name in {_stem(entry.video), entry.video}
    )
    clips = sorted(
        Clip(
            part.name,
            entry.video,
            entry.label,
            entry.original,
            family,
            _crop_folder(part.name, entry.video, name_counts),
            # Join strings: creating a hundred thousand Path objects takes seconds.
            f"{part.folder}{os.sep}{entry.video}",
            part.sizes.get(entry.video),
            entry.provenance,
        )
        for (part, entry), family in zip(rows, families, strict=True)
    )
    unnamed = sorted(
        f"{part.name}/{name}"
        for part in parts
        for name in part.sizes.keys() - {entry.video for entry in part.entries}
        if os.path.splitext(name)[1].lower() in _VIDEO_EXTENSIONS
    )
    return Catalog(tuple(clips), tuple(unnamed)).limited(limit)


def _crop_folder(part: str, video: str, name_counts: Counter[tuple[str, str]]) -> str:
    """Return the stem of a clip, or its file name if another clip has that stem or name.

    Args:
        name_counts: occurrences of each stem and file name, by part and name.
    """
    stem = _stem(video)
    return stem if name_counts[part, stem] == 1 else video


def _stem(video: str) -> str:
    stem = os.path.splitext(video)[0]
    return stem if stem.strip(".") else video


def _family_names(entries: list[_MetadataEntry]) -> list[str]:
    """Return the family of each entry.

    In DFDC every video name occurs once and no fake is made from another fake, so an entry's
    original names its family. This fast path avoids importing pyarrow, which would delay the
    start of the workers.
    """
    labels = {entry.video: entry.label for entry in entries}
    chained = any(labels.get(entry.original or "") == FAKE for entry in entries)
    if len(labels) == len(entries) and not chained:
        return [entry.original or entry.video for entry in entries]
    return _resolve_family_names(entries)


def _resolve_family_names(entries: list[_MetadataEntry]) -> list[str]:
    """Return the family of each entry, following chains of fakes and repeated names."""
    import pyarrow as pa

    from manifests.tables.families import resolve_families

    def column(values: list[str] | list[str | None]) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(values, pa.string())])

    names: list[str] = resolve_families(
        column([entry.video for entry in entries]),
        column([entry.label for entry in entries]),
        column([entry.original for entry in entries]),
    ).to_pylist()
    return names


def _find_parts(source: Path) -> dict[str, Path]:
    """Return the folders with a metadata.json by name, sorted; may include the source itself."""
    parts: dict[str, Path] = {}
    for folder in _walk_parts(source, _MAX_DEPTH):
        name = folder.resolve().name
        if not name.isprintable():
            raise SourceError(
                f"expected parts with printable names below {source}, found {_abbreviated(name)}; "
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
        with os.scandir(folder) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir())
        for name in below:
            yield from _walk_parts(folder / name, depth - 1)


def _read_part(name: str, folder: Path) -> _Part:
    metadata = folder / METADATA
    entries = [
        _parse_entry(metadata, video, fields) for video, fields in _load_metadata(metadata).items()
    ]
    listed = {entry.video for entry in entries}
    sizes: dict[str, int] = {}
    with os.scandir(folder) as files:
        for file in files:
            try:
                if file.is_file():
                    sizes[file.name] = file.stat().st_size
            except OSError as error:
                # Treat a symbolic link to itself like a dangling one: as a missing file.
                if file.name in listed and error.errno != errno.ELOOP:
                    raise unreachable_error(Path(file.path), error) from error
    return _Part(name, str(folder), entries, sizes)


def _load_metadata(path: Path) -> dict[str, Any]:
    """Return the parsed JSON object of a metadata.json; its values are not validated.

    Raises:
        SourceError: the file cannot be read or is not a JSON object with unique keys.
    """

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        loaded = dict(pairs)
        if len(loaded) < len(pairs):
            raise SourceError(
                f"expected every name once in {path}, found one twice; remove one of the entries"
            )
        return loaded

    try:
        loaded = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nesting that is too deep"
        raise SourceError(
            f"expected JSON in {path}, found {reason}; download the part's metadata.json again"
        ) from error
    except OSError as error:
        raise SourceError(
            f"expected to read {path}, found {error.strerror}; make the file readable"
        ) from error
    if not isinstance(loaded, dict):
        raise SourceError(
            f"expected {_EXPECTED_TREE}, found a {type(loaded).__name__} in {path}; "
            "download the part's metadata.json again"
        )
    return loaded


def _parse_entry(metadata: Path, name: str, fields: Any) -> _MetadataEntry:
    """Validate one item of a metadata.json.

    Args:
        metadata: path of the file, for messages.
        name: file name of the clip.
        fields: the unvalidated JSON value.

    Raises:
        SourceError: the name, label or original is invalid.
    """
    _check_file_name(metadata, name)
    label = fields.get("label") if isinstance(fields, dict) else None
    label = label.upper() if isinstance(label, str) else None
    if label not in LABELS:
        raise SourceError(
            f"expected a label REAL or FAKE for {_abbreviated(name)} in {metadata}, found "
            f"{_abbreviated(fields)}; correct the entry"
        )
    split = fields.get("split")
    provenance = _PROVENANCES.get(split if isinstance(split, str) else None, _PROVENANCES[None])
    original = fields.get("original")
    if isinstance(original, str) and original.lower() in _NO_ORIGINAL:
        original = None
    if label == REAL or original is None:
        return _MetadataEntry(name, label, None, provenance)
    if not isinstance(original, str):
        raise SourceError(
            f"expected a file name as original of {_abbreviated(name)} in {metadata}, found "
            f"{_abbreviated(original)}; correct the entry"
        )
    _check_file_name(metadata, original)
    return _MetadataEntry(name, label, original, provenance)


def _check_file_name(metadata: Path, name: str) -> None:
    """Reject names that are not plain file names: metadata.json is untrusted input.

    Raises:
        SourceError: the name contains a path separator, a drive, or unprintable characters,
            or is longer than 255 bytes in UTF-8.
    """
    plain = name not in ("", ".", "..") and not any(c in name for c in "/\\\0")
    drive = len(name) > 1 and name[1] == ":"
    try:
        fits = len(name.encode()) <= 255
    except UnicodeEncodeError:
        fits = False
    if not plain or drive or not fits or not name.isprintable():
        raise SourceError(
            f"expected plain file names in {metadata}, found {_abbreviated(name)}; "
            "rename or remove the entry"
        )


def _abbreviated(value: Any) -> str:
    """Format a value for a message: ASCII, on one line, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
