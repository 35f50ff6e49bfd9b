"""FaceForensics++ with DeepFakeDetection: original_sequences and manipulated_sequences."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dfdc_prep.catalog.clips import Entry, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.files import (
    abbreviated,
    check_file_name,
    file_sizes,
    is_video,
    load_json,
    shortened,
    stem,
    subfolders,
)
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, NAMES, REAL
from manifests.relatives import ACTORS, YOUTUBE

ORIGINAL, MANIPULATED = "original_sequences", "manipulated_sequences"
COMPRESSIONS = ("raw", "c23", "c40")
_VIDEOS = "videos"
#: The files that hold the official split: lists of pairs of YouTube sequences.
_LISTS = {"train.json": "train", "val.json": "validation", "test.json": "test"}


class _Sequences(NamedTuple):
    """A folder of sequences, such as manipulated_sequences/Deepfakes."""

    kind: str
    name: str
    folder: Path

    def compressions(self) -> list[str]:
        """The compression levels that have a folder of videos."""
        return [level for level in COMPRESSIONS if (self.folder / level / _VIDEOS).is_dir()]


class FaceForensics:
    """FaceForensics++ at one compression level."""

    name = "faceforensics"
    shape = (
        "FaceForensics++: original_sequences/youtube/c23/videos/000.mp4 and "
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4, where c23 may be raw or c40"
    )
    marks: tuple[str, ...] = (ORIGINAL, MANIPULATED)

    def dataset(self, source: Path, options: SourceOptions) -> str:
        return options.dataset or "faceforensics++"

    def read(self, source: Path, options: SourceOptions) -> Listing:
        groups = [
            _Sequences(kind, name, source / kind / name)
            for kind in (ORIGINAL, MANIPULATED)
            for name in subfolders(source / kind)
        ]
        compression = _choose_compression(self.shape, source, groups, options.compression)
        reader = _Reader(self.dataset(source, options), _read_splits(source))
        entries, strange = [], []
        notes = [
            f"no {kind} in {source}"
            for kind in (ORIGINAL, MANIPULATED)
            if not (source / kind).is_dir()
        ]
        for group in groups:
            if compression not in group.compressions():
                there = ", ".join(group.compressions()) or "none"
                notes.append(
                    f"{group.kind}/{group.name} left out: no {compression}, it has {there}"
                )
                continue
            found = list(reader.entries(group, compression))
            entries += [entry for entry in found if isinstance(entry, Entry)]
            strange += [f"{group.name}/{name}" for name in found if isinstance(name, str)]
        if not entries:
            raise SourceError(
                f"expected {self.shape}, found no clip with such a name in {compression} below "
                f"{source}; pass the folder that contains {ORIGINAL}"
            )
        if strange:
            notes.append(f"not named as in FaceForensics++, left out: {shortened(strange)}")
        refused = tuple(name for name in strange if not name.isprintable())
        return Listing(entries, tuple(strange), tuple(notes), compression, NAMES, refused=refused)


def _choose_compression(
    shape: str, source: Path, groups: list[_Sequences], asked: str | None
) -> str:
    """The compression level to read: the one asked for, or the only one there is.

    Raises:
        SourceError: the level asked for does not exist; or none was asked for, and there are
            several or none.
    """
    there = [level for level in COMPRESSIONS if any(level in g.compressions() for g in groups)]
    if not there:
        raise SourceError(
            f"expected {shape}, found no such folder of videos below {source}; pass the folder "
            f"that contains {ORIGINAL}"
        )
    if asked is None and len(there) > 1:
        raise SourceError(
            f"expected one compression level below {source}, found {', '.join(there)}; choose one "
            f"with --compression {there[-1]}"
        )
    if asked is not None and asked not in there:
        raise SourceError(
            f"expected videos of --compression {asked} below {source}, found {', '.join(there)}; "
            "choose another"
        )
    return asked or there[0]


def _read_splits(source: Path) -> dict[str, str]:
    """The official split of each YouTube sequence, from the lists beside the data."""
    splits: dict[str, str] = {}
    for name, split in _LISTS.items():
        path = source / name
        if not path.is_file():
            continue
        pairs = load_json(path, "download the list again")
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            raise SourceError(
                f'expected pairs of sequences such as [["071", "054"]] in {path}, found something '
                "else; download the list again"
            )
        for sequence in (sequence for pair in pairs for sequence in pair):
            if splits.setdefault(sequence, split) != split:
                raise SourceError(
                    f"expected every sequence in one of {', '.join(_LISTS)}, found "
                    f"{abbreviated(sequence)} in {splits[sequence]} and in {split}; download the "
                    "lists again"
                )
    return splits


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(s, str) for s in pair)


@dataclass(frozen=True)
class _Reader:
    """Reads the names of clips; `splits` is the official split of the YouTube sequences."""

    dataset: str
    splits: dict[str, str]

    def entries(self, group: _Sequences, compression: str) -> Iterator[Entry | str]:
        """Yield an entry for each clip, or its name if the layout has no such name."""
        folder = group.folder / compression / _VIDEOS
        check_file_name(group.folder.parent, group.name)
        for video, size in sorted(file_sizes(folder).items()):
            if not is_video(video):
                continue
            named = self._parse(group.kind, video)
            if named is None:
                yield video
                continue
            original, target, source = named
            label = REAL if group.kind == ORIGINAL else FAKE
            method = None if label == REAL else group.name
            split = self.splits.get(target)
            provenance = Provenance(self.dataset, method, target, source, split)
            yield Entry(
                group.name, video, label, original, f"{folder}{os.sep}{video}", size, provenance
            )

    def _parse(self, kind: str, video: str) -> tuple[str | None, str, str | None] | None:
        """The original, the person filmed and the person whose face is shown."""
        name, suffix = stem(video), os.path.splitext(video)[1]
        for convention in (YOUTUBE, ACTORS):
            if kind == ORIGINAL:
                (form,) = convention.reals
                if found := form.fullmatch(name):
                    return None, found["target"], None
            elif found := convention.fake.fullmatch(name):
                original = convention.original.format(**found.groupdict())
                return f"{original}{suffix}", found["target"], found["source"]
        return None
