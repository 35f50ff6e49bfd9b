"""Any folders of clips: labels from names such as real/ and fake/, or no labels at all."""

import os
import re
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

from dfdc_prep.catalog.clips import SPLITS, Entry, Layout, Listing, SourceOptions
from dfdc_prep.catalog.files import Names, check_file_name, check_unique, clips_below, subfolders
from dfdc_prep.catalog.groups import Group, read_groups
from dfdc_prep.errors import SourceError
from dfdc_prep.video.source_file import PICTURES
from manifests.labels import FAKE, NAMES, NO_LABEL, REAL, folder_label
from manifests.relatives import CONVENTIONS, read_originals
from manifests.wording import counted, listed

_SHAPE = (
    "clips in folders named real and fake, or original and after the methods of FaceForensics++, "
    "Celeb-DF++ or DF40, with folders train, validation and test above or below them"
)
#: Most entries that an error counts.
_MOST = 100_000
#: Methods of published sets, whose folders hold fakes; in lower case, letters and digits only.
_METHODS = (
    "face2face faceswap faceshifter neuraltextures deepfakedetection fsgan simswap "
    "inswap inswapper blendface uniface mobileswap mobilefaceswap e4s facedancer deepfacelab fomm "
    "fsvid2vid facevid2vid wav2lip mraa oneshotfree pirender tpsm tpsmm dagan danet sadtalker "
    "mcnet hyperreenact heygen hififace liveportrait fsrt anitalker echomimic edtalk iplap "
    "real3dportrait vqgan stylegan2 stylegan3 styleganxl ddim ddpm rddm pixart midjourney "
    "stargan starganv2 styleclip e4e collabdiff"
)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def _read(source: Path, options: SourceOptions) -> Listing:
    found = list(clips_below(source))
    if not found:
        raise SourceError(describe_unknown(source))
    labels = _labels([names for names, _ in found])
    labelled = any(labels.values())
    top = source.resolve().name or "clips"
    groups, splits, left_out = [], {}, []
    for names, clips in found:
        label, method = labels[names], None
        if labelled and label is None:
            left_out += ["/".join((*names, clip)) for clip in clips]
            continue
        if label == FAKE:
            method = next((name for name in reversed(names) if _is_method(name)), None)
        part = "_".join(names) or top
        check_file_name(source, part)
        groups.append(Group(part, source.joinpath(*names), label or NO_LABEL, method))
        official = (SPLITS.get(name.lower()) for name in names)
        splits[groups[-1].folder] = next((split for split in official if split), None)
    if not groups:
        raise SourceError(
            f"expected folders whose names say real or fake below {source}, found that those of "
            f"all {counted(len(left_out), 'clip')} say both; rename them, or give --table"
        )
    entries, refused = read_groups(groups, options.dataset, lambda group, *_: splits[group.folder])
    check_unique(entries, source)
    notes = [_told(groups, entries, source)]
    if left_out:
        notes.append(
            f"no label, or both, in the names of their folders, {counted(len(left_out), 'clip')} "
            f"left out: {listed(left_out)}; name the folders real or fake, or give --table"
        )
    frames = sum(os.path.isdir(entry.path) for entry in entries)
    if frames:
        notes.append(f"folders of frames: {counted(frames, 'clip')}")
    known = _with_people(entries)
    return Listing(options.dataset, known, left_out, notes, refused, originals_from=NAMES)


def _is_method(name: str) -> bool:
    # In other spellings, deepfakes is a word for the label.
    return name == "Deepfakes" or re.sub("[^a-z0-9]", "", name.lower()) in _METHODS.split()


def _labels(folders: list[Names]) -> dict[Names, str | None]:
    """The label of each folder by the names on its way; None for none or for contradictions.

    The innermost label counts. One further out says the same, or it is the name of the whole set:
    then both labels are found below it. The name of a method says FAKE unless a label is inside.
    """
    said: dict[Names, list[tuple[int, str]]] = {}
    below: dict[Names, set[str]] = {}
    for names in folders:
        labels = ((depth, folder_label(name)) for depth, name in enumerate(names))
        said[names] = [
            (depth, label) for depth, label in labels if label and not _is_method(names[depth])
        ]
        for depth, _ in said[names][:-1]:
            below.setdefault(names[: depth + 1], set()).add(said[names][-1][1])
    decided: dict[Names, str | None] = {}
    for names, labels_said in said.items():
        methods = [depth for depth, name in enumerate(names) if _is_method(name)]
        outer, (last, label) = labels_said[:-1], labels_said[-1] if labels_said else (-1, None)
        label = label or (FAKE if methods else None)
        others = {other for depth, other in outer if len(below[names[: depth + 1]]) == 1}
        contradicted = bool(others - {label})
        if label == REAL and any(depth > last for depth in methods):
            contradicted = True  # REAL clips sorted by the fakes made of them, or FAKE ones
        decided[names] = None if contradicted else label
    # A lone folder deepfakes may be the name of the whole set.
    words = {names[labels[-1][0]].lower() for names, labels in said.items() if labels}
    if words and words <= {"deepfake", "deepfakes"} and not any(map(_is_method, chain(*folders))):
        return dict.fromkeys(folders)
    return decided


def _told(groups: list[Group], entries: list[Entry], source: Path) -> str:
    """How the labels were read, in one sentence."""
    if groups[0].label == NO_LABEL:
        return (
            f"{counted(len(entries), 'clip')} without a label: no folder below {source} is named "
            "real or fake; balance, split and shard need labels: give --table CSV (path,label)"
        )
    counts = Counter(entry.part for entry in entries)
    folders = [f"{group.part} {group.label} ({counts[group.part]:,})" for group in groups]
    return f"labels read from the names of folders: {listed(folders, 12)}"


def _with_people(entries: list[Entry]) -> list[Entry]:
    """Set the original of each fake, and the people, where the names of all clips tell them."""
    fakes = {entry.video for entry in entries if entry.label == FAKE}
    read = read_originals(fakes, {entry.video for entry in entries if entry.label == REAL})
    originals = set(read.values())
    known = []
    for entry in entries:
        if entry.video in (read if entry.label == FAKE else originals):
            readings = (form.read(entry.label, entry.video) for form in CONVENTIONS)
            _, filmed, shown = next((found for found in readings if found), (None, None, None))
            about = replace(entry.provenance, identity=filmed, face_identity=shown)
            entry = entry._replace(original=read.get(entry.video), provenance=about)
        known.append(entry)
    return known


def describe_unknown(source: Path) -> str:
    """What a folder without clips has instead, and what to do."""
    suffixes: Counter[str] = Counter()
    for _, _, files in os.walk(source):
        suffixes.update(os.path.splitext(name)[1].lower() or "no extension" for name in files)
        if suffixes.total() > _MOST:
            break
    names = subfolders(source)
    found = [f"{count:,} {suffix}" for suffix, count in suffixes.most_common(5)]
    found += [f"the folders {listed(names)}"] if names else []
    ways = "give the folder that contains the clips, or a CSV of them with --table (path,label)"
    if suffixes.keys() & set(ARCHIVES):
        ways = "unzip the archives first, or " + ways
    elif suffixes.keys() & set(PICTURES):
        ways = (
            "for crops that are already cut use dfdc-prep import; frames must lie in a folder for "
            "each clip; or " + ways
        )
    return (
        f"expected a known data set or clips below {source}, found "
        f"{', '.join(found) or 'an empty folder'}; {ways}"
    )


FOLDERS = Layout("folders", _SHAPE, (), _read)
