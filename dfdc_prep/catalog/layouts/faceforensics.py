"""FaceForensics++ with DeepFakeDetection: original_sequences and manipulated_sequences."""

import os
from pathlib import Path
from typing import NamedTuple

from dfdc_prep.catalog.clips import Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.files import check_file_name, file_sizes, is_video, load_json, subfolders
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, NAMES, REAL
from manifests.relatives import ACTORS, YOUTUBE
from manifests.wording import abbreviated, listed

_KINDS = _ORIGINAL, _MANIPULATED = "original_sequences", "manipulated_sequences"
COMPRESSIONS = ("raw", "c23", "c40")
_SHAPE = (
    "FaceForensics++: original_sequences/youtube/c23/videos/000.mp4 and "
    "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4, where c23 may be raw or c40"
)
#: The files that hold the official split: lists of pairs of YouTube sequences.
_LISTS = {"train.json": "train", "val.json": "validation", "test.json": "test"}


class _Sequences(NamedTuple):
    """A folder of sequences, such as manipulated_sequences/Deepfakes, by compression level."""

    kind: str
    name: str
    videos: dict[str, Path]


def _find_sequences(source: Path) -> list[_Sequences]:
    found = []
    for kind in _KINDS:
        for name in subfolders(source / kind):
            videos = {level: source / kind / name / level / "videos" for level in COMPRESSIONS}
            present = {level: folder for level, folder in videos.items() if folder.is_dir()}
            found.append(_Sequences(kind, name, present))
    return found


def _read(source: Path, options: SourceOptions) -> Listing:
    groups = _find_sequences(source)
    compression = _choose_compression(source, groups, options.compression)
    dataset = options.dataset or "faceforensics++"
    splits = _read_splits(source)
    entries, strange = [], []
    notes = [f"no {kind} in {source}" for kind in _KINDS if not (source / kind).is_dir()]
    for kind, group, videos in groups:
        if compression not in videos:
            there = ", ".join(videos) or "none"
            notes.append(f"{kind}/{group} left out: no {compression}, it has {there}")
            continue
        check_file_name(source / kind, group)
        folder = videos[compression]
        label, method = (REAL, None) if kind == _ORIGINAL else (FAKE, group)
        for video, size in sorted(file_sizes(folder).items()):
            if not is_video(video):
                continue
            named = _parse(label, video)
            if named is None:
                strange.append(f"{group}/{video}")
                continue
            original, target, face = named
            provenance = Provenance(dataset, method, target, face, splits.get(target))
            path = f"{folder}{os.sep}{video}"
            entries.append(Entry(group, video, label, original, path, size, provenance))
    if not entries:
        raise SourceError(
            f"expected {_SHAPE}, found no clip with such a name in {compression} below "
            f"{source}; pass the folder that contains {_ORIGINAL}"
        )
    if strange:
        notes.append(f"not named as in FaceForensics++, left out: {listed(strange)}")
    refused = [name for name in strange if not name.isprintable()]
    return Listing(dataset, entries, strange, notes, refused, compression, NAMES)


def _choose_compression(source: Path, groups: list[_Sequences], asked: str | None) -> str:
    """The compression level to read: the one asked for, or the only one there is.

    Raises:
        SourceError: the level asked for does not exist; or none was asked for, and there are
            several or none.
    """
    there = [level for level in COMPRESSIONS if any(level in group.videos for group in groups)]
    if not there:
        raise SourceError(
            f"expected {_SHAPE}, found no such folder of videos below {source}; pass the folder "
            f"that contains {_ORIGINAL}"
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


def _parse(label: str, video: str) -> tuple[str | None, str, str | None] | None:
    """The original, the person filmed and the person whose face is shown; None for other names."""
    name, suffix = os.path.splitext(video)
    for convention in (YOUTUBE, ACTORS):
        if label == REAL:
            (form,) = convention.reals
            if found := form.fullmatch(name):
                return None, found["target"], None
        elif found := convention.fake.fullmatch(name):
            original = convention.original.format(**found.groupdict())
            return f"{original}{suffix}", found["target"], found["source"]
    return None


FACEFORENSICS = Layout("faceforensics", _SHAPE, _KINDS, _read)
