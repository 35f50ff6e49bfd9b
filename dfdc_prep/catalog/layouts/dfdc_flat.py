"""DFDC's test set and folders like it: clips beside a labels.csv, or a metadata.json."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dfdc_prep.catalog import files
from dfdc_prep.catalog.clips import SPLITS, Entry, Layout, Listing, Provenance, SourceOptions
from dfdc_prep.catalog.layouts.dfdc import DATASET, METADATA, load_metadata
from dfdc_prep.errors import SourceError
from manifests.labels import FAKE, parse_label
from manifests.wording import abbreviated, listed

_LABELS_CSV = "labels.csv"
_SHAPE = (
    "clips beside a labels.csv with the columns filename and label (0 REAL, 1 FAKE), or a "
    'metadata.json of the form {"clip.mp4": {"is_fake": 1}}'
)
#: Bytes of a metadata.json that show how it gives its labels.
_START = 4096
#: Columns of labels.csv beside filename and label, and keys of metadata.json.
_OPTIONAL = ("original", "split")


def _read(source: Path, options: SourceOptions) -> Listing:
    """List the clips of one folder; each is its own family unless an original is named."""
    table = source / _LABELS_CSV
    table = table if table.is_file() else source / METADATA
    part = source.resolve().name
    files.check_file_name(source, part)
    dataset = options.dataset or DATASET
    provenance = cache(lambda split: Provenance(dataset, official_split=split))
    rows, refused = [], []
    for video, text, original, split in _given_rows(table):
        label = parse_label(text)
        if label is None:
            raise SourceError(
                f"expected a label 0 (REAL) or 1 (FAKE) for {abbreviated(video)} in {table}, found "
                f"{abbreviated(text)}; correct the entry"
            )
        if files.is_file_name(video) and (not original or files.is_file_name(original)):
            rows.append((video, label, original, SPLITS.get(split.lower())))
        else:
            refused.append(video)
    if not rows and not refused:
        raise SourceError(f"expected {_SHAPE}, found no clip in {source}; give its folder")
    sizes = files.file_sizes(source, {row[0] for row in rows})
    entries = [
        Entry(
            part,
            video,
            label,
            (original or None) if label == FAKE else None,
            f"{source}{os.sep}{video}",
            sizes.get(video),
            provenance(split),
        )
        for video, label, original, split in rows
    ]
    files.check_unique(entries, table)
    unnamed = files.unnamed_videos(sizes, (row[0] for row in rows))
    notes = [f"not named in {part}, left out: {listed(unnamed)}"] if unnamed else []
    return Listing(dataset, entries, [f"{part}/{name}" for name in unnamed], notes, refused)


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


def _given_rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield the video, label, original and split of every row or entry, unchecked."""
    if path.name == _LABELS_CSV:
        for row in files.read_csv(path, ("filename", "label"), _OPTIONAL):
            yield row["filename"], row["label"], row["original"], row["split"]
        return
    if not path.is_file():
        raise SourceError(
            f"expected {_SHAPE}, found neither in {path.parent}; give the folder of the clips"
        )
    for video, fields in load_metadata(path).items():
        given = fields if isinstance(fields, dict) else {}
        label = given.get("label", given.get("is_fake"))
        label = int(label) if isinstance(label, bool) else label
        original, split = (str(given.get(name) or "") for name in _OPTIONAL)
        yield video, "" if label is None else str(label), original, split


DFDC_FLAT = Layout("dfdc-flat", _SHAPE, ((_LABELS_CSV,),), _read)
