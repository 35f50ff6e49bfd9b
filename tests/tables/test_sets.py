"""Joining data sets: names of different sets never meet."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import TableError
from manifests.splitting.sets import split_each_set
from manifests.splitting.split import SplitPlan
from manifests.tables.families import connected_families
from manifests.tables.sources import NAMES_IN_SET, CropSet, join_sets

COLUMNS = ("video", "part", "label", "original", "family", "path", "dataset", "identity")
NAME = st.sampled_from(["000.mp4", "001.mp4", "a/b", "é"])


def crops(rows: list[tuple[str, str, str | None]], dataset: str | None) -> pa.Table:
    """Rows of clip, label and original; all families and people are called alike."""
    found = [
        {
            "video": video,
            "part": "part",
            "label": label,
            "original": original,
            "family": original or video,
            "path": f"crops/{at}.png",
            "dataset": dataset,
            "identity": "1",
        }
        for at, (video, label, original) in enumerate(rows)
    ]
    return pa.Table.from_pylist(found, pa.schema([(name, pa.string()) for name in COLUMNS]))


ROWS = st.lists(
    st.tuples(NAME, st.sampled_from(["REAL", "FAKE"]), st.none() | NAME), min_size=1, max_size=12
)


@settings(deadline=None)
@given(ROWS, ROWS)
def test_no_clip_family_or_person_is_in_two_sets(
    first: list[tuple[str, str, str | None]], second: list[tuple[str, str, str | None]]
) -> None:
    joined = join_sets(
        [CropSet("x", "x", crops(first, None)), CropSet("y", "y", crops(second, "y"))]
    )
    assert joined["dataset"].to_pylist() == ["x"] * len(first) + ["y"] * len(second)
    for name in NAMES_IN_SET:
        if name in joined.column_names:
            values = joined[name].to_pylist()
            known = [set(values[: len(first)]), set(values[len(first) :])]
            assert not (known[0] & known[1]) - {None}
    family = connected_families(joined).family
    assert not set(family[: len(first)]) & set(family[len(first) :])
    assert len(set(joined["path"].to_pylist())) == joined.num_rows


def test_one_data_set_in_two_folders_keeps_its_families() -> None:
    real = crops([("a.mp4", "REAL", None)], "dfdc")
    fake = crops([("b.mp4", "FAKE", "a.mp4")], "dfdc")
    joined = join_sets([CropSet("dfdc", "dfdc", real), CropSet("dfdc.2", "dfdc", fake)])
    assert joined["family"].to_pylist() == ["dfdc/a.mp4"] * 2
    assert joined["path"].to_pylist() == ["dfdc/crops/0.png", "dfdc.2/crops/0.png"]
    with pytest.raises(TableError, match=r"found dfdc/a\.mp4 in dfdc and in dfdc\.2; leave one"):
        join_sets([CropSet("dfdc", "dfdc", real), CropSet("dfdc.2", "dfdc", real)])


@given(st.integers(20, 40), st.integers(20, 40), st.integers(0, 9))
@settings(deadline=None, max_examples=20)
def test_each_set_is_split_by_itself(first: int, second: int, seed: int) -> None:
    sets = [
        CropSet(name, name, crops([(f"{at}", "REAL", None) for at in range(count)], name))
        for name, count in (("x", first), ("y", second))
    ]
    joined = join_sets(sets)
    found = split_each_set(joined, SplitPlan.parse("50/25/25", seed=seed))
    for name, count in (("x", first), ("y", second)):
        of_set = [
            split
            for split, dataset in zip(
                found.names.to_pylist(), joined["dataset"].to_pylist(), strict=True
            )
            if dataset == name
        ]
        assert abs(of_set.count("train") - count / 2) <= 1
        assert abs(of_set.count("test") - count / 4) <= 1
    assert found.text.startswith("x:\n  crops ")
