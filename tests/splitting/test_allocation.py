import numpy as np
import numpy.typing as npt
import pytest

from manifests.splitting.allocation import allocate, allocate_greedily, deal, largest_remainder


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


@pytest.mark.slow
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


def table_of_400_families() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Rows of each label of families of a clip and its fakes, ten frames each, 30 % of them hard.

    Of hard ones, some frames show no face.
    """
    rng = np.random.RandomState(1000)
    hard = rng.random_sample(400) < 0.3
    frames = np.where(hard, rng.random_sample(400), 1.0)
    fakes = rng.randint(1, 9, 400)
    rows = np.stack([rng.binomial(10, frames), rng.binomial(10 * fakes, frames)], axis=1)
    return rows[rows.any(axis=1)], hard[rows.any(axis=1)]


@pytest.mark.slow
def test_every_kind_is_in_proportion_and_no_row_off() -> None:
    rows, hard = table_of_400_families()
    kinds, kind, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    shares = np.array([0.56, 0.24, 0.2])
    wanted = np.stack([largest_remainder(int(n), shares) for n in rows.sum(axis=0)], axis=1)
    allocation = allocate(kinds, counts, wanted)
    assert (allocation.T @ kinds).tolist() == wanted.tolist()
    assert np.abs(allocation - counts[:, None] * shares).max() < 4
    hard_of_kind = np.bincount(kind.ravel(), hard) / counts
    in_test = float(allocation[:, 2] @ hard_of_kind / hard.sum())
    assert 0.15 < in_test < 0.25


def test_no_family_is_in_one_split_whatever_the_seed() -> None:
    shares = np.array([0.56, 0.24, 0.2])
    dealt = [deal(np.ones(1000, np.int64), shares, np.random.RandomState(at)) for at in range(10)]
    assert np.abs(np.sum(dealt, axis=1) - 1000 * shares).max() < 3
    assert np.all(dealt, axis=0).mean() < 0.02  # at random 0.56 ** 10, 0.003
