"""Balancing data sets: equal shares of each set and label, of each method where there are clips."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.balancing.sets import balance_sets
from manifests.errors import TableError

#: Clips of a data set: label, method and crops of each.
CLIPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["a", "b", None]), st.integers(1, 3)),
    min_size=1,
    max_size=25,
)


def table(sets: list[list[tuple[bool, str | None, int]]]) -> pa.Table:
    rows = [
        {
            "part": f"set{at}/p",
            "video": f"set{at}/{number}.mp4",
            "label": "FAKE" if fake else "REAL",
            "family": f"set{at}/{number}.mp4",
            "dataset": f"set{at}",
            "method": method if fake else None,
            "frame": frame,
            "face": 0,
            "path": f"set{at}/{number}/{frame}",
        }
        for at, clips in enumerate(sets)
        for number, (fake, method, crops) in enumerate(clips)
        for frame in range(crops)
    ]
    text = {name: pa.string() for name in rows[0]} | {"frame": pa.int32(), "face": pa.int32()}
    return pa.Table.from_pylist(rows, pa.schema(list(text.items())))


@settings(deadline=None)
@given(st.lists(CLIPS, min_size=1, max_size=3), st.integers(0, 5))
def test_every_set_gives_the_same_crops_in_whole_clips(
    sets: list[list[tuple[bool, str | None, int]]], seed: int
) -> None:
    crops = table(sets)
    try:
        found = balance_sets(crops, seed)
    except TableError:
        return
    rows = found.table.to_pylist()
    counts = Counter((row["dataset"], row["label"]) for row in rows)
    assert set(counts.values()) == {found.per_class}
    assert len(counts) == 2 * len(sets)
    chosen = Counter(row["video"] for row in rows)
    whole = Counter(crops["video"].to_pylist())
    assert all(count == whole[video] for video, count in chosen.items())
    order = np.random.default_rng(seed).permutation(crops.num_rows)
    assert balance_sets(crops.take(pa.array(order)), seed).table.equals(found.table)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), min_size=1, max_size=3),
    st.integers(0, 5),
)
def test_methods_are_equal_as_far_as_there_are_clips(sets: list[list[str]], seed: int) -> None:
    crops = table(
        [
            [(True, method, 1) for method in methods] + [(False, None, 1)] * len(methods)
            for methods in sets
        ]
    )
    found = balance_sets(crops, seed)
    assert found.per_class == min(map(len, sets))
    for at, methods in enumerate(sets):
        taken, available = found.methods[f"set{at}"], Counter(methods)
        spare = [taken[name] for name in taken if taken[name] < available[name]]
        # A method with clips left has at most one crop fewer than the one with the most.
        assert all(max(taken.values()) - rows <= 1 for rows in spare)
        assert sum(taken.values()) == found.per_class


def test_the_text_names_the_limit_and_the_methods() -> None:
    sets: list[Any] = [
        [(False, None, 1)] * 9 + [(True, "Deepfakes", 1)] * 6 + [(True, "FaceSwap", 1)] * 6,
        [(False, None, 2)] * 2 + [(True, None, 1)] * 7,
    ]
    found = balance_sets(table(sets), 42)
    assert found.text().splitlines() == [
        "4 REAL and 4 FAKE crops of each of 2 data sets, as many as set1 has REAL crops in whole "
        "clips",
        "set0, FAKE by method: 2 Deepfakes, 2 FaceSwap",
    ]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([[(False, None, 1)], [(True, None, 1)]], "found 0 FAKE crops in set0"),
        ([[(False, None, 2), (True, None, 3)]], "no number that whole clips of all sets give"),
    ],
)
def test_sets_that_cannot_be_balanced(sets: list[Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        balance_sets(table(sets), 42)
