"""Rows of a table as integer arrays, sorted by clip independently of the table's row order."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa

from manifests.labels import LABELS
from manifests.tables import families
from manifests.tables.codes import Codes, Mask, factorize, factorize_sorted, integer_column


@dataclass(frozen=True)
class ClipRows:
    """Rows of a table, sorted by (part, video, frame, face, path).

    int64 [rows] each: the row's index in the table, its clip (numbered in the order of the rows),
    the index of its label in LABELS, its family, and frame and face, -1 if unknown.
    """

    index: Codes
    clip: Codes
    label: Codes
    family: Codes
    frame: Codes
    face: Codes

    def select(self, rows: Mask | Codes) -> "ClipRows":
        """Return a subset of the rows, given as a mask or as positions."""
        return ClipRows(*(getattr(self, field.name)[rows] for field in fields(self)))


def sort_by_clip(table: pa.Table, label: Codes) -> ClipRows:
    """Sort the rows of a table by clip, frame and face.

    A name used by clips of both labels counts as two clips. Rows with the same name and no
    frame are several crops of one clip.

    Args:
        table: with the column video; part, frame, face and path are used if present.
        label: int64 [rows], index in LABELS of each row's label.
    """
    (clip,), videos = factorize_sorted(table["video"])
    if "part" in table.column_names:
        (part,), _ = factorize_sorted(table["part"])
        clip = part * len(videos) + clip
    clip = clip * len(LABELS) + label
    (family,), _ = factorize(families.family_column(table))
    frame, face = integer_column(table, "frame"), integer_column(table, "face")
    rows = ClipRows(np.arange(len(clip)), clip, label, family, frame, face)
    rows = rows.select(_sort_order(table, rows))
    return replace(
        rows,
        clip=np.cumsum(np.diff(rows.clip, prepend=rows.clip[:1]) != 0),
        family=_number_by_first_row(rows.family),
    )


def _sort_order(table: pa.Table, rows: ClipRows) -> Codes:
    """Return the positions of the rows in sorted order, int64 [rows].

    A further key is added only while rows are tied, because most tables need only the clip.
    """
    order = np.argsort(rows.clip)
    keys = [rows.clip]
    for further in (rows.frame, rows.face, None):
        tied = np.ones(max(len(order) - 1, 0), bool)
        for key in keys:
            tied &= key[order[1:]] == key[order[:-1]]
        if not tied.any():
            break
        # The path is factorized only if frame and face leave ties; lexsort's last key is primary.
        if further is None:
            if "path" not in table.column_names:
                break
            (further,), _ = factorize_sorted(table["path"])
        keys.insert(0, further)
        order = np.lexsort(keys)
    return order


def _number_by_first_row(codes: Codes) -> Codes:
    """Renumber dense codes in the order of their first rows, int64 [rows]."""
    first_row = np.full(int(codes.max(initial=-1)) + 1, len(codes))
    first_row[codes[::-1]] = np.arange(len(codes))[::-1]  # of several rows the first is kept
    number = np.empty(len(first_row), np.int64)
    number[np.argsort(first_row)] = np.arange(len(first_row))
    return number[codes]


def position_in_run(codes: Codes) -> Codes:
    """Return the place of each row among those of its code, int64 [rows], of sorted codes."""
    return np.arange(len(codes)) - np.searchsorted(codes, codes)


def sample_frames(clip: Codes, frame: Codes, max_frames: int) -> Mask:
    """Select at most `max_frames` evenly spaced frames of each clip, with all their faces.

    A row without a frame counts as a frame of its own.

    Args:
        clip, frame: int64 [rows], sorted by (clip, frame).

    Returns:
        bool [rows], whether a row is selected.
    """
    # Mark the first row of each frame; `clip_of_frame` has one entry per frame.
    is_first = np.ones(len(clip), bool)
    is_first[1:] = (clip[1:] != clip[:-1]) | (frame[1:] != frame[:-1]) | (frame[1:] < 0)
    clip_of_frame = clip[is_first]
    position = position_in_run(clip_of_frame)
    available = np.bincount(clip_of_frame)[clip_of_frame]
    wanted = np.minimum(max_frames, available)

    # Select a frame where round(position * wanted / available) increases.
    before, after = (
        (2 * at * wanted + available) // (2 * available) for at in (position, position + 1)
    )
    selected: Mask = (after > before)[np.cumsum(is_first) - 1]
    return selected
