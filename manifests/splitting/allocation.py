"""Allocating families to splits: every kind in proportion, and the rows wanted of every label.

Families of one kind have the same number of rows of each label. In all functions here:

- `kinds`: int64 [kinds, labels], rows of each label in a family of that kind.
- `counts`: int64 [kinds], number of families of that kind.
- `wanted`: int64 [splits, labels], rows each split should get; over all splits, those available.
- an allocation: int64 [kinds, splits], number of families of each kind in each split.

An integer program alone hits the counts and returns a corner: whole kinds of families in one
split. So families are first dealt in proportion, at random by the seed, and an integer program
then moves as few of them as it takes, among some that are drawn at random.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, eye_array, kron

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

#: Branch-and-bound nodes after which an integer program stops. A limit in seconds would make
#: the result depend on the machine's speed.
MAX_NODES = 1_000
#: Largest number of kinds for which an integer program is tried.
MAX_KINDS = 2_000
#: Families that may be moved, drawn at random: more where fewer do not reach the counts.
_MOVABLE = (40, 160, 640)
#: Families of a kind above which the whole parts of the shares need no dealing.
_MANY = 1_000
#: Families by which moving may change the number of one kind in one split.
_MOST_MOVED = 2
#: What a row that is missing costs, the largest shortfall, and a family that is moved.
_ROW, _LARGEST, _MOVE = 1000.0, 1.0, 0.01


def largest_remainder(count: int, weights: Weights) -> Counts:
    """Divide `count` into integers proportional to the weights, by the largest-remainder method.

    Ties go to the first weight. Returns int64 [weights], with the sum `count`.
    """
    exact = count * weights / weights.sum()
    whole = np.floor(exact + 1e-6)
    left = count - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    quotas: Counts = whole.astype(np.int64)
    return quotas


def allocate(kinds: Counts, counts: Counts, wanted: Counts, seed: int = 0) -> Counts:
    """Allocate all families, each kind in proportion, and exactly as wanted if possible.

    Of the allocations found, the best has the smallest total shortfall, then the smallest
    shortfall of any label in any split, then the fewest families moved from their proportion.
    The shortfall is optimal within `MAX_NODES` and `MAX_KINDS`.
    """
    random = np.random.RandomState(seed)
    dealt = deal(counts, wanted.sum(axis=1) / wanted.sum(), random)
    best, least = dealt, _shortfall(dealt, kinds, wanted)
    for movable, most in _movable(dealt, random):
        if least == (0, 0):
            return best
        found = _move(kinds, dealt, movable, wanted, most)
        if found is not None and _shortfall(found, kinds, wanted) < least:
            best, least = found, _shortfall(found, kinds, wanted)
    greedy = allocate_greedily(kinds, counts, wanted)
    return greedy if _shortfall(greedy, kinds, wanted) < least else best


def deal(counts: Counts, weights: Weights, random: np.random.RandomState) -> Counts:
    """Deal families to splits in proportion to the weights, kind by kind.

    Of kinds of many families, each split first gets the whole part of its share. The others are
    dealt in the order of their kinds by the golden ratio, from a place chosen at random: of any
    that follow each other, each split gets its share, but for one or two families. The weights,
    float64 [splits], have the sum 1.
    """
    many = (counts > _MANY)[:, None]
    sure = np.where(many, np.floor(counts[:, None] * weights), 0).astype(np.int64)
    counts = counts - sure.sum(axis=1)
    families = int(counts.sum())
    golden = (np.sqrt(5) - 1) / 2
    place = (random.random_sample() + golden * np.arange(families)) % 1
    split = np.searchsorted(np.cumsum(weights)[:-1], place, side="right")
    cells = np.repeat(np.arange(len(counts)), counts) * len(weights) + split
    dealt: Counts = np.bincount(cells, minlength=len(counts) * len(weights))
    return sure + dealt.reshape(len(counts), len(weights))


def _movable(dealt: Counts, random: np.random.RandomState) -> Iterator[tuple[Counts, int]]:
    """Yield the families that may be moved, int64 [kinds, splits], and how many of a kind."""
    families = int(dealt.sum())
    for drawn in _MOVABLE:
        if drawn < families:
            drawn_at = np.unique(random.randint(0, families, drawn))
            chosen = np.searchsorted(np.cumsum(dealt.ravel()), drawn_at, side="right")
            yield np.bincount(chosen, minlength=dealt.size).reshape(dealt.shape), _MOST_MOVED
    if len(dealt) <= MAX_KINDS:
        if dealt.max() > _MOST_MOVED:
            yield dealt, _MOST_MOVED
        yield dealt, families


def allocate_greedily(kinds: Counts, counts: Counts, wanted: Counts) -> Counts:
    """Allocate the largest families first, each kind in proportion to the rows still wanted."""
    allocation = np.zeros((len(kinds), len(wanted)), np.int64)
    missing = wanted.astype(np.int64)
    largest_first = np.lexsort((*kinds.T, kinds.sum(axis=1)))[::-1]

    # Allocate as many families of each kind as fit without exceeding any wanted count.
    for kind in largest_first:
        allocation[kind] = _allocate_fitting(kinds[kind], int(counts[kind]), missing)
        missing = missing - np.outer(allocation[kind], kinds[kind])

    # Allocate the rest in proportion to the missing rows, exceeding the wanted counts.
    for kind in largest_first[allocation[largest_first].sum(axis=1) < counts[largest_first]]:
        left = int(counts[kind] - allocation[kind].sum())
        excess = largest_remainder(left, np.maximum(missing, 0) @ kinds[kind] + 1e-9)
        allocation[kind] += excess
        missing = missing - np.outer(excess, kinds[kind])
    return allocation


def _allocate_fitting(kind: Counts, count: int, missing: Counts) -> Counts:
    """Return how many of `count` families of one kind fit in what is missing, int64 [splits]."""
    placed = np.zeros(len(missing), np.int64)
    present = kind > 0
    while count:
        # Families that still fit in each split, limited by the scarcest label.
        capacity = ((missing - np.outer(placed, kind))[:, present] / kind[present]).min(axis=1)
        capacity[capacity < 1] = 0
        if not capacity.any():
            break
        step = np.minimum(np.floor(capacity).astype(np.int64), largest_remainder(count, capacity))
        placed += step
        count -= int(step.sum())
    return placed


def _shortfall(allocation: Counts, kinds: Counts, wanted: Counts) -> tuple[int, int]:
    """Return the total shortfall in rows, and the largest of any label in any split."""
    short = np.maximum(wanted - allocation.T @ kinds, 0)
    return int(short.sum()), int(short.max(initial=0))


def _move(
    kinds: Counts, dealt: Counts, movable: Counts, wanted: Counts, most: int
) -> Counts | None:
    """Return the allocation after the best moves; None if none is found in `MAX_NODES`.

    Only the families of `movable` [kinds, splits] move, and a kind changes by at most `most` in a
    split. The variables are the movable families after the moves [kinds * splits], those that moved
    into a split [kinds * splits], the shortfall of each label in each split [labels * splits], and
    the largest shortfall.
    """
    used = np.flatnonzero(movable.sum(axis=1))
    before, rows = movable[used], kinds[used]
    splits, labels = wanted.shape
    cells, shortfalls = before.size, splits * labels
    left = (wanted - (dealt - movable).T @ kinds).T.ravel()

    # Constraints: every family is allocated; rows placed + shortfall >= wanted; moved into a split
    # >= after - before; largest shortfall >= each shortfall.
    placed = kron(rows.T, eye_array(splits))
    families = kron(eye_array(len(used)), np.ones((1, splits)))
    short, largest = eye_array(shortfalls), np.ones((shortfalls, 1))
    unused = np.zeros((len(used), 1))
    matrix = block_array(
        [
            [families, None, None, unused],
            [placed, None, short, None],
            [-eye_array(cells), eye_array(cells), None, None],
            [None, None, -short, largest],
        ],
        format="csr",
    )
    counts, flat = before.sum(axis=1), before.ravel()
    lower = np.concatenate([counts, left, -flat, np.zeros(shortfalls)])
    upper = np.concatenate([counts, np.full(2 * shortfalls + cells, np.inf)])
    further = np.full(cells + shortfalls + 1, np.inf)
    solution = milp(
        np.repeat([0, _MOVE, _ROW, _LARGEST], [cells, cells, shortfalls, 1]),
        integrality=np.repeat([1, 0], [cells, cells + shortfalls + 1]),
        bounds=Bounds(
            np.concatenate([np.maximum(flat - most, 0), np.zeros(len(further))]),
            np.concatenate([flat + most, further]),
        ),
        constraints=LinearConstraint(matrix, lower, upper),
        options={"node_limit": MAX_NODES, "mip_rel_gap": 0.0},
    ).x
    if solution is None:
        return None
    found = dealt - movable
    found[used] += np.rint(solution[:cells]).astype(np.int64).reshape(-1, splits)
    return found
