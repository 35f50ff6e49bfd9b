"""The typed rows have the columns of the tables, and the journal keeps their order."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from dfdc_prep.extraction.journal import Journal, JournalEntry, read_journal
from manifests.rows import ClipRow, CropRow
from manifests.schema import CLIP_LOG_SCHEMA, LATER_JOURNAL_COLUMNS, MANIFEST_SCHEMA


@pytest.mark.parametrize(
    ("row", "schema"), [(CropRow, MANIFEST_SCHEMA), (ClipRow, CLIP_LOG_SCHEMA)]
)
def test_keys_are_the_columns_in_order(row: type, schema: pa.Schema) -> None:
    assert list(row.__annotations__) == schema.names


@pytest.mark.parametrize(
    ("row", "schema"), [(CropRow, MANIFEST_SCHEMA), (ClipRow, CLIP_LOG_SCHEMA)]
)
def test_a_value_may_be_none_where_its_column_is_nullable(row: type, schema: pa.Schema) -> None:
    nullable = [isinstance(None, kind) for kind in row.__annotations__.values()]
    assert nullable == [field.nullable for field in schema]


def test_a_journal_line_is_an_entry(tmp_path: Path) -> None:
    clip = ClipRow(
        video="a.mp4",
        part="p",
        label="REAL",
        original=None,
        family="a.mp4",
        family_source=None,
        status="no_face",
        error=None,
        frames_wanted=1,
        frames_decoded=1,
        faces=0,
        seconds=0.5,
        dataset="dfdc",
        method=None,
        identity=None,
        face_identity=None,
        official_split="train",
    )
    entry = JournalEntry(key="k", versions=["1 a"], clips=[clip], crops=[])
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(entry)
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert list(json.loads(line)) == list(JournalEntry.__annotations__)
    assert list(json.loads(line)["clips"][0]) == CLIP_LOG_SCHEMA.names
    assert list(read_journal(tmp_path / "journal.jsonl")) == [entry]


def test_rows_of_an_earlier_version_lack_later_columns(tmp_path: Path) -> None:
    row = dict.fromkeys(CLIP_LOG_SCHEMA.names) | {"status": "ok", "faces": 0, "label": "REAL"}
    earlier = {name: row[name] for name in row if name not in LATER_JOURNAL_COLUMNS}
    (tmp_path / "journal.jsonl").write_text(
        json.dumps({"key": "k", "versions": [None], "clips": [earlier], "crops": []}) + "\n"
    )
    assert next(read_journal(tmp_path / "journal.jsonl"))["clips"] == [earlier]
