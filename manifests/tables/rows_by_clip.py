"""The rows of a table gathered by clip, in an order that does not depend on theirs."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa

from manifests.labels import LABELS
from manifests.tables import families
from manifests.tables.factorize import Codes, Mask, encode, encode_sorted, numbers


@dataclass(frozen=True)
class Rows:
    """Rows of a table, sorted by (part, video, frame, face, path).

    Attributes:
        at: int64 [rows], where each stands in the table.
        clip: int64 [rows], the clip it was cut from, numbered in the order of the rows.
        label: int64 [rows], its label's place in LABELS.
        family: int64 [rows], its family.
        frame, face: int64 [rows], -1 where the table does not know.
    """

    at: Codes
    clip: Codes
    label: Codes
    family: Codes
    frame: Codes
    face: Codes

    def where(self, kept: Mask | Codes) -> "Rows":
        """Some of the rows: those marked True, or those with these numbers."""
        return Rows(*(getattr(self, field.name)[kept] for field in fields(self)))


def gather(table: pa.Table, label: Codes) -> Rows:
    """Sort the rows of a table by clip, frame and face.

    A name that stands for clips of both labels is two clips. Rows of one name without a
    frame are several crops of one clip.

    Args:
        table: with the column video; part, frame, face and path where they are known.
        label: int64 [rows], each row's label as its place in LABELS.
    """
    (clip,), videos = encode_sorted(table["video"])
    if "part" in table.column_names:
        (part,), _ = encode_sorted(table["part"])
        clip = part * len(videos) + clip
    clip = clip * len(LABELS) + label
    (family,), _ = encode(families.of(table))
    frame, face = numbers(table, "frame"), numbers(table, "face")
    rows = Rows(np.arange(len(clip)), clip, label, family, frame, face)
    rows = rows.where(_order(table, rows))
    return replace(rows, clip=_runs(rows.clip), family=_in_turn(rows.family))


def _order(table: pa.Table, rows: Rows) -> Codes:
    """The numbers of the rows as they are sorted; a further key counts only among equals."""
    order = np.argsort(rows.clip)
    keys = [rows.clip]
    for further in (rows.frame, rows.face, None):
        tied = np.ones(max(len(order) - 1, 0), bool)
        for key in keys:
            tied &= key[order[1:]] == key[order[:-1]]
        if not tied.any():
            break
        keys.insert(0, _paths(table) if further is None else further)
        order = np.lexsort(keys)
    return order


def _paths(table: pa.Table) -> Codes:
    if "path" not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    (path,), _ = encode_sorted(table["path"])
    return path


def _runs(sorted_codes: Codes) -> Codes:
    """Codes that stand together, numbered anew from zero on, int64 [rows]."""
    return np.cumsum(np.diff(sorted_codes, prepend=sorted_codes[:1]) != 0)


def _in_turn(codes: Codes) -> Codes:
    """Dense codes numbered anew by the first row each stands in, int64 [rows]."""
    first = np.full(int(codes.max(initial=-1)) + 1, len(codes))
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    turn = np.empty(len(first), np.int64)
    turn[np.argsort(first)] = np.arange(len(first))
    return turn[codes]


def thin(clip: Codes, frame: Codes, most: int) -> Mask:
    """Keep at most `most` frames of each clip, evenly spread, with all their faces.

    Rows that know no frame count as one frame each.

    Args:
        clip, frame: int64 [rows], sorted by (clip, frame).

    Returns:
        bool [rows], whether a row is kept.
    """
    first = np.ones(len(clip), bool)
    first[1:] = (clip[1:] != clip[:-1]) | (frame[1:] != frame[:-1]) | (frame[1:] < 0)
    owner = clip[first]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    have = np.bincount(owner)[owner]
    wanted = np.minimum(most, have)
    before, after = ((2 * at * wanted + have) // (2 * have) for at in (place, place + 1))
    thinned: Mask = (after > before)[np.cumsum(first) - 1]
    return thinned
