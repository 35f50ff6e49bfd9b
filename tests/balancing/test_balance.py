from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.balancing.balance import Balance, BalanceOptions, Strategy, balance
from manifests.errors import NotEnoughRows, TableError
from manifests.tables.external import read_bare_table
from tests.bare_tables import Mixture, mixture_table, mixtures


def per_label(found: Balance) -> dict[str, int]:
    return dict(Counter(found.table["label"].to_pylist()))


@pytest.mark.parametrize("strategy", ["random", "spread"])
def test_real_table(real_csv: Path, strategy: Strategy) -> None:
    table = read_bare_table(real_csv).rows
    found = balance(table, BalanceOptions(strategy=strategy))
    assert per_label(found) == {"REAL": 16_000, "FAKE": 16_000}
    assert (found.originals == 16_000) == (strategy == "spread")
    shuffled = table.take(pa.array(np.random.RandomState(0).permutation(len(table))))
    assert balance(shuffled, BalanceOptions(strategy=strategy)).table.equals(found.table)


def test_random_is_pandas_sample_of_the_sorted_clips(real_csv: Path) -> None:
    found = balance(read_bare_table(real_csv).rows, BalanceOptions())
    frame = pd.read_csv(real_csv).sort_values("videoname")
    drawn = pd.concat(
        frame[frame.label == label].sample(16_000, random_state=42) for label in ("REAL", "FAKE")
    )
    assert found.table["video"].to_pylist() == sorted(drawn.videoname)


@settings(deadline=None, max_examples=60)
@given(mixtures, st.integers(1, 4), st.sampled_from(["random", "spread"]))
def test_any_mixture_is_balanced_with_whole_clips(
    mixture: Mixture, frames: int, strategy: Strategy
) -> None:
    table = mixture_table(mixture, frames)
    try:
        found = balance(table, BalanceOptions(strategy=strategy))
    except TableError:
        assert _sums(table, "REAL") & _sums(table, "FAKE") == {0}
        return
    assert per_label(found) == {"REAL": found.per_class, "FAKE": found.per_class}
    whole, kept = Counter(_clips(table)), Counter(_clips(found.table))
    assert all(rows == whole[clip] for clip, rows in kept.items())


def _sums(table: pa.Table, label: str) -> set[int]:
    """Every number of crops that whole clips of a label can have."""
    sums = {0}
    for rows in Counter(_clips(table, label)).values():
        sums |= {rows + one for one in sums}
    return sums


def _clips(table: pa.Table, label: str | None = None) -> list[tuple[str, str]]:
    clips = zip(table["video"].to_pylist(), table["label"].to_pylist(), strict=True)
    return [clip for clip in clips if label in (None, clip[1])]


def test_frames_per_clip_are_evenly_spread() -> None:
    table = mixture_table([(9, 9)], frames=9)
    found = balance(table, BalanceOptions(frames_per_clip=3))
    assert found.per_class == 3
    assert sorted(set(found.table["frame"].to_pylist())) == [1, 4, 7]


def test_too_few_rows_are_reported_or_rejected() -> None:
    table = mixture_table([(1, 3)] * 5)
    found = balance(table, BalanceOptions())
    assert found.per_class == 5
    assert "there are no more REAL crops" in found.text()
    with pytest.raises(NotEnoughRows, match="expected 6 REAL crops, found 5; give --per-class 5"):
        balance(table, BalanceOptions(per_class=6))


def test_shortfall_of_whole_clips_is_reported() -> None:
    found = balance(mixture_table([(10, 10)] * 3, frames=10), BalanceOptions(per_class=25))
    assert found.per_class == 20
    assert "no more than 20 of the 25" in found.text()


@pytest.mark.parametrize("mixture", [[(3, 0)], [(0, 3)]])
def test_one_class_only(mixture: Mixture) -> None:
    with pytest.raises(TableError, match="expected crops of both labels"):
        balance(mixture_table(mixture), BalanceOptions())


def test_pairs_are_complete_and_use_one_fake_per_family() -> None:
    table = mixture_table([(4, 12), (4, 4), (4, 0), (0, 4)], frames=4)
    found = balance(table, BalanceOptions(strategy="pairs")).table.to_pandas()
    assert Counter(found.label) == {"REAL": 8, "FAKE": 8}
    sides = found.groupby(["family", "frame", "face"]).label.agg(lambda side: sorted(side))
    assert all(side == ["FAKE", "REAL"] for side in sides)
    assert found[found.label == "FAKE"].groupby("family").video.nunique().tolist() == [1, 1]


def test_pairs_use_one_fake_even_if_two_would_give_more() -> None:
    table = mixture_table([(4, 4)], frames=2)
    frames = pa.array([0, 1, 2, 3, 0, 1, 2, 3], pa.int32())
    table = table.set_column(table.column_names.index("frame"), "frame", frames)
    found = balance(table, BalanceOptions(strategy="pairs"))
    assert found.clips == {"REAL": 1, "FAKE": 1}
    assert found.per_class == 2
    assert len(set(found.table["video"].to_pylist())) == 2


def test_pairs_must_have_the_same_box() -> None:
    table = mixture_table([(2, 2)], frames=2)
    box = [0, 7, 0, 8]
    for name in ("crop_x", "crop_y", "crop_size"):
        table = table.append_column(name, pa.array(box, pa.int32()))
    found = balance(table, BalanceOptions(strategy="pairs"))
    assert found.table["frame"].to_pylist() == [0, 0]


def test_no_pairs_is_an_error() -> None:
    with pytest.raises(TableError, match="same frame and box of an original and its fake"):
        balance(mixture_table([(1, 0), (0, 1)]), BalanceOptions(strategy="pairs"))
