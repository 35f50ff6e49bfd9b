import numpy as np

from manifests.splitting.allocation import allocate, allocate_greedily, largest_remainder


def test_largest_remainder() -> None:
    assert largest_remainder(32_000, np.array([0.56, 0.24, 0.2])).tolist() == [17_920, 7_680, 6_400]
    assert largest_remainder(10, np.array([1.0, 1.0, 1.0])).tolist() == [4, 3, 3]
    assert largest_remainder(0, np.array([0.5, 0.5])).tolist() == [0, 0]


def test_integer_program_improves_the_greedy_allocation() -> None:
    kinds, counts = np.array([[1, 1], [0, 100], [100, 0]]), np.array([100, 1, 1])
    wanted = np.array([[100, 100], [100, 100]])
    allocation = allocate(kinds, counts, wanted)
    assert (allocation.T @ kinds).tolist() == wanted.tolist()
    assert allocation.sum(axis=1).tolist() == counts.tolist()


def test_ties_are_resolved_by_the_smallest_maximum_shortfall() -> None:
    kinds, counts = np.array([[1, 1], [0, 100]]), np.array([100, 1])
    wanted = np.array([[50, 100], [50, 100]])
    short = np.maximum(wanted - allocate(kinds, counts, wanted).T @ kinds, 0)
    assert (short.sum(), short.max()) == (50, 25)


def test_fifty_large_groups_are_a_few_rows_off() -> None:
    rng = np.random.RandomState(0)
    kinds = np.stack([rng.randint(300, 400, 50), rng.randint(1500, 2000, 50)], axis=1)
    wanted = np.stack(
        [largest_remainder(int(n), np.array([0.56, 0.24, 0.2])) for n in kinds.sum(0)], axis=1
    )
    short = [
        int(np.maximum(wanted - allocation.T @ kinds, 0).sum())
        for allocation in (
            allocator(kinds, np.ones(50, int), wanted)
            for allocator in (allocate_greedily, allocate)
        )
    ]
    assert short[1] < 50 < short[0]
