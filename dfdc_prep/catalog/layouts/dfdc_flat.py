"""DFDC's test set and folders like it: clips beside a labels.csv, or a metadata.json."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dfdc_prep.catalog.clips import SPLITS, Entry, Listing, Provenance, SourceOptions, check_unique
from dfdc_prep.catalog.files import (
    abbreviated,
    check_file_name,
    file_sizes,
    is_file_name,
    is_video,
    read_csv,
    shortened,
)
from dfdc_prep.catalog.layouts.dfdc import DATASET, METADATA, load_metadata
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, parse_label

LABELS_CSV = "labels.csv"
#: Bytes of a metadata.json that show how it gives its labels.
_START = 4096
#: Columns of labels.csv beside filename and label, and keys of metadata.json.
_OPTIONAL = ("original", "split")


class DfdcFlat:
    """One folder of clips; every clip is its own family unless an original is named."""

    name = "dfdc-flat"
    shape = (
        "clips beside a labels.csv with the columns filename and label (0 REAL, 1 FAKE), or a "
        'metadata.json of the form {"clip.mp4": {"is_fake": 1}}'
    )
    marks: tuple[str, ...] = (LABELS_CSV,)

    def dataset(self, source: Path, options: SourceOptions) -> str:
        return options.dataset or DATASET

    def read(self, source: Path, options: SourceOptions) -> Listing:
        table = source / LABELS_CSV
        found = list(
            _labels(table) if table.is_file() else _metadata(source / METADATA, self.shape)
        )
        rows = [row for row in found if is_file_name(row[0]) and is_file_name(row[2] or "none")]
        refused = tuple(row[0] for row in found if row not in rows)
        if not found:
            raise SourceError(f"expected {self.shape}, found no clip in {source}; give its folder")
        part = source.resolve().name
        check_file_name(source, part)
        sizes = file_sizes(source, {row[0] for row in rows})
        provenance = cache(
            lambda split: Provenance(self.dataset(source, options), official_split=split)
        )
        entries = [
            Entry(
                part,
                video,
                label,
                (original or None) if label == FAKE else None,
                f"{source}{os.sep}{video}",
                sizes.get(video),
                provenance(SPLITS.get(split.lower())),
            )
            for video, label, original, split in rows
        ]
        check_unique(entries, table if table.is_file() else source / METADATA)
        unnamed = sorted(n for n in sizes.keys() - {row[0] for row in rows} if is_video(n))
        notes = (f"not named in {part}, left out: {shortened(unnamed)}",) if unnamed else ()
        named = tuple(f"{part}/{name}" for name in unnamed)
        return Listing(entries, named, notes, refused=refused)


def has_flags(folder: Path) -> bool:
    """Whether a metadata.json gives its labels as `is_fake`, not as `label`."""
    path = folder / METADATA
    if not path.is_file():  # opening a pipe would wait for a writer
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return b'"is_fake"' in start and b'"label"' not in start


def _labels(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield the video, label, original and split of every row of a labels.csv."""
    for row in read_csv(path, ("filename", "label"), _OPTIONAL):
        yield _checked(path, row["filename"], row["label"], row["original"], row["split"])


def _metadata(path: Path, shape: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the same of every entry of a metadata.json."""
    if not path.is_file():
        raise SourceError(
            f"expected {shape}, found neither in {path.parent}; give the folder of the clips"
        )
    for video, fields in load_metadata(path).items():
        given = fields if isinstance(fields, dict) else {}
        label = given.get("label", given.get("is_fake"))
        label = int(label) if isinstance(label, bool) else label
        original, split = (str(given.get(name) or "") for name in _OPTIONAL)
        yield _checked(path, video, "" if label is None else str(label), original, split)


def _checked(
    path: Path, video: str, text: str, original: str, split: str
) -> tuple[str, str, str, str]:
    label = parse_label(text)
    if label is None:
        raise SourceError(
            f"expected a label 0 (REAL) or 1 (FAKE) for {abbreviated(video)} in {path}, found "
            f"{abbreviated(text)}; correct the entry"
        )
    return video, label, original, split
