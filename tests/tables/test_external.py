from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.arrow import MANIFEST_SCHEMA
from manifests.errors import TableError
from manifests.labels import parse_label
from manifests.tables.external import read_bare_table
from manifests.tables.parquet import read_table, write_table
from tests.bare_tables import write


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Empty CSV"),
        ("videoname,label\n", "found none; give another table"),
        ("clip,label\na,REAL\n", "label and video"),
        ("videoname,real\na,1\n", "label and video"),
        ("videoname,label\na,REAL\nb,MAYBE\n", "'MAYBE' in 1 row;"),
        ("videoname,label\na,REAL\nb,NaN\n", "'no label' in 1 row;"),
        ("videoname,label\na,REAL\n,FAKE\n", "1 row without"),
        ("videoname,label\na,REAL\nNaN,FAKE\n", "1 row without"),
        ("videoname,label,label\na,REAL,FAKE\n", "'label' twice"),
        ("videoname,label\na,REAL,x\n", "Expected 2 columns, got 3"),
        ("videoname,label,frame\na,REAL,1.5\n", "integers in the column frame"),
        (b"videoname,label\n\xff\xfe,REAL\n", "invalid UTF8"),
        ("a,FAKE\n".encode("utf-16"), "expected"),
    ],
)
def test_invalid_tables_are_reported_in_one_line(
    tmp_path: Path, text: str | bytes, found: str
) -> None:
    with pytest.raises(TableError, match=r"^expected .*; .*") as raised:
        read_bare_table(write(tmp_path, text))
    assert found in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "labels", ["REAL FAKE", "real fake", "Real Fake", "0 1", "0.0 1.0", " REAL FAKE "]
)
def test_label_spellings(tmp_path: Path, labels: str) -> None:
    real, fake = labels.split()
    table = read_bare_table(write(tmp_path, f"videoname,label\na,{real}\nb, {fake}\n")).rows
    assert table["label"].to_pylist() == ["REAL", "FAKE"]


def test_parse_label() -> None:
    spellings = ("Real", "FAKE", "0", "1", "0.0", "1.0", "maybe", "", None)
    labels = ["REAL", "FAKE", "REAL", "FAKE", "REAL", "FAKE", None, None, None]
    assert [parse_label(text) for text in spellings] == labels


def test_byte_order_mark_and_missing_originals(tmp_path: Path) -> None:
    text = "\ufeffvideoname,label,original\na,REAL,none\nb,FAKE,a\nc,FAKE,NaN\nd,FAKE,\n"
    table = read_bare_table(write(tmp_path, text)).rows
    assert table["original"].to_pylist() == [None, "a", None, None]
    assert table["family"].to_pylist() == ["a", "a", "c", "d"]


def test_names_from_paths_and_other_columns_kept(tmp_path: Path) -> None:
    text = "path,label,width\nreal/a_0.png,0,7\nfake\\b.png,1,8\n"
    table = read_bare_table(write(tmp_path, text)).rows
    assert table["video"].to_pylist() == ["a", "b"]
    assert table["part"].to_pylist() == ["real", "fake"]
    assert table["width"].to_pylist() == [7, 8]


def test_parquet_with_labels_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    rows = {"video": ["a", "b"], "label": [0, 1], "frame": [float("nan"), 3.0]}
    pq.write_table(pa.table(rows), path)
    table = read_bare_table(path).rows
    assert table["label"].to_pylist() == ["REAL", "FAKE"]
    assert table["frame"].to_pylist() == [None, 3]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="found none; give a CSV or parquet file"):
        read_bare_table(tmp_path / "absent.csv")


def test_a_relative_path_with_a_colon_is_no_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s3:x").mkdir()
    path = Path("s3:x") / "manifest.parquet"
    write_table(MANIFEST_SCHEMA.empty_table(), path)
    assert read_table(path, MANIFEST_SCHEMA, "").num_rows == 0
    write_table(pa.table({"video": ["a.mp4"], "label": ["REAL"]}), path)
    assert read_bare_table(path).rows.num_rows == 1
