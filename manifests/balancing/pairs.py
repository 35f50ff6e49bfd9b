"""Pairs: a REAL and a FAKE crop of the same family, frame, face and box."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from manifests.errors import TableError
from manifests.labels import LABELS, REAL
from manifests.tables.factorize import Codes, pair_codes
from manifests.tables.rows_by_clip import ClipRows

#: Columns that must be equal in both crops of a pair, besides frame and face.
_BOX_COLUMNS = ("crop_x", "crop_y", "crop_size")


def match_pairs(table: pa.Table, rows: ClipRows, seed: int) -> ClipRows:
    """Keep only pairs: in every family, the original and one fake chosen at random.

    Returns:
        The rows of the pairs, as many REAL as FAKE ones, sorted by (family, frame, face).
        Their `clip` is the family, so that both crops of a pair are chosen together.

    Raises:
        TableError: no crop has a partner, or the table lacks frames and faces.
    """
    known = rows.select((rows.frame >= 0) & (rows.face >= 0))
    key = _pair_keys(table, known)

    # FAKE rows whose key also occurs in a REAL row, of one fake clip per family.
    real = known.label == LABELS.index(REAL)
    key_has_real = np.zeros(int(key.max(initial=-1)) + 1, bool)
    key_has_real[key[real]] = True
    fake = np.flatnonzero(~real & key_has_real[key])
    fake = fake[np.isin(known.clip[fake], _one_clip_per_family(known.select(fake), seed))]
    paired, first_fake = np.unique(key[fake], return_index=True)
    if not len(paired):
        raise TableError(
            "expected crops of the same frame and box of an original and its fake, found none; "
            "extract both with shared boxes, or choose another --strategy"
        )

    # The first REAL and the first FAKE row of each key form the pair.
    first_real = np.unique(key[real], return_index=True)
    originals = np.flatnonzero(real)[first_real[1][np.isin(first_real[0], paired)]]
    both = known.select(np.concatenate([originals, fake[first_fake]]))
    both = both.select(np.lexsort((both.label, both.face, both.frame, both.family)))
    return replace(both, clip=both.family)


def _pair_keys(table: pa.Table, rows: ClipRows) -> Codes:
    """Return one code for each distinct family, frame, face and box, int64 [rows]."""
    key = pair_codes(pair_codes(rows.family, rows.frame), rows.face)
    for name in _BOX_COLUMNS:
        if name in table.column_names:
            edge = table[name].take(pa.array(rows.index)).fill_null(0).to_numpy()
            key = pair_codes(key, np.unique(edge, return_inverse=True)[1].astype(np.int64))
    return key


def _one_clip_per_family(fakes: ClipRows, seed: int) -> Codes:
    """Choose one clip of every family at random, int64 [families]."""
    clip, first = np.unique(fakes.clip, return_index=True)
    shuffled = np.random.RandomState(seed).permutation(len(clip))
    family = fakes.family[first][shuffled]
    chosen: Codes = clip[shuffled[np.unique(family, return_index=True)[1]]]
    return chosen
