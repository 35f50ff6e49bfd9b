"""DFDC preview: dataset.json, and the folders original_videos, method_A and method_B.

It has 66 actors, two methods and an official split.
"""

import os
import re
from pathlib import Path
from typing import Any

from dfdc_prep.catalog import files
from dfdc_prep.catalog.clips import SPLITS, Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, REAL, parse_label
from manifests.wording import abbreviated, listed

_NAME = "dfdc-preview"
_DATASET_JSON = "dataset.json"
_ORIGINALS = "original_videos"
_SHAPE = (
    "the DFDC preview: a dataset.json of the form "
    '{"method_A/.../x.mp4": {"label": "fake", "set": "train"}} beside original_videos, '
    "method_A and method_B"
)
#: Folders between a method and its clips: person, recording.
_MAX_DEPTH = 4
#: A fake: two people, the recording of one of them, the number of the clip.
_FAKE = re.compile(r"(\d+)_(\d+)_(\w+)")
_ORIGINAL = re.compile(r"(\d+)_(\w+)")


def _read(source: Path, options: SourceOptions) -> Listing:
    index = source / _DATASET_JSON
    loaded = files.load_json(index, "download it again") if index.is_file() else None
    if not isinstance(loaded, dict) or not loaded:
        found = "no such file" if loaded is None else "no object with clips"
        raise SourceError(f"expected {_SHAPE}, found {found} at {index}; check the folder")
    paths = {path: files.split_path(index, path) for path in loaded if files.is_path(path)}
    originals = {
        os.path.splitext(names[-1])[0]: names[-1]
        for names in paths.values()
        if names[0] == _ORIGINALS
    }
    folders, present = {names[0] for names in paths.values()}, set(files.subfolders(source))
    sizes = {
        f"{folder}/{path}": size
        for folder in sorted(folders & present)
        for path, size in files.file_sizes(source / folder, depth=_MAX_DEPTH).items()
    }
    dataset = options.dataset or _NAME
    entries = []
    for path, names in paths.items():
        label, split = _parse_entry(index, path, loaded[path])
        original = _original_of(names, originals) if label == FAKE else None
        people = _people(names[-1], label, original)
        provenance = Provenance(dataset, names[0] if label == FAKE else None, *people, split)
        full = f"{source}{os.sep}{path}"
        entries.append(
            Entry(names[0], names[-1], label, original, full, sizes.get(path), provenance)
        )
    files.check_unique(entries, index)
    unnamed = files.unnamed_videos(sizes, loaded)
    notes = [f"not named by {_DATASET_JSON}, left out: {listed(unnamed)}"] if unnamed else []
    notes += [
        f"no folder {n} in {source}: its clips are missing" for n in sorted(folders - present)
    ]
    return Listing(dataset, entries, unnamed, notes, [path for path in loaded if path not in paths])


def _parse_entry(index: Path, path: str, fields: Any) -> tuple[str, str | None]:
    """The label and the official split of an entry."""
    given = fields if isinstance(fields, dict) else {}
    text, split = given.get("label"), given.get("set")
    label = parse_label(text) if isinstance(text, str) else None
    if label is None:
        raise SourceError(
            f"expected a label real or fake for {abbreviated(path)} in {index}, found "
            f"{abbreviated(fields)}; correct the entry"
        )
    if (path.split("/")[0] == _ORIGINALS) != (label == REAL):
        raise SourceError(
            f"expected real clips in {_ORIGINALS} and fakes elsewhere in {index}, found the label "
            f"{text} for {abbreviated(path)}; correct the entry"
        )
    return label, SPLITS.get(split.lower()) if isinstance(split, str) else None


def _original_of(names: list[str], originals: dict[str, str]) -> str | None:
    """The original of a fake.

    `method_A/<target>/<target>_A/<a>_<b>_A_001.mp4` names the two people; the target, whose
    recording it is, is the one whose original is listed, and of two the one whose folder it is.
    """
    stem, suffix = os.path.splitext(names[-1])
    found = _FAKE.fullmatch(stem)
    if not found:
        return None
    first, second, recording = found.groups()
    candidates = sorted((second, first), key=lambda person: person not in names[1:-1])
    clips = [f"{person}_{recording}" for person in candidates]
    return next((originals[clip] for clip in clips if clip in originals), f"{clips[0]}{suffix}")


def _people(video: str, label: str, original: str | None) -> tuple[str | None, str | None]:
    """The person filmed and, of a fake, the person whose face it shows."""
    filmed = _ORIGINAL.fullmatch(os.path.splitext(original or video)[0])
    if not filmed or (label == FAKE and original is None):
        return None, None
    both = _FAKE.fullmatch(os.path.splitext(video)[0]) if label == FAKE else None
    return filmed[1], both and (both[1] if both[2] == filmed[1] else both[2])


DFDC_PREVIEW = Layout(_NAME, _SHAPE, ((_DATASET_JSON,),), _read)
