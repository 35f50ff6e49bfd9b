"""Filling a class to an exact number of rows with whole clips.

A set of reachable sums is kept as the bits of one Python integer: bit n is set where some
of the clips have n rows in all. Adding a clip of s rows is `bits | bits << s`.
"""

import numpy as np

from manifests.tables.factorize import Codes, Mask


def reachable(sizes: Codes, limit: int) -> int:
    """Every number of rows up to `limit` that whole clips can make, as the bits of an integer.

    Args:
        sizes: int64 [clips], the rows of each clip.
    """
    bits = 1
    for size, count in _kinds(sizes):
        bits = _with(bits, size, count, limit)
    return bits


def largest(sizes: tuple[Codes, ...], limit: int) -> int:
    """The largest number up to `limit` that each of several sets of clips can make."""
    common = -1
    for one in sizes:
        common &= reachable(one, limit)
    return common.bit_length() - 1


def choose(sizes: Codes, rows: int) -> Mask:
    """Take clips, the first ones first, until exactly `rows` rows are taken.

    Where the first clips leave a gap, the fewest of them that will do are given back and
    the gap is filled from the rest.

    Args:
        sizes: int64 [clips], the rows of each clip, in the order they are to be taken.
        rows: a number that `reachable` has.

    Returns:
        bool [clips], whether a clip is taken.
    """
    ends = np.concatenate([[0], np.cumsum(sizes)])
    first = int(np.searchsorted(ends, rows, "right")) - 1
    back = 0
    while True:
        kept = max(first - back, 0)
        gap = rows - int(ends[kept])
        if reachable(sizes[kept:], gap) >> gap & 1:
            break
        back = 2 * back or 1
    taken = np.zeros(len(sizes), bool)
    taken[:kept] = True
    taken[kept:] = _exactly(sizes[kept:], gap)
    return taken


def _exactly(sizes: Codes, gap: int) -> Mask:
    """Clips that make `gap` rows in all, bool [clips]; the first ones of each size."""
    kinds, before = _kinds(sizes), [1]
    for size, count in kinds:
        before.append(_with(before[-1], size, count, gap))
    taken = np.zeros(len(sizes), bool)
    for (size, count), bits in zip(reversed(kinds), reversed(before[:-1]), strict=True):
        number = next(k for k in range(count + 1) if k * size <= gap and bits >> gap - k * size & 1)
        taken[np.flatnonzero(sizes == size)[:number]] = True
        gap -= number * size
    return taken


def _kinds(sizes: Codes) -> list[tuple[int, int]]:
    """Each size there is and how many clips have it."""
    distinct, counts = np.unique(sizes, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


def _with(bits: int, size: int, count: int, limit: int) -> int:
    """The sums `bits` can reach when up to `count` clips of `size` rows are added."""
    mask = (1 << limit + 1) - 1
    bundle = 1
    while count > 0 and size * min(bundle, count) <= limit:
        bits |= bits << size * min(bundle, count) & mask
        count -= bundle
        bundle *= 2
    return bits
