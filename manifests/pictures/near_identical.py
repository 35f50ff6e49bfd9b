"""Near-identical pictures: the single definition of which crops show the same.

Two pictures are near-identical if, laid over each other, their details correlate
(`manifests.pictures.thumbnails`), whether one of them is mirrored, a tighter crop, moved by a few
pixels, brighter or encoded again. Only pairs whose coarse structure agrees are laid over each
other: the 63 lowest frequencies of the centre, weighted by frequency because pictures have more of
the low ones.

Blank and nearly black pictures are left out: they all look alike and would connect everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from manifests.pictures.thumbnails import SIDE, Floats, Pictures, Thumbnails, likeness
from manifests.tables.codes import (
    Codes,
    Mask,
    label_codes,
    position_in_run,
    sample_frames,
    sort_by_clip,
)

#: Most crops of a table that are compared; of larger tables some of each clip are.
MAX_COMPARED = 150_000
#: Least likeness of near-identical pictures.
MIN_LIKENESS = 0.9
#: Least cosine of the coarse structures of pictures that are laid over each other.
_MIN_COSINE = 0.85
#: Standard deviation of the grey values below which a picture is blank.
_BLANK = 8.0
#: Pictures laid over each picture at most, the most similar ones.
_MAX_CANDIDATES = 256
#: Frequencies in each direction, and the scale of the integers that describe them. Products of
#: integers this small are exact in float32, whatever the machine and its number of threads.
_FREQUENCIES, _LEVELS = 8, 127
#: Sides of the centre that is described, as shares: of a picture, and of what a tighter crop shows.
_CENTRE, _TIGHTER = 0.93, 0.9
#: Pictures compared at a time, in rows and columns, and pairs laid over each other at a time.
_ROWS, _COLUMNS, _PAIRS = 1024, 4096, 2048


@dataclass(frozen=True)
class NearIdentical:
    """What was found to be near-identical.

    `picture` is what each row shows, equal for equal thumbnails; -1 if it is blank or there is
    none. Pictures are numbered by their content, not by the rows.
    """

    picture: Codes  # int64 [rows]
    first: Codes  # int64 [pairs], near-identical pictures; first < second, sorted
    second: Codes
    likeness: Floats  # float32 [pairs], `MIN_LIKENESS` to 1

    def presence(self, present: Mask) -> Mask:
        """Return which splits contain each picture or one like it, bool [pictures, splits]."""
        reached = present.copy()
        np.logical_or.at(reached, self.first, present[self.second])
        np.logical_or.at(reached, self.second, present[self.first])
        return reached


def rows_to_compare(table: pa.Table, most: int = MAX_COMPARED) -> Mask:
    """Return which rows of a table have their pictures compared, bool [rows].

    Of more than `most`, as many evenly spaced frames of each clip as come to that, at least one, of
    as many clips, evenly spaced.
    """
    wanted = np.ones(table.num_rows, bool)
    if table.num_rows <= most:
        return wanted
    rows = sort_by_clip(table, label_codes(table))
    clips = int(rows.clip.max()) + 1
    taken = sample_frames(rows.clip, rows.frame, max(1, most // clips))
    taken &= (rows.clip + 1) * min(most, clips) // clips > rows.clip * min(most, clips) // clips
    wanted[rows.index] = taken
    return wanted


def find_in_table(pictures: Pictures, group: Codes) -> NearIdentical:
    """As `find_near_identical`, with `group` and `picture` of all rows of the table."""
    found = find_near_identical(pictures.thumbnails, group[pictures.rows])
    picture = np.full(len(group), -1, np.int64)
    picture[pictures.rows] = found.picture
    return replace(found, picture=picture)


def find_near_identical(thumbnails: Thumbnails, group: Codes) -> NearIdentical:
    """Find the near-identical pictures of different groups.

    The order of the rows has no effect. The cost grows with the square of the number of pictures.

    Args:
        thumbnails: uint8 [rows, SIDE, SIDE]; a row without a picture is all zeros, which is blank.
        group: int64 [rows]; pictures of one group alone are not compared with each other.
    """
    # The picture of each row, -1 if blank, and the distinct pictures in order.
    rows = np.flatnonzero(~is_blank(thumbnails))
    content = np.ascontiguousarray(thumbnails[rows]).reshape(len(rows), SIDE * SIDE)
    _, row_of, code = np.unique(
        content.view(f"V{SIDE * SIDE}").ravel(), return_index=True, return_inverse=True
    )
    picture, pictures = np.full(len(thumbnails), -1, np.int64), thumbnails[rows[row_of]]
    picture[rows] = code
    # The group that each picture is in; a number of its own if it is in several.
    low, high = np.full(len(pictures), np.iinfo(np.int64).max), np.full(len(pictures), -1)
    np.minimum.at(low, code, group[rows])
    np.maximum.at(high, code, group[rows])
    only_group = np.where(low == high, low, -1 - np.arange(len(pictures)))
    candidates = _candidates(pictures, only_group)
    found = _verify(pictures, candidates)
    near = found >= MIN_LIKENESS
    first, second, alike = candidates.first[near], candidates.second[near], found[near]
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((high, low))
    return NearIdentical(picture, low[order], high[order], alike[order])


def is_blank(thumbnails: Thumbnails) -> Mask:
    """Return which thumbnails show nothing to compare, bool [thumbnails]."""
    blank = np.empty(len(thumbnails), bool)
    for start in range(0, len(thumbnails), _ROWS):
        block = thumbnails[start : start + _ROWS]
        blank[start : start + _ROWS] = block.std(axis=(1, 2), dtype=np.float64) < _BLANK
    return blank


class _Candidates(NamedTuple):
    """Pairs to lay over each other: the first, mirrored or not, at a scale, on the second."""

    first: Codes
    second: Codes
    mirrored: Mask
    tighter: Mask
    cosine: Codes


def _describe(pictures: Thumbnails, share: float) -> Floats:
    """Describe the coarse structure of the centre, a share of the side of pictures.

    Returns float32 [pictures, _FREQUENCIES**2 - 1], integers of at most `_LEVELS`.
    """
    # The cosine transform of the centre of a side, float64 [_FREQUENCIES, SIDE].
    middle = (SIDE - 1) / 2
    points = middle + share * (np.arange(SIDE) - middle)
    sampled = np.maximum(1 - np.abs(points[:, None] - np.arange(SIDE)), 0)
    cosines = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), np.arange(SIDE) + 0.5) / SIDE)
    cosines[0] /= np.sqrt(2)
    basis = cosines @ sampled
    weight = np.hypot(*np.indices((_FREQUENCIES, _FREQUENCIES)))
    described = np.empty((len(pictures), _FREQUENCIES**2 - 1), np.float32)
    for start in range(0, len(pictures), _ROWS):
        block = pictures[start : start + _ROWS].astype(np.float64)
        spectrum = (basis @ block @ basis.T * weight).reshape(len(block), -1)[:, 1:]
        norm = np.maximum(np.linalg.norm(spectrum, axis=1, keepdims=True), 1e-9)
        described[start : start + _ROWS] = np.rint(_LEVELS * spectrum / norm)
    return described


def _candidates(pictures: Thumbnails, group: Codes) -> _Candidates:
    """Return the pairs whose coarse structure agrees, each once, as it agrees best."""
    mirror = np.tile((-1.0) ** np.arange(_FREQUENCIES), _FREQUENCIES)[1:].astype(np.float32)
    whole, tight = _describe(pictures, _CENTRE), _describe(pictures, _CENTRE * _TIGHTER)
    found = [np.empty((0, 5), np.int64)]
    for tighter, moved in enumerate((whole, tight)):
        for mirrored, turned in enumerate((moved, moved * mirror)):
            for first, second, cosine in _agreeing(turned, whole, group, symmetric=not tighter):
                kind = np.tile([mirrored, tighter], (len(first), 1))
                found.append(np.column_stack([first, second, kind, cosine]))
    first, second, mirrored_, tighter_, cosine = np.concatenate(found).T
    return _best(_Candidates(first, second, mirrored_ > 0, tighter_ > 0, cosine))


def _agreeing(
    moved: Floats, fixed: Floats, group: Codes, symmetric: bool
) -> Iterator[tuple[Codes, Codes, Codes]]:
    """Yield blocks of pairs of different groups whose descriptions agree, and their products.

    If they are symmetric, only pairs whose first comes before the second: the others say the same.
    """
    least = _MIN_COSINE * _LEVELS**2
    for top in range(0, len(moved), _ROWS):
        rows = moved[top : top + _ROWS]
        for left in range(top if symmetric else 0, len(fixed), _COLUMNS):
            product = rows @ fixed[left : left + _COLUMNS].T
            at = np.flatnonzero(product >= least)
            cosine = product.ravel()[at].astype(np.int64)
            first, second = np.divmod(at, product.shape[1])
            first, second = first + top, second + left
            keep = group[first] != group[second]
            if symmetric:
                keep &= first < second
            yield first[keep], second[keep], cosine[keep]


def _best(found: _Candidates) -> _Candidates:
    """Keep each pair once, and of each picture the pairs that agree best."""
    low, high = np.minimum(found.first, found.second), np.maximum(found.first, found.second)
    order = np.lexsort((found.first, found.tighter, found.mirrored, -found.cosine, high, low))
    low, high = low[order], high[order]
    order = order[np.r_[True, (np.diff(low) != 0) | (np.diff(high) != 0)][: len(order)]]
    cosine = found.cosine[order]
    near = _rank(found.first[order], cosine) < _MAX_CANDIDATES
    near |= _rank(found.second[order], cosine) < _MAX_CANDIDATES
    order = order[near]
    return _Candidates(*(values[order] for values in found))


def _rank(picture: Codes, cosine: Codes) -> Codes:
    """Return the place of each pair among those of its picture, best first, int64 [pairs]."""
    order = np.lexsort((-cosine, picture))
    rank = np.empty(len(picture), np.int64)
    rank[order] = position_in_run(picture[order])
    return rank


def _verify(pictures: Thumbnails, pairs: _Candidates) -> Floats:
    """Return how alike each pair is once aligned, float32 [pairs]."""
    alike = [np.empty(0, np.float32)]
    for start in range(0, len(pairs.first), _PAIRS):
        part = slice(start, start + _PAIRS)
        moved = pictures[pairs.first[part]]
        mirrored = pairs.mirrored[part]
        moved[mirrored] = moved[mirrored, :, ::-1]
        scale = np.where(pairs.tighter[part], _TIGHTER, 1).astype(np.float32)
        alike.append(likeness(moved, pictures[pairs.second[part]], scale))
    return np.concatenate(alike)
