"""Allocating families to splits so that every split gets its number of rows of every label.

Families of one kind have the same number of rows of each label. In all functions here:

- `kinds`: int64 [kinds, labels], rows of each label in a family of that kind.
- `counts`: int64 [kinds], number of families of that kind.
- `wanted`: int64 [splits, labels], rows each split should get; the sums over the splits equal
  the rows available.
- an allocation: int64 [kinds, splits], number of families of each kind in each split.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import block_array, eye_array, kron

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

#: Branch-and-bound nodes after which the integer program stops. A limit in seconds would make
#: the result depend on the machine's speed.
MAX_NODES = 2_000
#: Largest number of kinds for which the integer program is tried.
MAX_KINDS = 2_000


def largest_remainder(count: int, weights: Weights) -> Counts:
    """Divide `count` into integers proportional to the weights, by the largest-remainder method.

    Ties go to the first weight.

    Returns:
        int64 [weights], with the sum `count`.
    """
    exact = count * weights / weights.sum()
    whole = np.floor(exact + 1e-6)
    left = count - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    quotas: Counts = whole.astype(np.int64)
    return quotas


def allocate(kinds: Counts, counts: Counts, wanted: Counts) -> Counts:
    """Allocate all families, exactly as wanted if possible, else as close as possible.

    The best allocation has the smallest total shortfall; of those, the smallest shortfall of
    any label in any split. The result is optimal within `MAX_NODES` and `MAX_KINDS`, else the
    best allocation found.
    """
    greedy = allocate_greedily(kinds, counts, wanted)
    if _shortfall(greedy, kinds, wanted) == (0, 0) or len(kinds) > MAX_KINDS:
        return greedy
    solved = _solve_integer_program(kinds, counts, wanted)
    if solved is None:
        return greedy
    return min(greedy, solved, key=lambda allocation: _shortfall(allocation, kinds, wanted))


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
    """Return how many of `count` families fit in each split, int64 [splits].

    Args:
        kind: int64 [labels], rows of each label in a family.
        missing: int64 [splits, labels], rows each split still wants.
    """
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


def _solve_integer_program(kinds: Counts, counts: Counts, wanted: Counts) -> Counts | None:
    """Return the best allocation by branch and bound; None if none is found in `MAX_NODES`.

    The variables are the allocation [kinds * splits], the shortfall of each label in each
    split [labels * splits], and the largest shortfall. The objective is the sum of the
    shortfalls plus a thousandth of the largest one.
    """
    splits, labels = wanted.shape
    allocations, shortfalls = len(kinds) * splits, splits * labels

    # Constraints: every family is allocated; rows placed + shortfall >= wanted;
    # largest shortfall >= each shortfall.
    placed = kron(kinds.T, eye_array(splits))
    families = kron(eye_array(len(kinds)), np.ones((1, splits)))
    each, largest = eye_array(shortfalls), np.ones((shortfalls, 1))
    unused = np.zeros((len(kinds), 1))
    matrix = block_array(
        [[families, None, unused], [placed, each, None], [None, -each, largest]], format="csr"
    )
    lower = np.concatenate([counts, wanted.T.ravel(), np.zeros(shortfalls)])
    upper = np.concatenate([counts, np.full(2 * shortfalls, np.inf)])
    solution = milp(
        np.concatenate([np.zeros(allocations), np.ones(shortfalls), [1e-3]]),
        integrality=np.concatenate([np.ones(allocations), np.zeros(shortfalls + 1)]),
        constraints=LinearConstraint(matrix, lower, upper),
        options={"node_limit": MAX_NODES, "mip_rel_gap": 0.0},
    ).x
    if solution is None:
        return None
    allocation: Counts = np.rint(solution[:allocations]).astype(np.int64).reshape(-1, splits)
    return allocation
