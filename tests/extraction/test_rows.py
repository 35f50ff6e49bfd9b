"""Rows are made of what has values of their columns, and the journal keeps them."""

import json
from pathlib import Path

import pytest

from dfdc_prep.catalog.clips import Clip, Provenance
from dfdc_prep.extraction.journal import JournalEntry, read_journal
from manifests.arrow import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.files import Journal
from manifests.schemas import ClipRow, CropRow, make_row


def test_a_row_takes_each_column_from_where_it_has_a_value() -> None:
    clip = Clip("p", "a.mp4", "REAL", None, "a.mp4", "a", "/clips/a.mp4", 1, Provenance("dfdc"))
    row = make_row(CropRow, {"path": "crops/a.png", "mask": None}, clip, clip.provenance)
    assert list(row) == MANIFEST_SCHEMA.names
    assert {name: value for name, value in row.items() if value is not None} == {
        "video": "a.mp4",
        "part": "p",
        "label": "REAL",
        "family": "a.mp4",
        "path": "crops/a.png",
        "dataset": "dfdc",
    }
    with pytest.raises(AssertionError, match="no columns: \\['size'\\]"):
        make_row(CropRow, {"size": 1})


def test_a_journal_line_is_an_entry(tmp_path: Path) -> None:
    clip = make_row(
        ClipRow,
        {
            "video": "a.mp4",
            "part": "p",
            "label": "REAL",
            "original": None,
            "family": "a.mp4",
            "family_source": None,
            "status": "no_face",
            "error": None,
            "frames_wanted": 1,
            "frames_decoded": 1,
            "faces": 0,
            "seconds": 0.5,
            "dataset": "dfdc",
            "method": None,
            "identity": None,
            "face_identity": None,
            "official_split": "train",
        },
    )
    entry = JournalEntry(key="k", versions=["1 a"], clips=[clip], crops=[])
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(entry)
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert list(json.loads(line)) == list(JournalEntry.__annotations__)
    assert list(json.loads(line)["clips"][0]) == CLIP_LOG_SCHEMA.names
    assert list(read_journal(tmp_path / "journal.jsonl")) == [entry]
