"""Dealing families out to splits so that every split gets its number of rows of every label.

Families of one kind have the same number of rows of each label. Throughout:
`kinds` is int64 [kinds, labels], the rows of each label in a family of that kind;
`counts` is int64 [kinds], how many such families there are; `wanted` is int64
[splits, labels], the rows each split should get, as many in all as there are; a deal is
int64 [kinds, splits], how many families of each kind go to each split.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import block_array, eye_array, kron

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

#: Where the integer program stops, counted in nodes and not in seconds, so that a slow
#: machine finds the same deal as a fast one.
NODES = 2_000
#: More kinds than this are left to the greedy deal.
MOST_KINDS = 2_000


def quotas(count: int, weights: Weights) -> Counts:
    """Share `count` things by weight, to the whole number, by largest remainder.

    Ties go to the first. Returns int64 [weights], adding up to `count`.
    """
    exact = count * weights / weights.sum()
    whole = np.floor(exact + 1e-6)
    left = count - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    shared: Counts = whole.astype(np.int64)
    return shared


def deal(kinds: Counts, counts: Counts, wanted: Counts) -> Counts:
    """Deal all families out; exactly as wanted if that can be done, else as near as can be.

    Nearest means the fewest rows off, then the smallest worst shortfall. That is what the
    integer program proves, within `NODES` and `MOST_KINDS`; beyond them the best deal found.
    """
    dealt = greedy(kinds, counts, wanted)
    if _cost(dealt, kinds, wanted) == (0, 0) or len(kinds) > MOST_KINDS:
        return dealt
    better = _integer_program(kinds, counts, wanted)
    if better is None:
        return dealt
    return min(dealt, better, key=lambda one: _cost(one, kinds, wanted))


def greedy(kinds: Counts, counts: Counts, wanted: Counts) -> Counts:
    """Largest families first, each kind in proportion to the room that is left for it."""
    dealt = np.zeros((len(kinds), len(wanted)), np.int64)
    room = wanted.astype(np.int64)
    largest_first = np.lexsort((*kinds.T, kinds.sum(axis=1)))[::-1]
    for kind in largest_first:
        dealt[kind] = _fitting(kinds[kind], int(counts[kind]), room)
        room = room - np.outer(dealt[kind], kinds[kind])
    for kind in largest_first[dealt[largest_first].sum(axis=1) < counts[largest_first]]:
        left = int(counts[kind] - dealt[kind].sum())
        over = quotas(left, np.maximum(room, 0) @ kinds[kind] + 1e-9)
        dealt[kind] += over
        room = room - np.outer(over, kinds[kind])
    return dealt


def _fitting(kind: Counts, count: int, room: Counts) -> Counts:
    """How many of `count` families go to each split without passing what is wanted there."""
    placed = np.zeros(len(room), np.int64)
    held = kind > 0
    while count:
        space = ((room - np.outer(placed, kind))[:, held] / kind[held]).min(axis=1)
        space[space < 1] = 0
        if not space.any():
            break
        step = np.minimum(np.floor(space).astype(np.int64), quotas(count, space))
        placed += step
        count -= int(step.sum())
    return placed


def _cost(dealt: Counts, kinds: Counts, wanted: Counts) -> tuple[int, int]:
    """Rows off in all, and the worst shortfall of a label in a split."""
    short = np.maximum(wanted - dealt.T @ kinds, 0)
    return int(short.sum()), int(short.max(initial=0))


def _integer_program(kinds: Counts, counts: Counts, wanted: Counts) -> Counts | None:
    """The nearest deal by branch and bound, or None where none was found within `NODES`.

    The unknowns are the deal, the shortfall of each label in each split, and the worst of
    those, which weighs a thousandth of a row.
    """
    splits, labels = wanted.shape
    deals, shorts = len(kinds) * splits, splits * labels
    placed = kron(kinds.T, eye_array(splits))
    families = kron(eye_array(len(kinds)), np.ones((1, splits)))
    each, worst = eye_array(shorts), np.ones((shorts, 1))
    left_out = np.zeros((len(kinds), 1))
    unknowns = block_array(
        [[families, None, left_out], [placed, each, None], [None, -each, worst]], format="csr"
    )
    least = np.concatenate([counts, wanted.T.ravel(), np.zeros(shorts)])
    most = np.concatenate([counts, np.full(2 * shorts, np.inf)])
    found = milp(
        np.concatenate([np.zeros(deals), np.ones(shorts), [1e-3]]),
        integrality=np.concatenate([np.ones(deals), np.zeros(shorts + 1)]),
        constraints=LinearConstraint(unknowns, least, most),
        options={"node_limit": NODES, "mip_rel_gap": 0.0},
    ).x
    if found is None:
        return None
    dealt: Counts = np.rint(found[:deals]).astype(np.int64).reshape(-1, splits)
    return dealt
