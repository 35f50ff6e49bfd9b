"""Builds a `Catalog` of what a layout's reader lists. Does no I/O."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dfdc_prep.catalog.clips import Catalog, Clip, Provenance
from dfdc_prep.catalog.folders import stem
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE


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
    """

    entries: list[Entry]
    unnamed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    compression: str | None = None


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
    entries = listing.entries
    rows = zip(entries, family_names(entries), _crop_folders(entries), strict=True)
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
        )
        # Part and video differ, so that nothing else is compared.
        for entry, family, folder in sorted(rows)
    )
    options = {"layout": layout, "dataset": dataset, "compression": listing.compression}
    return Catalog(clips, listing.unnamed, listing.notes, options)


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


def family_names(entries: list[Entry]) -> list[str]:
    """Return the family of each entry.

    Where every name has one label and one original and no fake is made from another fake, an
    entry's original names its family, as in DFDC. This fast path avoids importing pyarrow, which
    would delay the start of the workers.
    """
    kinds = {entry.video: entry[2:4] for entry in entries}
    unknown = (None, None)
    chained = any(kinds.get(entry.original or "", unknown)[0] == FAKE for entry in entries)
    repeated = len(kinds) < len(entries)
    if chained or (repeated and any(kinds[entry.video] != entry[2:4] for entry in entries)):
        return resolve_family_names(entries)
    return [entry.original or entry.video for entry in entries]


def resolve_family_names(entries: list[Entry]) -> list[str]:
    """Return the family of each entry, following chains of fakes and repeated names."""
    import pyarrow as pa

    from manifests.tables.families import resolve_families

    def column(values: list[str] | list[str | None]) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(values, pa.string())])

    names: list[str] = resolve_families(
        column([entry.video for entry in entries]),
        column([entry.label for entry in entries]),
        column([entry.original for entry in entries]),
    ).to_pylist()
    return names
