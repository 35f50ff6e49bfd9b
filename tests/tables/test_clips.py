"""A clip is a part and a video, everywhere."""

from pathlib import Path

import pyarrow as pa
import pytest

from dfdc_prep.catalog.reader import read_catalog
from manifests.auditing.audit import audit
from manifests.auditing.summary import summarize
from manifests.balancing.balance import BalanceOptions, balance
from manifests.tables.codes import clip_codes, clip_lines, clips_known


@pytest.fixture
def faceforensics(shared: Path) -> pa.Table:
    """Ten crops of each clip of two families: 183_253.mp4 exists once for every method."""
    clips = read_catalog(shared / "data" / "faceforensics").clips
    names = ("part", "video", "label", "original", "family")
    rows = [{name: getattr(clip, name) for name in names} for clip in clips for _ in range(10)]
    frames = list(range(10)) * len(clips)
    splits = [("train", "test")[frame % 2] for frame in frames]
    return (
        pa.Table.from_pylist(rows).append_column("frame", [frames]).append_column("split", [splits])
    )


def test_clips_of_one_name_are_counted_in_every_part(faceforensics: pa.Table) -> None:
    found = summarize(faceforensics)
    assert found.clips == {"REAL": 2, "FAKE": 8}
    assert found.fakes_per_original is not None
    assert found.fakes_per_original.mean == 4
    assert "further rows of a name" not in found.oddities
    assert audit(faceforensics).crossing["clips"] == (10, 10)
    balanced = balance(faceforensics, BalanceOptions(per_class=20))
    assert balanced.clips == {"REAL": 2, "FAKE": 2}


def test_clips_without_parts_and_with_empty_ones() -> None:
    columns = {"video": ["a", "a", "b", "a"]}
    assert clip_codes(pa.table(columns)).tolist() == [0, 0, 1, 0]
    codes = clip_codes(pa.table({**columns, "part": ["p", None, "p", "p"]})).tolist()
    assert codes[0] == codes[3] != codes[1]
    assert sorted(set(codes)) == [0, 1, 2]


def test_a_table_that_names_its_clips_needs_no_sentence() -> None:
    table = pa.table({"video": ["a"], "label": ["REAL"]})
    assert clips_known(table)
    assert clip_lines(table) == []
    null = table.append_column("clip_source", pa.nulls(1, pa.string()))
    assert clips_known(null)
    assert clip_lines(null) == []


def test_names_of_both_labels_are_counted_by_part() -> None:
    columns = {"video": ["a", "a"], "label": ["REAL", "FAKE"], "original": [None, "b"]}
    assert summarize(pa.table(columns)).oddities == {
        "further rows of a name": 1,
        "names with both labels": 1,
    }
    assert summarize(pa.table({**columns, "part": ["p", "q"]})).oddities == {}
