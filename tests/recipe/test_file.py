"""A recipe is a parquet file that others read, signed by its own hash, and checked wholly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dfdc_prep.errors import RecipeError
from dfdc_prep.recipe.file import SORT_KEY, landmarks_of, read_recipe, write_recipe
from tests.recipe import rows


def test_what_was_written_is_read(tmp_path: Path) -> None:
    table = rows.small()
    sha256 = write_recipe(tmp_path / "a.recipe", rows.HEADER, table)
    found = read_recipe(tmp_path / "a.recipe")
    assert found.table.equals(table.sort_by([(name, "ascending") for name in SORT_KEY]))
    assert (found.header, found.sha256) == (rows.HEADER, sha256)
    assert found.crop_options.size == 224
    assert [path.name for path in tmp_path.iterdir()] == ["a.recipe"]


def test_the_order_of_the_rows_changes_no_byte(tmp_path: Path) -> None:
    table = rows.small()
    write_recipe(tmp_path / "a.recipe", rows.HEADER, table)
    write_recipe(tmp_path / "b.recipe", rows.HEADER, table.take([5, 3, 1, 0, 2, 4]))
    assert (tmp_path / "a.recipe").read_bytes() == (tmp_path / "b.recipe").read_bytes()


def test_landmarks_are_exact_to_a_hundredth(tmp_path: Path) -> None:
    write_recipe(tmp_path / "a.recipe", rows.HEADER, rows.small())
    found = landmarks_of(read_recipe(tmp_path / "a.recipe").table)
    assert found.shape == (6, 5, 2)
    assert found[0].tolist() == [[12.34, 56.78], [1919.99, 0.01], [-7.5, 0.0], [1, 2], [3, 4]]
    assert np.isnan(found[5]).all()


def test_pandas_and_duckdb_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.recipe"
    write_recipe(path, rows.HEADER, rows.small())
    frame = pd.read_parquet(path)
    assert len(frame) == 6
    assert frame["clip_bytes"].max() == 5_000_000_000
    assert frame["folder"].isna().all()  # those of the clips' names
    query = f"select count(*), count(sha256), max(octet_length(sha256)) from read_parquet('{path}')"
    assert duckdb.sql(query).fetchall() == [(6, 5, 32)]
    metadata = f"select decode(value) from parquet_kv_metadata('{path}') where decode(key) = "
    ((header,),) = duckdb.sql(f"{metadata}'dfdc_prep.recipe'").fetchall()
    assert json.loads(header)["crops"]["margin"] == 0.3


@pytest.mark.parametrize("at", [4, 200, -9, -100, -2000])
def test_a_changed_byte_is_seen(tmp_path: Path, at: int) -> None:
    path = tmp_path / "a.recipe"
    write_recipe(path, rows.HEADER, rows.small())
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecipeError, match=r"^expected .+, found .+; "):
        read_recipe(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100, b"PAR1" + b"\xff" * 4 + b"PAR1"])
def test_another_file_is_no_recipe(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.recipe").write_bytes(content)
    with pytest.raises(RecipeError, match="found another file; give the file"):
        read_recipe(tmp_path / "a.recipe")


def test_a_table_and_a_missing_file_are_no_recipe(tmp_path: Path) -> None:
    rows.small().to_pandas().to_parquet(tmp_path / "a.recipe")
    with pytest.raises(RecipeError, match="found parquet without one"):
        read_recipe(tmp_path / "a.recipe")
    with pytest.raises(RecipeError, match="found no such file"):
        read_recipe(tmp_path / "b.recipe")


VALUES = {
    "part": ["../x", "a/b", "", "..", "a\0", "a\n", "x" * 256, "C:"],
    "video": ["../../etc/passwd", "/etc/passwd", "a\\b"],
    "folder": ["..", "a/../b"],
    "file": ["../aaa.mp4", "/aaa.mp4", "a/../../b", "a//b"],
    "family": ["a/b"],
    "original": ["../a"],
    "shard": ["../x.tfrecord"],
    "label": ["Real", ""],
    "status": ["OK"],
    "box_source": ["detector"],
    "method": ["a\x1b[2J", "x" * 300],
    "frame": [-1, 10_000_001],
    "face": [1, -1],
    "x": [10**9, -(10**9)],
    "w": [0, -5, 10**9],
    "width": [0, 10**9],
    "score": [float("nan"), float("inf")],
    "landmarks": [[1.0] * 9, [], [float("nan")] * 10, [1e30] * 10, [None] * 10],
    "clip_frames": [-1],
    "clip_bytes": [-1],
    "record": [-1],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in VALUES.items() for value in values]
)
def test_a_value_that_none_has(tmp_path: Path, name: str, value: Any) -> None:
    real = {**rows.clip("aaa.mp4"), **({name: value} if name != "frame" else {})}
    given = {**rows.crop(real, 0), name: value}
    write_recipe(tmp_path / "a.recipe", rows.HEADER, rows.table([given]))
    with pytest.raises(RecipeError, match=r"^expected .+, found .+; get the recipe again"):
        read_recipe(tmp_path / "a.recipe")


def _twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def _changed(name: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        found = table.to_pylist()
        found[row][name] = value
        return rows.table(found)

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_twice, "each crop once"),
        (_changed("label", 1, "FAKE"), "one label for each clip"),
        (_changed("clip_sha256", 1, b"x" * 32), "one clip_sha256 for each clip"),
        (_changed("family", 1, "ccc.mp4"), "every clip once"),
        (_changed("face", 1, 1), "numbered from 0"),
        (_changed("x", 5, 3), "a x for each crop"),
        (_changed("w", 0, None), "a w for each crop"),
        (_changed("sha256", 5, b"x" * 32), "a sha256 for each crop"),
        (_changed("folder", 5, "aaa"), "a folder for the crops"),
        (lambda table: table.slice(0, 0), "rows"),
    ],
)
def test_rows_that_contradict_each_other(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], found: str
) -> None:
    write_recipe(tmp_path / "a.recipe", rows.HEADER, change(rows.small()))
    with pytest.raises(RecipeError, match=found):
        read_recipe(tmp_path / "a.recipe")


HEADERS: dict[str, Any] = {
    "format": {"format": 2},
    "kind": {"kind": "other"},
    "no detector": {"detector": None},
    "file": {"files": {"../x": "y"}},
    "option": {"crops": {**rows.HEADER["crops"], "size": 10**9}},
    "number": {"crops": {**rows.HEADER["crops"], "size": True}},
    "margin": {"crops": {**rows.HEADER["crops"], "margin": "1"}},
    "choice": {"crops": {**rows.HEADER["crops"], "align": ["none"]}},
    "frames": {"crops": {**rows.HEADER["crops"], "frames": {"REAL": 3}}},
    "more": {"crops": {**rows.HEADER["crops"], "more": 1}},
    "less": {"crops": {}},
    "text": {"versions": {"av": "\x1b[2J"}},
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_none_has(tmp_path: Path, change: dict[str, Any]) -> None:
    write_recipe(tmp_path / "a.recipe", {**rows.HEADER, **change}, rows.small())
    with pytest.raises(RecipeError, match=r"^expected .+, found .+; "):
        read_recipe(tmp_path / "a.recipe")
