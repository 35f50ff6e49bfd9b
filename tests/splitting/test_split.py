from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from sklearn.model_selection import train_test_split

from manifests.balancing.balance import BalanceOptions, balance
from manifests.errors import TableError
from manifests.splitting.split import Assignment, SplitPlan, assign_splits
from manifests.tables.external import normalize_table, read_bare_table
from tests.bare_tables import Mixture, mixture_table, mixtures

PAPER = SplitPlan.parse("56/24/20")


def crossing(table: pa.Table, found: Assignment, column: str = "family") -> int:
    """Count with pandas the values of a column that are in two splits."""
    frame = pd.DataFrame({"key": table[column].to_pylist(), "split": found.names.to_pylist()})
    return int((frame.groupby("key").split.nunique() > 1).sum())


def papers_rows(csv: Path) -> pd.DataFrame:
    """Sample the paper's 16,000 rows of each label with pandas, in the order sampled."""
    frame = pd.read_csv(csv)
    drawn = [
        frame[frame.label == label].sample(16_000, random_state=42) for label in ("REAL", "FAKE")
    ]
    return pd.concat(drawn, ignore_index=True)


def papers_split(frame: pd.DataFrame) -> pd.Series:
    """Make the paper's split with scikit-learn."""
    rest, test = train_test_split(frame, test_size=0.2, random_state=42, stratify=frame.label)
    train, validation = train_test_split(rest, test_size=0.3, random_state=42, stratify=rest.label)
    split = pd.Series("", index=frame.index)
    split[train.index], split[validation.index], split[test.index] = "train", "validation", "test"
    return split


def test_real_table_splits_exactly_and_by_family(real_csv: Path) -> None:
    table = balance(read_bare_table(real_csv).rows, BalanceOptions()).table
    found = assign_splits(table, PAPER)
    assert found.placed.tolist() == [[8960, 8960], [3840, 3840], [3200, 3200]]
    assert crossing(table, found) == 0
    assert not found.leaking


def test_group_by_none_equals_scikit_learns_split_and_reports_its_leak(real_csv: Path) -> None:
    frame = papers_rows(real_csv)
    table = normalize_table(pa.Table.from_pandas(frame, preserve_index=False), "paper").rows
    found = assign_splits(table, SplitPlan.parse("56/24/20", group_by="none"))
    split = papers_split(frame)
    assert found.names.to_pylist() == split.tolist()

    family = frame.original.where(frame.label == "FAKE", frame.videoname)
    test = split == "test"
    leaks = family[test].isin(set(family[split == "train"]))
    shares = [leaks.mean(), *leaks.groupby(frame.label[test]).mean()[["FAKE", "REAL"]]]
    assert [round(100 * share, 1) for share in shares] == [56.5, 77.2, 35.8]
    text = "families shared by test and train: 3,025, in 3,614 of 6,400 crops of test, 56.5 % "
    assert text + "(35.8 % of REAL, 77.2 % of FAKE)" in found.text()
    assert "--group-by original avoids it" in found.text()


def test_group_by_none_of_balanced_rows_equals_scikit_learns_split(real_csv: Path) -> None:
    table = balance(read_bare_table(real_csv).rows, BalanceOptions()).table
    found = assign_splits(table, SplitPlan.parse("56/24/20", group_by="none"))
    assert found.names.to_pylist() == papers_split(table.to_pandas()).tolist()


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(mixtures)
def test_any_mixture(mixture: Mixture) -> None:
    table = mixture_table(mixture)
    found = assign_splits(table, PAPER)
    assert crossing(table, found) == 0
    assert found.placed.sum(axis=0).tolist() == np.sum(mixture, axis=0).tolist()
    assert found.shortfall.max() <= max(sum(family) for family in mixture)
    shuffled = np.random.RandomState(len(mixture)).permutation(len(table))
    again = assign_splits(table.take(pa.array(shuffled)), PAPER)
    assert again.names.equals(found.names.take(pa.array(shuffled)))


@settings(deadline=None, max_examples=40)
@given(mixtures)
def test_one_label_falls_short_by_no_more_than_the_smallest_family_that_did_not_fit(
    mixture: Mixture,
) -> None:
    """A family does not fit if its split has more rows than wanted."""
    table = mixture_table([(0, real + fake) for real, fake in mixture])
    found = assign_splits(table, PAPER)
    over = np.array(found.plan.names)[found.placed[:, 1] > found.wanted[:, 1]]
    rows = pd.DataFrame({"family": table["family"].to_pylist(), "split": found.names.to_pylist()})
    misfits = rows[rows.split.isin(over)].groupby("family").size()
    assert found.shortfall.max() <= misfits.min() if len(misfits) else not found.shortfall.any()


@settings(deadline=None, max_examples=40)
@given(mixtures)
def test_exact_if_possible(mixture: Mixture) -> None:
    """Three copies of every family can be allocated evenly, so they must be."""
    table = mixture_table(mixture * 3)
    assert not assign_splits(table, SplitPlan.parse("a=1/b=1/c=1")).shortfall.any()


def test_group_by_a_column_keeps_values_and_families_together() -> None:
    table = mixture_table([(1, 2)] * 30)
    part = [f"part_{at % 7}" for at in range(len(table))]
    table = table.append_column("part", pa.array(part))
    found = assign_splits(table, SplitPlan.parse("56/24/20", group_by="part"))
    assert crossing(table, found, "part") == crossing(table, found) == 0


def test_another_seed_chooses_other_families_of_the_same_counts() -> None:
    table = mixture_table([(1, 1)] * 100)
    one, other = (assign_splits(table, SplitPlan.parse("80/10/10", seed=seed)) for seed in (1, 2))
    assert one.placed.tolist() == other.placed.tolist() == [[80, 80], [10, 10], [10, 10]]
    assert not one.names.equals(other.names)


def test_shortfall_is_reported() -> None:
    found = assign_splits(mixture_table([(1, 9), (1, 1)]), SplitPlan.parse("50/50"))
    assert found.shortfall.sum() == 4
    assert "4 crops off" in found.text()


def test_one_class_and_fewer_families_than_splits() -> None:
    found = assign_splits(mixture_table([(3, 0)]), PAPER)
    assert found.placed.tolist() == [[3, 0], [0, 0], [0, 0]]
    assert found.shortfall.sum() == 1


@pytest.mark.parametrize("group_by", ["nonsense", "family_name"])
def test_unknown_column(group_by: str) -> None:
    with pytest.raises(TableError, match="a column to group by, found"):
        assign_splits(mixture_table([(1, 1)]), SplitPlan.parse("50/50", group_by))


def test_empty_cells_in_the_column() -> None:
    table = mixture_table([(1, 1)]).append_column("part", pa.array(["a", None]))
    with pytest.raises(TableError, match="1 row without"):
        assign_splits(table, SplitPlan.parse("50/50", "part"))


def test_too_few_rows_for_the_papers_split() -> None:
    with pytest.raises(TableError, match="enough rows of each label"):
        assign_splits(mixture_table([(1, 1)]), SplitPlan.parse("50/50", "none"))
