"""FaceForensics++ with DeepFakeDetection: in its own tree, or flat as on Kaggle."""

import re
from pathlib import Path

from dfdc_prep.catalog.clips import Layout, Listing, SourceOptions
from dfdc_prep.catalog.files import check_file_name, load_json, subfolders
from dfdc_prep.catalog.groups import Group, inner_folder, left_out, read_groups, unread
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, NAMES, REAL
from manifests.relatives import ACTORS, YOUTUBE
from manifests.wording import abbreviated, counted

_KINDS = _ORIGINAL, _MANIPULATED = "original_sequences", "manipulated_sequences"
#: c0 is an older name of raw.
COMPRESSIONS = ("raw", "c0", "c23", "c40")
_METHODS = (
    *("Deepfakes", "Face2Face", "FaceSwap", "FaceShifter", "NeuralTextures", "DeepFakeDetection"),
)
#: Folders of the flat form, in lower case, and how their clips were made; None for originals.
_FLAT: dict[str, str | None] = {
    **dict.fromkeys(("original", "youtube", "actors", "dfd_original sequences")),
    **{name.lower(): name for name in _METHODS},
    "dfd_manipulated_sequences": "DeepFakeDetection",
}
_SHAPE = (
    "FaceForensics++: original_sequences/youtube/c23/videos/000.mp4 and "
    "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4, where c23 may be raw, c0 or c40 and "
    "videos may be images or frames; or original/000.mp4 beside Deepfakes/000_003.mp4"
)
#: The files that hold the official split: lists of pairs of YouTube sequences.
_LISTS = {"train.json": "train", "val.json": "validation", "test.json": "test"}


def _read(source: Path, options: SourceOptions) -> Listing:
    if any((source / kind).is_dir() for kind in _KINDS):
        compression, groups, notes = _read_tree(source, options.compression)
    else:
        compression, groups, notes = _read_flat(source, options.compression)
    dataset = options.dataset or "faceforensics++"
    splits = _read_splits(source)
    if not options.masks:
        groups = [group._replace(masks=None) for group in groups]
    entries, strange = read_groups(
        groups, dataset, lambda _group, _video, target: splits.get(str(target))
    )
    if not entries:
        raise SourceError(
            f"expected {_SHAPE}, found no clip with such a name below {source}; give the folder "
            "that contains these, or put the clips into folders real and fake and give "
            "--layout folders"
        )
    more, refused = left_out(strange, "FaceForensics++")
    if options.masks:
        fakes = [entry.mask_video for entry in entries if entry.label == FAKE]
        with_one = len(fakes) - fakes.count(None)
        notes.append(f"mask videos of {with_one:,} of {counted(len(fakes), 'FAKE clip')}")
    return Listing(dataset, entries, strange, [*notes, *more], refused, compression, NAMES)


def _read_tree(source: Path, asked: str | None) -> tuple[str | None, list[Group], list[str]]:
    """The compression level, the groups that have it, and notes on the others."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for kind in _KINDS:
        for name in subfolders(source / kind):
            check_file_name(source / kind, name)
            inner = {level: inner_folder(source / kind / name / level) for level in COMPRESSIONS}
            found[kind, name] = {level: folder for level, folder in inner.items() if folder}
    there = [level for level in COMPRESSIONS if any(level in levels for levels in found.values())]
    if not there:
        raise SourceError(
            f"expected {_SHAPE}, found no such folder of clips below {source}; give the folder "
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
    compression = asked or there[0]
    notes = [f"no {kind} in {source}" for kind in _KINDS if not (source / kind).is_dir()]
    groups = []
    for (kind, name), levels in found.items():
        if folder := levels.get(compression):
            method = None if kind == _ORIGINAL else name
            groups.append(_group(source / kind / name, folder, method))
        else:
            has = ", ".join(levels) or "none"
            notes.append(f"{kind}/{name} left out: no {compression}, it has {has}")
    return compression, groups, notes


def _read_flat(source: Path, asked: str | None) -> tuple[str | None, list[Group], list[str]]:
    """As `_read_tree` for folders of originals beside folders named after methods."""
    level = re.search(r"(?<![a-z])c(0|23|40)(?!\d)", str(source.resolve()), re.IGNORECASE)
    compression = level and level[0].lower()
    if asked is not None and asked != compression:
        raise SourceError(
            f"expected folders named raw, c0, c23 or c40 for --compression {asked}, found none "
            f"below {source}; leave it out"
        )
    names = {name: _FLAT[name.lower()] for name in subfolders(source) if name.lower() in _FLAT}
    groups = []
    for name, method in names.items():
        folder = source / name
        folder = folder / name if (folder / name).is_dir() else folder  # as Kaggle unpacks it
        groups.append(_group(folder, inner_folder(folder) or folder, method))
    notes = [] if None in names.values() else [f"no folder of originals in {source}"]
    return compression, groups, notes + unread(source, groups)


def _group(of: Path, folder: Path, method: str | None) -> Group:
    """The group of a folder of originals or of a method, its clips in `folder`."""
    found = (of / "masks" / "videos", of / "masks")
    masks = next((each for each in found if method and each.is_dir()), None)
    label, conventions = FAKE if method else REAL, (YOUTUBE, ACTORS)
    return Group(of.name, folder, label, method, conventions, masks=masks)


def _read_splits(source: Path) -> dict[str, str]:
    """The official split of each YouTube sequence, from the lists beside the data."""
    splits: dict[str, str] = {}
    for name, split in _LISTS.items():
        path = source / name
        if not path.is_file():
            continue
        pairs = load_json(path, "download the list again")
        valid = isinstance(pairs, list) and all(
            isinstance(pair, list) and list(map(type, pair)) == [str, str] for pair in pairs
        )
        if not valid:
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


FACEFORENSICS = Layout(
    "faceforensics",
    _SHAPE,
    (
        *((kind,) for kind in _KINDS),
        *(("original", method) for method in _METHODS),
        *((name,) for name in ("DFD_original sequences", "DFD_manipulated_sequences")),
    ),
    _read,
)
