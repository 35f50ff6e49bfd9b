"""Reads a DFDC tree into clips and families. Opens no clip."""

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfdc_prep.errors import SourceError
from dfdc_prep.video.source_file import unreachable
from manifests.labels import FAKE, LABELS, REAL

METADATA = "metadata.json"
#: How far below the source parts are looked for: unpacked archives nest a folder or two.
_DEPTH = 3
#: File endings that make an unnamed file worth a word.
_CLIP_ENDINGS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
#: The ways DFDC's tables write that a REAL clip has no original.
_NO_ORIGINAL = (None, "", "none", "null", "nan")

SHAPE = (
    "a DFDC tree: folders such as dfdc_train_part_0, each with its clips and a metadata.json "
    'that says {"clip.mp4": {"label": "FAKE", "original": "other.mp4"}}'
)


@dataclass(frozen=True, order=True)
class Clip:
    """One clip that metadata.json names.

    Attributes:
        folder: name of its crops' folder: the stem, or the whole file name where two clips
            of a part share a stem.
        path: where it lies, or should lie.
        size: bytes on disk, None where no such file is there.
    """

    part: str
    video: str
    label: str
    original: str | None
    family: str
    folder: str
    path: str
    size: int | None


@dataclass(frozen=True)
class Family:
    """An original and its fakes, the original first. The unit of work."""

    name: str
    clips: tuple[Clip, ...]

    @property
    def size(self) -> int:
        """Bytes on disk, of all clips that are there."""
        return sum(clip.size or 0 for clip in self.clips)


@dataclass(frozen=True)
class Catalog:
    """Everything a source holds.

    Attributes:
        clips: sorted by part and video.
        unnamed: clips on disk that no metadata.json names, as part/file.
    """

    clips: tuple[Clip, ...]
    unnamed: tuple[str, ...]

    def families(self) -> list[Family]:
        """The families, sorted by their first clip's part and video."""
        grouped: dict[str, list[Clip]] = {}
        for clip in self.clips:
            grouped.setdefault(clip.family, []).append(clip)
        return [
            Family(name, tuple(sorted(clips, key=lambda clip: (clip.label == FAKE, clip))))
            for name, clips in grouped.items()
        ]


@dataclass(frozen=True)
class _Entry:
    """What metadata.json says of one clip."""

    video: str
    label: str
    original: str | None


@dataclass(frozen=True)
class _Part:
    """A part: what its metadata.json says, and the sizes in bytes of the files beside it."""

    name: str
    folder: str
    entries: list[_Entry]
    sizes: dict[str, int]


def read_catalog(source: Path, limit: int | None = None) -> Catalog:
    """Read every part below a source.

    Args:
        source: a folder of parts, or one part.
        limit: keep this many clips, whole families, the first ones.

    Raises:
        SourceError: no such folder, no metadata.json in it, one that cannot be used, or
            one that names a clip by a path.
        SourceUnreachable: a clip cannot be looked at.
    """
    if not source.is_dir():
        raise SourceError(f"expected {SHAPE}, found no folder {source}; give its path")
    parts = [_read_part(name, folder) for name, folder in _find_parts(source).items()]
    rows = [(part, entry) for part in parts for entry in part.entries]
    if not rows:
        raise SourceError(f"expected {SHAPE}, found no metadata.json with a clip below {source}")
    families = _families([entry for _, entry in rows])
    stems = Counter(
        (part.name, name) for part, entry in rows for name in {_stem(entry.video), entry.video}
    )
    clips = sorted(
        Clip(
            part.name,
            entry.video,
            entry.label,
            entry.original,
            family,
            _folder(part.name, entry.video, stems),
            # Joined as text: a hundred thousand paths as objects take seconds.
            f"{part.folder}{os.sep}{entry.video}",
            part.sizes.get(entry.video),
        )
        for (part, entry), family in zip(rows, families, strict=True)
    )
    unnamed = sorted(
        f"{part.name}/{name}"
        for part in parts
        for name in part.sizes.keys() - {entry.video for entry in part.entries}
        if os.path.splitext(name)[1].lower() in _CLIP_ENDINGS
    )
    return _limited(Catalog(tuple(clips), tuple(unnamed)), limit)


def _limited(catalog: Catalog, limit: int | None) -> Catalog:
    if limit is None or limit >= len(catalog.clips):
        return catalog
    kept: list[Clip] = []
    for family in catalog.families():
        if len(kept) >= limit:
            break
        kept.extend(family.clips)
    return Catalog(tuple(sorted(kept)), catalog.unnamed)


def _folder(part: str, video: str, stems: Counter[tuple[str, str]]) -> str:
    """The stem, or the file name where another clip has that stem, or is called like it."""
    stem = _stem(video)
    return stem if stems[part, stem] == 1 else video


def _stem(video: str) -> str:
    stem = os.path.splitext(video)[0]
    return stem if stem.strip(".") else video


def _families(entries: list[_Entry]) -> list[str]:
    """The family of each entry."""
    labels = {entry.video: entry.label for entry in entries}
    chained = any(labels.get(entry.original or "") == FAKE for entry in entries)
    if len(labels) == len(entries) and not chained:
        # All of DFDC, and no tables to import: who waits for that are the workers.
        return [entry.original or entry.video for entry in entries]
    return _tangled(entries)


def _tangled(entries: list[_Entry]) -> list[str]:
    import pyarrow as pa

    from manifests.tables.families import resolve_families

    def column(values: list[Any]) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(values, pa.string())])

    names: list[str] = resolve_families(
        column([entry.video for entry in entries]),
        column([entry.label for entry in entries]),
        column([entry.original for entry in entries]),
    ).to_pylist()
    return names


def _find_parts(source: Path) -> dict[str, Path]:
    """Folders with a metadata.json by their names, the source itself included, sorted."""
    parts: dict[str, Path] = {}
    for folder in _walk(source, _DEPTH):
        name = folder.resolve().name
        if not name.isprintable():
            raise SourceError(
                f"expected parts with printable names below {source}, found {_shown(name)}; "
                "rename the folder"
            )
        if name in parts:
            raise SourceError(
                f"expected parts of different names below {source}, found {name} twice, "
                f"in {parts[name].parent} and {folder.parent}; rename or move one"
            )
        parts[name] = folder
    return dict(sorted(parts.items()))


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / METADATA).is_file():
        yield folder
        return
    if depth:
        with os.scandir(folder) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir())
        for name in below:
            yield from _walk(folder / name, depth - 1)


def _read_part(name: str, folder: Path) -> _Part:
    metadata = folder / METADATA
    entries = [_entry(metadata, video, said) for video, said in _load(metadata).items()]
    named = {entry.video for entry in entries}
    sizes: dict[str, int] = {}
    with os.scandir(folder) as files:
        for file in files:
            try:
                if file.is_file():
                    sizes[file.name] = file.stat().st_size
            except OSError as error:
                # A link to itself leads to no file, as one to nowhere does.
                if file.name in named and error.errno != errno.ELOOP:
                    raise unreachable(Path(file.path), error) from error
    return _Part(name, str(folder), entries, sizes)


def _load(path: Path) -> dict[str, Any]:
    def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        loaded = dict(pairs)
        if len(loaded) < len(pairs):
            raise SourceError(f"expected every name once in {path}, found one twice; mend it")
        return loaded

    try:
        loaded = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "too deep nesting"
        raise SourceError(
            f"expected JSON in {path}, found {reason}; download the part's metadata.json again"
        ) from error
    except OSError as error:
        raise SourceError(f"expected to read {path}, found {error.strerror}") from error
    if not isinstance(loaded, dict):
        raise SourceError(f"expected {SHAPE}, found a {type(loaded).__name__} in {path}")
    return loaded


def _entry(where: Path, name: str, said: Any) -> _Entry:
    _refuse_paths(where, name)
    label = said.get("label") if isinstance(said, dict) else None
    label = label.upper() if isinstance(label, str) else None
    if label not in LABELS:
        raise SourceError(
            f"expected a label REAL or FAKE for {_shown(name)} in {where}, found "
            f"{_shown(said)}; mend the entry"
        )
    original = said.get("original")
    if isinstance(original, str) and original.lower() in _NO_ORIGINAL:
        original = None
    if label == REAL or original is None:
        return _Entry(name, label, None)
    if not isinstance(original, str):
        raise SourceError(
            f"expected a file name as original of {_shown(name)} in {where}, found "
            f"{_shown(original)}; mend the entry"
        )
    _refuse_paths(where, original)
    return _Entry(name, label, original)


def _refuse_paths(where: Path, name: str) -> None:
    """A name must be a plain file name: metadata.json is input, not to be trusted."""
    plain = name not in ("", ".", "..") and not any(c in name for c in "/\\\0")
    drive = len(name) > 1 and name[1] == ":"
    try:
        fits = len(name.encode()) <= 255
    except UnicodeEncodeError:
        fits = False
    if not plain or drive or not fits or not name.isprintable():
        raise SourceError(
            f"expected plain file names in {where}, found {_shown(name)}; remove the entry"
        )


def _shown(value: Any) -> str:
    """A value as it may stand in a message: short, on one line."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
