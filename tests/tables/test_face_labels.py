"""Labels by face, and the counts of the summary."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dfdc_prep
import dfdc_prep.errors
from manifests.arrow import MANIFEST_SCHEMA
from manifests.auditing.summary import ForgedFaces, summarize
from manifests.errors import TableError
from manifests.tables.parquet import read_manifest
from manifests.tables.sources import label_rows
from tests.crop_sets import make_faces, write_both


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A faces folder of eight families, in which two fakes of four crops are untouched."""
    folder = make_faces(tmp_path / "faces", families=8, fakes=2)
    table = pq.read_table(folder / "balanced.parquet")
    fakes = [label == "FAKE" for label in table["label"].to_pylist()]
    forged = [None if not fake else row % 3 != 0 for row, fake in enumerate(fakes)]
    index = table.schema.get_field_index("forged")
    table = table.set_column(index, MANIFEST_SCHEMA.field("forged"), pa.array(forged))
    write_both(folder, table)
    return folder


def test_an_untouched_face_of_a_fake_is_real(faces: Path) -> None:
    table = read_manifest(faces / "manifest.parquet")
    for row, label in zip(
        table.to_pylist(), label_rows(table, "face")["label"].to_pylist(), strict=True
    ):
        assert label == ("REAL" if row["forged"] is False else row["label"])
    assert label_rows(table, "clip") is table


def test_balance_split_and_shard_count_faces(faces: Path, tmp_path: Path) -> None:
    before = read_manifest(faces / "manifest.parquet")
    by_face = label_rows(before, "face")["label"].to_pylist()
    report = dfdc_prep.balance(faces, label_by="face")
    assert report.per_class <= min(by_face.count("REAL"), by_face.count("FAKE"))
    written = read_manifest(faces / "balanced.parquet").to_pylist()
    assert any(row["label"] == "REAL" and row["forged"] is False for row in written)
    assert not any(row["label"] == "FAKE" and row["forged"] is False for row in written)
    placed = dfdc_prep.split(faces, label_by="face").placed
    assert placed.sum(axis=0).tolist() == [report.per_class] * 2
    dfdc_prep.shard(faces, tmp_path / "shards")
    assert dfdc_prep.verify(tmp_path / "shards").ok


def test_shards_of_other_labels_are_other_shards(faces: Path, tmp_path: Path) -> None:
    dfdc_prep.shard(faces, tmp_path / "shards", label_by="face")
    shards = pq.read_table(tmp_path / "shards" / "manifest.parquet").to_pylist()
    assert not any(row["label"] == "FAKE" and row["forged"] is False for row in shards)
    with pytest.raises(dfdc_prep.errors.OptionsDiffer, match="another label_by"):
        dfdc_prep.shard(faces, tmp_path / "shards")


def test_labels_by_face_need_the_comparison(tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", families=3)
    with pytest.raises(TableError, match="expected the column forged"):
        dfdc_prep.shard(folder, tmp_path / "shards", label_by="face")
    bare = pa.table({"video": ["a"], "label": ["FAKE"]})
    with pytest.raises(TableError, match="expected the column forged"):
        label_rows(bare, "face")


def test_the_summary_counts_untouched_faces_and_clips() -> None:
    table = pa.table(
        {
            "video": ["r", "a", "a", "b", "b", "c", "d"],
            "label": ["REAL", *["FAKE"] * 6],
            "original": [None, *["r"] * 6],
            "forged": [None, True, False, False, False, None, False],
        }
    )
    assert summarize(table).forged_faces == ForgedFaces(1, 4, 1, 2)
    assert "4 untouched" in summarize(table).text()
    assert summarize(table.drop_columns(["forged"])).forged_faces is None
