"""DFDC preview: dataset.json, and the folders original_videos, method_A and method_B."""

import os
import re
from pathlib import Path
from typing import Any

from dfdc_prep.catalog.clips import SPLITS, Entry, Listing, Provenance, SourceOptions, check_unique
from dfdc_prep.catalog.files import (
    abbreviated,
    is_path,
    is_video,
    load_json,
    shortened,
    sizes_below,
    split_path,
    stem,
    subfolders,
)
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, REAL, parse_label

DATASET_JSON = "dataset.json"
ORIGINALS = "original_videos"
#: Folders between a method and its clips: person, recording.
_MAX_DEPTH = 4
#: A fake: two people, the recording of one of them, the number of the clip.
_FAKE = re.compile(r"(\d+)_(\d+)_(\w+)")
_ORIGINAL = re.compile(r"(\d+)_(\w+)")


class DfdcPreview:
    """The preview of DFDC: 66 actors, two methods, an official split."""

    name = "dfdc-preview"
    shape = (
        "the DFDC preview: a dataset.json of the form "
        '{"method_A/.../x.mp4": {"label": "fake", "set": "train"}} beside original_videos, '
        "method_A and method_B"
    )
    marks: tuple[str, ...] = (DATASET_JSON,)

    def dataset(self, source: Path, options: SourceOptions) -> str:
        return options.dataset or self.name

    def read(self, source: Path, options: SourceOptions) -> Listing:
        index = source / DATASET_JSON
        loaded = load_json(index, "download it again") if index.is_file() else None
        if not isinstance(loaded, dict) or not loaded:
            found = "no such file" if loaded is None else "no object with clips"
            raise SourceError(f"expected {self.shape}, found {found} at {index}; check the folder")
        refused = tuple(path for path in loaded if not is_path(path))
        paths = {path: split_path(index, path) for path in loaded if is_path(path)}
        originals = {
            stem(names[-1]): names[-1] for names in paths.values() if names[0] == ORIGINALS
        }
        folders = {names[0] for names in paths.values()}
        sizes: dict[str, int] = {}
        for folder in sorted(folders & set(subfolders(source))):
            sizes |= sizes_below(source / folder, _MAX_DEPTH, f"{folder}/")
        dataset = self.dataset(source, options)
        entries = []
        for path, names in paths.items():
            label, split = _parse_entry(index, path, loaded[path])
            original = _original_of(names, originals) if label == FAKE else None
            people = _people(names, label, original)
            method = names[0] if label == FAKE else None
            provenance = Provenance(dataset, method, *people, split)
            full = f"{source}{os.sep}{path}"
            entries.append(
                Entry(names[0], names[-1], label, original, full, sizes.get(path), provenance)
            )
        check_unique(entries, index)
        unnamed = sorted(name for name in sizes.keys() - loaded.keys() if is_video(name))
        notes = [f"not named by {DATASET_JSON}, left out: {shortened(unnamed)}"] if unnamed else []
        absent = sorted(folders - set(subfolders(source)))
        notes += [f"no folder {name} in {source}: its clips are missing" for name in absent]
        return Listing(entries, tuple(unnamed), tuple(notes), refused=refused)


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
    if (path.split("/")[0] == ORIGINALS) != (label == REAL):
        raise SourceError(
            f"expected real clips in {ORIGINALS} and fakes elsewhere in {index}, found the label "
            f"{text} for {abbreviated(path)}; correct the entry"
        )
    return label, SPLITS.get(split.lower()) if isinstance(split, str) else None


def _original_of(names: list[str], originals: dict[str, str]) -> str | None:
    """The original of a fake.

    `method_A/<target>/<target>_A/<a>_<b>_A_001.mp4` names the two people; the target, whose
    recording it is, is the one whose original is listed, and of two the one whose folder it is.
    """
    found = _FAKE.fullmatch(stem(names[-1]))
    if not found:
        return None
    first, second, recording = found.groups()
    folders = names[1:-1]
    candidates = sorted((second, first), key=lambda person: person not in folders)
    clips = [f"{person}_{recording}" for person in candidates]
    listed = [originals[clip] for clip in clips if clip in originals]
    return listed[0] if listed else f"{clips[0]}{os.path.splitext(names[-1])[1]}"


def _people(names: list[str], label: str, original: str | None) -> tuple[str | None, str | None]:
    """The person filmed and, of a fake, the person whose face it shows."""
    filmed = _ORIGINAL.fullmatch(stem(original or names[-1]))
    if not filmed or (label == FAKE and original is None):
        return None, None
    target = filmed[1]
    both = _FAKE.fullmatch(stem(names[-1])) if label == FAKE else None
    if both is None:
        return target, None
    return target, both[1] if both[2] == target else both[2]
