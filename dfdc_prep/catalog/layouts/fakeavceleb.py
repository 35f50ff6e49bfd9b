"""FakeAVCeleb: RealVideo-RealAudio and two folders of fake video, by origin, gender and person."""

import re
from pathlib import Path

from dfdc_prep.catalog.clips import Layout, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.files import check_text, check_unique, read_csv, subfolders
from dfdc_prep.catalog.groups import Group, left_out, read_groups, unread
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, NAMES, REAL

_NAME = "fakeavceleb"
_CSV = "meta_data.csv"
_LABELS = {"RealVideo-RealAudio": REAL, "FakeVideo-FakeAudio": FAKE, "FakeVideo-RealAudio": FAKE}
_SOUND_ONLY = "RealVideo-FakeAudio"
_SHAPE = (
    "FakeAVCeleb: RealVideo-RealAudio/African/men/id00076/00109.mp4 and "
    f"FakeVideo-FakeAudio/African/men/id00076/00109_10_id00476_wavtolip.mp4 beside {_CSV}"
)
#: The number of the original, what else names the face, and the method.
_FAKE = re.compile(r"(?P<number>\d+)_(?:.*_)?(?P<face>id\d+)_(?P<method>.+)|(?P<only>\d+)(_.*)?")


def _read(source: Path, options: SourceOptions) -> Listing:
    known, dataset = _read_table(source), options.dataset or _NAME
    there = {name.lower(): name for name in subfolders(source)}  # copies differ in case
    folders = {kind: there[kind.lower()] for kind in _LABELS if kind.lower() in there}
    groups = [
        Group(kind, source / folder / origin / gender / person, _LABELS[kind])
        for kind, folder in folders.items()
        for origin in subfolders(source / folder)
        for gender in subfolders(source / folder / origin)
        for person in subfolders(source / folder / origin / gender)
    ]
    entries, strange = [], []
    listing, unprintable = read_groups(groups, dataset, lambda *_: None)
    for clip in listing:
        person = Path(clip.path).parent.name
        stem, dot, suffix = clip.video.partition(".")
        found = _FAKE.fullmatch(stem)
        if found is None:
            strange.append(f"{clip.part}/{person}/{clip.video}")
            continue
        original, method, face = None, None, None
        if clip.label == FAKE:
            # Clips of different people have the same numbers.
            original = f"{person}_{found['number'] or found['only']}{dot}{suffix}"
            method, face = known.get((person, clip.video), (found["method"], found["face"]))
        about = Provenance(dataset, method, person, face)
        video = f"{person}_{clip.video}"
        entries.append(clip._replace(video=video, original=original, provenance=about))
    if not entries:
        raise SourceError(f"expected {_SHAPE}, found no such clip below {source}; unpack it")
    notes = [f"no folder {kind} in {source}" for kind in _LABELS if kind not in folders]
    if _SOUND_ONLY.lower() in there:
        notes.append(f"{_SOUND_ONLY} left out: its pictures are those of RealVideo-RealAudio")
    notes += unread(source, groups, but=_SOUND_ONLY)
    if not known:
        notes.append(f"no {_CSV} in {source}: methods are read from the names")
    check_unique(entries, source)
    more, refused = left_out([*strange, *unprintable], "FakeAVCeleb")
    return Listing(dataset, entries, strange, [*notes, *more], refused, originals_from=NAMES)


def _read_table(source: Path) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """The method and the face of each fake by its person and file name; empty without a table."""
    if not (source / _CSV).is_file():
        return {}
    known = {}
    # The file is named in the column filename, or in path, which has its folder in the next one.
    for row in read_csv(source / _CSV, ("source", "method", "target1"), ("filename", "path")):
        face = row["target1"] if row["target1"].startswith("id") else None
        check_text(source / _CSV, "method", row["method"])
        known[row["source"], row["filename"] or row["path"]] = row["method"] or None, face
    return known


FAKEAVCELEB = Layout(_NAME, _SHAPE, tuple((kind,) for kind in _LABELS), _read)
