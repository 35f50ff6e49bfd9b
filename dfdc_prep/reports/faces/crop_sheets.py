"""Contact sheets of a faces folder: crops by label, extremes, originals beside their fakes."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.reports.faces.measures import Measure, short_number
from dfdc_prep.reports.gallery import Gallery
from dfdc_prep.reports.page import Group, Groups, Sheet
from dfdc_prep.video.timeline import evenly_spaced
from manifests.labels import FAKE, LABELS, REAL
from manifests.tables.codes import Codes

#: Crops of each label, crops at each extreme, pairs of an original and a fake.
MAX_CROPS, MAX_EXTREMES, MAX_PAIRS = 36, 18, 12
#: What an extreme sheet shows, by the name of its measure; the smallest values come first.
_EXTREMES = {
    "face size": "Smallest faces, in source pixels",
    "brightness": "Darkest crops, by mean grey level",
    "sharpness": "Blurriest crops, by variance of the Laplacian",
    "detector score": "Least certain faces, by the detector's score",
}


def sheets_by_label(gallery: Gallery) -> list[Sheet]:
    """Crops of each label, evenly spaced over the manifest."""
    sheets = []
    for label in LABELS:
        rows = np.flatnonzero(pc.equal(gallery.table["label"], label).to_numpy())
        if len(rows):
            chosen = rows[evenly_spaced(len(rows), MAX_CROPS)].tolist()
            caption = f"{label}: {len(chosen):,} of {len(rows):,} crops, evenly spaced"
            sheets.append(Sheet(caption, gallery.pictures(chosen)))
    return sheets


def extreme_sheets(gallery: Gallery, measures: Sequence[Measure], clip: Codes) -> list[Sheet]:
    """The smallest, darkest, blurriest and least certain crops, one of each clip.

    Args:
        clip: number of each row's clip, int64 [rows].
    """
    by_name = {measure.name: measure for measure in measures}
    sheets = []
    for name, caption in _EXTREMES.items():
        measure = by_name[name]
        if rows := _smallest_per_clip(measure, clip):
            values = [short_number(float(measure.values[row])) for row in rows]
            pictures = gallery.pictures(rows, values)
            sheets.append(Sheet(f"{caption}; one crop of each clip", pictures))
    return sheets


def original_fake_pairs(gallery: Gallery) -> Groups | None:
    """Originals beside one of their fakes, at the same or the nearest frame; None without any."""
    found = list(_pairs(gallery.table))
    if not found:
        return None
    shown = [found[at] for at in evenly_spaced(len(found), MAX_PAIRS)]
    pictures = gallery.pictures([row for pair in shown for row in pair])
    groups = [
        Group(pictures[at : at + 2], _frames_line(gallery.table, pair))
        for at, pair in zip(range(0, len(pictures), 2), shown, strict=True)
    ]
    caption = f"An original and one of its fakes: {len(groups):,} of {len(found):,} originals"
    return Groups(caption, groups)


def _smallest_per_clip(measure: Measure, clip: Codes) -> list[int]:
    """Return the rows with the smallest values, at most one of each clip."""
    order = np.argsort(np.where(measure.known, measure.values, np.inf), kind="stable")
    order = order[: int(measure.known.sum())]
    _, first = np.unique(clip[order], return_index=True)
    rows: list[int] = order[np.sort(first)][:MAX_EXTREMES].tolist()
    return rows


def _pairs(table: pa.Table) -> Iterator[tuple[int, int]]:
    """Yield, for each original with crops, its row and that of a fake at the nearest frame."""
    videos, labels = table["video"].to_pylist(), table["label"].to_pylist()
    frames = table["frame"].to_pylist()
    reals: defaultdict[str, list[int]] = defaultdict(list)
    fakes: defaultdict[str, list[int]] = defaultdict(list)
    for row, (video, label, original) in enumerate(
        zip(videos, labels, table["original"].to_pylist(), strict=True)
    ):
        if label == REAL:
            reals[video].append(row)
        elif label == FAKE and original is not None:
            fakes[original].append(row)
    for name, rows in reals.items():
        if name in fakes:
            fake = fakes[name][0]
            yield min(rows, key=lambda row: _distance(frames[row], frames[fake])), fake


def _distance(first: int | None, second: int | None) -> float:
    return math.inf if first is None or second is None else abs(first - second)


def _frames_line(table: pa.Table, pair: tuple[int, int]) -> str:
    first, second = (table["frame"][row].as_py() for row in pair)
    if first is None or second is None:
        return ""
    return f"frame {first:,}" if first == second else f"frames {first:,} and {second:,}"
