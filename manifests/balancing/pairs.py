"""Pairs: a REAL crop and a FAKE one of the same family, frame, face and box."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from manifests.errors import TableError
from manifests.labels import LABELS, REAL
from manifests.tables.factorize import Codes, pair
from manifests.tables.rows_by_clip import Rows

#: What two crops of one family must have in common to be a pair, beside frame and face.
_BOX = ("crop_x", "crop_y", "crop_size")


def match(table: pa.Table, rows: Rows, seed: int) -> Rows:
    """Keep only pairs: of every family its original and one of its fakes, chosen by seed.

    Returns:
        The rows of the pairs, as many REAL as FAKE ones, sorted by (family, frame, face);
        their `clip` is the family, so that both sides of a pair are taken or left together.

    Raises:
        TableError: no crop has a partner, or the table knows no frames and faces.
    """
    known = rows.where((rows.frame >= 0) & (rows.face >= 0))
    key = _key(table, known)
    real = known.label == LABELS.index(REAL)
    key_has_real = np.zeros(int(key.max(initial=-1)) + 1, bool)
    key_has_real[key[real]] = True
    fake = np.flatnonzero(~real & key_has_real[key])
    fake = fake[np.isin(known.clip[fake], _one_a_family(known.where(fake), seed))]
    paired, first_fake = np.unique(key[fake], return_index=True)
    if not len(paired):
        raise TableError(
            "expected crops of the same frame and box of an original and its fake, found none; "
            "extract both with shared boxes, or choose another --strategy"
        )
    first_real = np.unique(key[real], return_index=True)
    originals = np.flatnonzero(real)[first_real[1][np.isin(first_real[0], paired)]]
    both = known.where(np.concatenate([originals, fake[first_fake]]))
    both = both.where(np.lexsort((both.label, both.face, both.frame, both.family)))
    return replace(both, clip=both.family)


def _key(table: pa.Table, rows: Rows) -> Codes:
    """One number for each distinct family, frame, face and box, int64 [rows]."""
    key = pair(pair(rows.family, rows.frame), rows.face)
    for name in _BOX:
        if name in table.column_names:
            edge = table[name].take(pa.array(rows.at)).fill_null(0).to_numpy()
            key = pair(key, np.unique(edge, return_inverse=True)[1].astype(np.int64))
    return key


def _one_a_family(fakes: Rows, seed: int) -> Codes:
    """One clip of every family, drawn by seed, int64 [families]."""
    clip, first = np.unique(fakes.clip, return_index=True)
    drawn = np.random.RandomState(seed).permutation(len(clip))
    family = fakes.family[first][drawn]
    chosen: Codes = clip[drawn[np.unique(family, return_index=True)[1]]]
    return chosen
