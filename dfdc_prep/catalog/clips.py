"""The clips of a source and the families they form; what a layout's reader lists of them.

Does no I/O.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, KNOWN, NAMES, REAL, UNKNOWN
from manifests.relatives import FamilyCounts, OriginalMatches, are_plain, read_originals
from manifests.wording import abbreviated

#: Spellings of the official splits, in lower case.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a data set says of a clip beside its label and its original; None if it does not."""

    dataset: str | None = None  # name of the data set
    method: str | None = None  # how a FAKE was made
    identity: str | None = None  # the person filmed
    face_identity: str | None = None  # the person whose face a FAKE shows
    official_split: str | None = None  # train, validation or test


@dataclass(frozen=True, order=True)
class Clip:
    """One clip of a data set. Clips sort by part, then video."""

    part: str  # name of the folder that contains the clip
    video: str  # file name of the clip
    label: str  # REAL, FAKE, or UNKNOWN where nothing says it
    original: str | None  # file name of the REAL clip a FAKE was made from, None if unknown or REAL
    family: str  # file name of the original of the clip's family
    # name of the folder for its crops: the stem of `video`, or all of `video` if two clips of a
    # part share a stem
    folder: str
    path: str  # path of the clip; the file may be missing
    size: int | None  # bytes on disk, None if the file is missing
    # what else the data set says; clips share equal values
    provenance: Provenance = field(default=Provenance(), compare=False)
    # what the store of a bucket says of the object's content; None on a disk
    version: str | None = field(default=None, compare=False)
    # how the family of a FAKE is known, one of FAMILY_SOURCES; None if REAL
    family_source: str | None = field(default=None, compare=False)
    # the video of its masks, as a clip of the same names; None without one, or if not asked for
    mask_video: "Clip | None" = field(default=None, compare=False)


@dataclass(frozen=True)
class Family:
    """An original and its fakes, the original first. Extraction processes whole families."""

    name: str
    clips: tuple[Clip, ...]

    @property
    def size(self) -> int:
        """Total bytes on disk of the clips that exist."""
        return sum(clip.size or 0 for clip in self.clips)


@dataclass(frozen=True)
class Catalog:
    """All clips of a source."""

    clips: tuple[Clip, ...]  # sorted by part and video
    unnamed: tuple[str, ...]  # clips on disk that the data set does not name, as part/file
    notes: tuple[str, ...] = ()  # sentences about what is missing or left out
    # how the source was read: layout, dataset and compression. They are recorded with the run.
    options: Mapping[str, str | None] = field(default_factory=dict)
    # how the originals that fakes name were found
    originals: OriginalMatches = field(default_factory=OriginalMatches)
    # clips left out because their name, or that of their original, is no file name
    refused: tuple[str, ...] = ()

    def families(self) -> list[Family]:
        """Return the families, sorted by part and video of their first clip in the catalog."""
        grouped: dict[str, list[Clip]] = {}
        for clip in self.clips:
            grouped.setdefault(clip.family, []).append(clip)
        return [
            Family(name, tuple(sorted(clips, key=lambda c: (c.label == FAKE, c.part, c.video))))
            for name, clips in grouped.items()
        ]

    def limited(self, limit: int | None) -> "Catalog":
        """Return the first families that together have at least `limit` clips; None keeps all."""
        if limit is None or limit >= len(self.clips):
            return self
        kept: list[Clip] = []
        for family in self.families():
            if len(kept) >= limit:
                break
            kept.extend(family.clips)
        return replace(self, clips=tuple(sorted(kept)))


def count_families(clips: Iterable[Clip]) -> FamilyCounts:
    """Count the FAKE clips by the source of their family."""
    counts = Counter(clip.family_source for clip in clips)
    return FamilyCounts(counts[KNOWN], counts[NAMES], counts[UNKNOWN])


@dataclass(frozen=True)
class SourceOptions:
    """How a source is to be read."""

    layout: str = "auto"  # name of the layout, or `auto`
    # name of the data set for the column `dataset`; None for the layout's own
    dataset: str | None = None
    compression: str | None = None  # the compression level to read, of layouts that have several
    table: Path | None = None  # the CSV of the layout `table`
    # the number that stands for REAL in that CSV; `tables.external.read_labels`
    real_is: int | None = None
    masks: bool = False  # also look for mask videos


class Entry(NamedTuple):
    """One clip as a data set lists it; see `Clip`. `original` is a file name."""

    part: str
    video: str
    label: str
    original: str | None
    path: str
    size: int | None
    provenance: Provenance
    mask_video: tuple[str, int] | None = None  # path and bytes of the video of its masks


class Listing(NamedTuple):
    """What a layout's reader found."""

    dataset: str | None  # the name of the data set; None if the entries say it
    entries: list[Entry]  # the clips, each part and video once; see `files.check_unique`
    unnamed: Iterable[str] = ()  # clips on disk that the data set does not name, as part/file
    notes: Iterable[str] = ()  # sentences about what is missing or left out, told before the work
    # clips left out because their name, or that of their original, is no file name
    refused: Iterable[str] = ()
    compression: str | None = None  # the compression level read, where the layout has several
    originals_from: str = KNOWN  # how the originals of the entries are known: `known` or `names`


class Layout(NamedTuple):
    """One kind of data set."""

    name: str  # value of `--layout`
    shape: str  # what a source of this layout looks like, for messages
    # sets of files and folders; a folder that has all of one of them, in any case, has the layout
    marks: tuple[tuple[str, ...], ...]
    # lists the clips below a folder. It raises SourceError if the folder does not have the layout
    # or a file of it is invalid, SourceUnreachable if the size of a clip cannot be read.
    read: Callable[[Path, SourceOptions], Listing]


def build_catalog(listing: Listing, layout: str) -> Catalog:
    """Find the families and the crop folders of the listed clips, and sort the clips."""
    refused = tuple(listing.refused)
    if refused and not listing.entries:
        raise SourceError(
            "expected plain file names of the clips, found none that is one, as in "
            f"{abbreviated(refused[0])}; rename the clips"
        )
    entries, read = listing.entries, {}
    fakes = {entry.video for entry in entries if entry.label == FAKE and entry.original is None}
    if fakes:  # the names may give their originals
        read = read_originals(fakes, {entry.video for entry in entries if entry.label == REAL})
        entries = [
            entry._replace(original=read.get(entry.video))
            if entry.label == FAKE and entry.original is None
            else entry
            for entry in entries
        ]
    families, originals = find_families(entries)
    clips = []
    rows = zip(entries, families, _crop_folders(entries), strict=True)
    # Part and video differ, so that nothing else is compared.
    for entry, family, folder in sorted(rows):
        source = None
        if entry.label == FAKE:
            source = NAMES if entry.video in read else listing.originals_from
            source = UNKNOWN if entry.original is None else source
        clip = Clip(*entry[:4], family, folder, *entry[4:7], family_source=source)
        if entry.mask_video is not None:
            path, size = entry.mask_video
            clip = replace(clip, mask_video=replace(clip, path=path, size=size))
        clips.append(clip)
    options = {"layout": layout, "dataset": listing.dataset, "compression": listing.compression}
    unnamed, notes = tuple(listing.unnamed), tuple(listing.notes)
    return Catalog(tuple(clips), unnamed, notes, options, originals, refused)


def _crop_folders(entries: list[Entry]) -> list[str]:
    """Return the stem of each clip, or its file name if another clip has that stem or name."""
    stems = [os.path.splitext(entry.video)[0] for entry in entries]
    stems = [
        stem if stem.strip(".") else entry.video for entry, stem in zip(entries, stems, strict=True)
    ]
    named = list(zip(entries, stems, strict=True))
    counts = Counter((entry.part, stem) for entry, stem in named)
    counts.update((entry.part, entry.video) for entry, stem in named if stem != entry.video)
    return [stem if counts[entry.part, stem] == 1 else entry.video for entry, stem in named]


def find_families(entries: list[Entry]) -> tuple[list[str], OriginalMatches]:
    """Return the family of each entry, and how the originals were found.

    Where every name has one label and one original, no fake is made from another fake, and no
    original can be a clip of another spelling, an entry's original names its family, as in DFDC.
    This fast path avoids importing pyarrow, which would delay the start of the workers.
    """
    kinds = {entry.video: entry[2:4] for entry in entries}
    originals = {entry.original for entry in entries if entry.original is not None}
    absent = originals - kinds.keys()
    chained = any(kinds[name][0] == FAKE for name in originals - absent)
    mixed = len(kinds) < len(entries) and any(kinds[e.video] != e[2:4] for e in entries)
    if chained or mixed or (absent and not are_plain(kinds.keys() | absent)):
        return resolve_entries(entries)
    matches = OriginalMatches(len(originals) - len(absent), absent=len(absent))
    return [entry.original or entry.video for entry in entries], matches


def resolve_entries(entries: list[Entry]) -> tuple[list[str], OriginalMatches]:
    """As `find_families`, following chains of fakes, repeated names and other spellings."""
    import pyarrow as pa

    from manifests.tables.families import resolve_families

    columns = zip(*(entry[1:4] for entry in entries), strict=True) if entries else ((), (), ())
    names, matches = resolve_families(
        *(pa.chunked_array([pa.array(column, pa.string())]) for column in columns)
    )
    return names.to_pylist(), matches
