"""Subset sum: filling a class to an exact number of rows with whole clips.

The set of reachable sums is stored as the bits of one Python integer: bit n is set if some of
the clips have n rows in total. Adding a clip of s rows is `sums | sums << s`.
"""

import numpy as np

from manifests.tables.codes import Codes, Mask


def reachable_sums(sizes: Codes, limit: int) -> int:
    """Return all numbers of rows up to `limit` that whole clips can have, as a bit set.

    Args:
        sizes: int64 [clips], the rows of each clip.
    """
    sums = 1
    for size, count in _count_sizes(sizes):
        sums = _add_clips(sums, size, count, limit)
    return sums


def largest_common_sum(classes: tuple[Codes, ...], limit: int) -> int:
    """Return the largest sum up to `limit` that every class can reach.

    Args:
        classes: for each class int64 [clips], the rows of each clip.
    """
    common = -1
    for sizes in classes:
        common &= reachable_sums(sizes, limit)
    return common.bit_length() - 1


def choose_clips(sizes: Codes, rows: int) -> Mask:
    """Choose clips with exactly `rows` rows in total, preferring the first ones.

    If a prefix of the clips leaves a gap, as few of its last clips as necessary are dropped and
    the gap is filled from the remaining clips.

    Args:
        sizes: int64 [clips], the rows of each clip, in order of preference.
        rows: a sum in `reachable_sums`.

    Returns:
        bool [clips], whether a clip is chosen.
    """
    ends = np.concatenate([[0], np.cumsum(sizes)])
    prefix = int(np.searchsorted(ends, rows, "right")) - 1
    dropped = 0
    while True:
        kept = max(prefix - dropped, 0)
        gap = rows - int(ends[kept])
        if reachable_sums(sizes[kept:], gap) >> gap & 1:
            break
        dropped = 2 * dropped or 1
    chosen = np.zeros(len(sizes), bool)
    chosen[:kept] = True
    chosen[kept:] = _choose_exactly(sizes[kept:], gap)
    return chosen


def _choose_exactly(sizes: Codes, rows: int) -> Mask:
    """Choose clips with `rows` rows in total, bool [clips]; of each size the first ones."""
    size_counts, sums = _count_sizes(sizes), [1]
    for size, count in size_counts:
        sums.append(_add_clips(sums[-1], size, count, rows))
    # Walk back through the sizes: take the fewest clips of each that leave a reachable rest.
    chosen = np.zeros(len(sizes), bool)
    for (size, count), reachable in zip(reversed(size_counts), reversed(sums[:-1]), strict=True):
        number = next(
            k for k in range(count + 1) if k * size <= rows and reachable >> rows - k * size & 1
        )
        chosen[np.flatnonzero(sizes == size)[:number]] = True
        rows -= number * size
    return chosen


def _count_sizes(sizes: Codes) -> list[tuple[int, int]]:
    """Return each distinct size and the number of clips that have it."""
    distinct, counts = np.unique(sizes, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


def _add_clips(sums: int, size: int, count: int, limit: int) -> int:
    """Return the sums reachable with up to `count` further clips of `size` rows.

    The clips are added in bundles of 1, 2, 4 ... clips, so that the number of shifts is
    logarithmic in `count`.
    """
    mask = (1 << limit + 1) - 1
    bundle = 1
    while count > 0 and size * min(bundle, count) <= limit:
        sums |= sums << size * min(bundle, count) & mask
        count -= bundle
        bundle *= 2
    return sums
