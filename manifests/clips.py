"""The rows of a table gathered by clip, in an order that does not depend on theirs."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from manifests import families
from manifests.codes import Codes, Mask, encode_sorted, numbers, pair


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
    (clip,), _ = encode_sorted(table["video"])
    if "part" in table.column_names:
        (part,), _ = encode_sorted(table["part"])
        clip = pair(part, clip)
    clip = pair(clip, label)
    (family,), _ = encode_sorted(families.of(table))
    frame, face = numbers(table, "frame"), numbers(table, "face")
    rows = Rows(np.arange(len(clip)), clip, label, family, frame, face)
    return rows.where(_order(table, rows))


def _order(table: pa.Table, rows: Rows) -> Codes:
    """The numbers of the rows as they are sorted; paths count only where all else is equal."""
    keys = [key for key in (rows.face, rows.frame) if key.max(initial=-1) >= 0]
    order = np.lexsort((*keys, rows.clip))
    tied = np.ones(max(len(order) - 1, 0), bool)
    for key in (*keys, rows.clip):
        tied &= key[order[1:]] == key[order[:-1]]
    if tied.any() and "path" in table.column_names:
        (path,), _ = encode_sorted(table["path"])
        order = np.lexsort((path, *keys, rows.clip))
    return order


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
    kept = (2 * (place + 1) * wanted + have) // (2 * have) > (2 * place * wanted + have) // (
        2 * have
    )
    thinned: Mask = kept[np.cumsum(first) - 1]
    return thinned
