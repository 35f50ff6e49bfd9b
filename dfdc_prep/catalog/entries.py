"""Builds a `Catalog` of what a layout's reader lists. Does no I/O."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dfdc_prep.catalog.clips import Catalog, Clip, Provenance
from dfdc_prep.catalog.folders import stem
from dfdc_prep.catalog.names import abbreviated
from dfdc_prep.errors import SourceError
from manifests.clip_names import are_plain, read_originals
from manifests.family_counts import OriginalMatches
from manifests.labels import FAKE, KNOWN, NAMES, REAL, UNKNOWN


class Entry(NamedTuple):
    """One clip as a data set lists it; see `Clip`. `original` is a file name."""

    part: str
    video: str
    label: str
    original: str | None
    path: str
    size: int | None
    provenance: Provenance


@dataclass(frozen=True)
class Listing:
    """What a layout's reader found.

    Attributes:
        entries: the clips, each part and video once; see `check_unique`.
        unnamed: clips on disk that the data set does not name, as part/file.
        notes: sentences about what is missing or left out, for the end of the run.
        compression: the compression level read, where the layout has several.
        originals_from: how the originals of the entries are known: `known` or `names`.
        refused: clips left out because their name, or that of their original, is no file name.
    """

    entries: list[Entry]
    unnamed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    compression: str | None = None
    originals_from: str = KNOWN
    refused: tuple[str, ...] = ()


def check_unique(entries: list[Entry], where: Path) -> None:
    """Raise SourceError if two entries have one part and one video."""
    ((key, count),) = Counter(entry[:2] for entry in entries).most_common(1) or [(("", ""), 0)]
    if count > 1:
        raise SourceError(
            f"expected every clip once in {where}, found {key[0]}/{key[1]} {count} times; remove "
            "or rename all but one"
        )


def build_catalog(listing: Listing, layout: str, dataset: str | None) -> Catalog:
    """Find the families and the crop folders of the listed clips, and sort the clips."""
    if listing.refused and not listing.entries:
        raise SourceError(
            "expected plain file names of the clips, found none that is one, as in "
            f"{abbreviated(listing.refused[0])}; rename the clips"
        )
    read = _read_from_names(listing.entries)
    entries = [_with_original(entry, read) for entry in listing.entries]
    families, originals = find_families(entries)
    rows = zip(entries, families, _crop_folders(entries), strict=True)
    clips = tuple(
        Clip(
            entry.part,
            entry.video,
            entry.label,
            entry.original,
            family,
            folder,
            entry.path,
            entry.size,
            entry.provenance,
            family_source=_family_source(
                entry, NAMES if entry.video in read else listing.originals_from
            ),
        )
        # Part and video differ, so that nothing else is compared.
        for entry, family, folder in sorted(rows)
    )
    options = {"layout": layout, "dataset": dataset, "compression": listing.compression}
    return Catalog(
        clips, listing.unnamed, listing.notes, options, originals, refused=listing.refused
    )


def _read_from_names(entries: list[Entry]) -> dict[str, str]:
    """The originals that names of FAKE clips without one give, by name."""
    fakes = {entry.video for entry in entries if entry.label == FAKE and entry.original is None}
    if not fakes:
        return {}
    return read_originals(fakes, {entry.video for entry in entries if entry.label == REAL})


def _with_original(entry: Entry, read: Mapping[str, str]) -> Entry:
    if not read or entry.label != FAKE or entry.original is not None:
        return entry
    return entry._replace(original=read.get(entry.video))


def _family_source(entry: Entry, source: str) -> str | None:
    if entry.label != FAKE:
        return None
    return UNKNOWN if entry.original is None else source


def _crop_folders(entries: list[Entry]) -> list[str]:
    """Return the stem of each clip, or its file name if another clip has that stem or name."""
    stems = [_crop_stem(entry.video) for entry in entries]
    counts = Counter((entry.part, name) for entry, name in zip(entries, stems, strict=True))
    counts.update(
        (entry.part, entry.video)
        for entry, name in zip(entries, stems, strict=True)
        if name != entry.video
    )
    return [
        name if counts[entry.part, name] == 1 else entry.video
        for entry, name in zip(entries, stems, strict=True)
    ]


def _crop_stem(video: str) -> str:
    name = stem(video)
    return name if name.strip(".") else video


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

    def column(values: list[str] | list[str | None]) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(values, pa.string())])

    names, matches = resolve_families(
        column([entry.video for entry in entries]),
        column([entry.label for entry in entries]),
        column([entry.original for entry in entries]),
    )
    return names.to_pylist(), matches
