"""Data classes for the clips of a source and the families they form."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from manifests.family_counts import FamilyCounts, OriginalMatches
from manifests.labels import FAKE, KNOWN, NAMES, UNKNOWN


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a data set says of a clip beside its label and its original; None if it does not.

    Attributes:
        dataset: name of the data set.
        method: how a FAKE was made.
        identity: the person filmed.
        face_identity: the person whose face a FAKE shows.
        official_split: train, validation or test.
    """

    dataset: str | None = None
    method: str | None = None
    identity: str | None = None
    face_identity: str | None = None
    official_split: str | None = None


@dataclass(frozen=True, order=True)
class Clip:
    """One clip of a data set. Clips sort by part, then video.

    Attributes:
        part: name of the folder that contains the clip.
        video: file name of the clip.
        label: REAL or FAKE.
        original: file name of the REAL clip a FAKE was made from, None if unknown or REAL.
        family: file name of the original of the clip's family.
        folder: name of the folder for its crops: the stem of `video`, or all of `video` if
            two clips of a part share a stem.
        path: path of the clip; the file may be missing.
        size: bytes on disk, None if the file is missing.
        provenance: what else the data set says; clips share equal values.
        version: what the store of a bucket says of the object's content; None on a disk.
        family_source: how the family of a FAKE is known, one of FAMILY_SOURCES; None if REAL.
    """

    part: str
    video: str
    label: str
    original: str | None
    family: str
    folder: str
    path: str
    size: int | None
    provenance: Provenance = field(default=Provenance(), compare=False)
    version: str | None = field(default=None, compare=False)
    family_source: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Family:
    """An original and its fakes, the original first. Extraction processes whole families."""

    name: str
    clips: tuple[Clip, ...]

    @property
    def size(self) -> int:
        """Total bytes on disk of the clips that exist."""
        return sum(clip.size or 0 for clip in self.clips)


def _originals_first(clip: Clip) -> tuple[bool, str, str]:
    return clip.label == FAKE, clip.part, clip.video


@dataclass(frozen=True)
class Catalog:
    """All clips of a source.

    Attributes:
        clips: sorted by part and video.
        unnamed: clips on disk that the data set does not name, as part/file.
        notes: sentences about what is missing or left out.
        options: how the source was read: layout, dataset and compression. They are recorded
            with the run.
        originals: how the originals that fakes name were found.
        refused: clips left out because their name, or that of their original, is no file name.
    """

    clips: tuple[Clip, ...]
    unnamed: tuple[str, ...]
    notes: tuple[str, ...] = ()
    options: Mapping[str, str | None] = field(default_factory=dict)
    originals: OriginalMatches = field(default_factory=OriginalMatches)
    refused: tuple[str, ...] = ()

    def families(self) -> list[Family]:
        """Return the families, sorted by part and video of their first clip in the catalog."""
        grouped: dict[str, list[Clip]] = {}
        for clip in self.clips:
            grouped.setdefault(clip.family, []).append(clip)
        return [
            Family(name, tuple(sorted(clips, key=_originals_first)))
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
