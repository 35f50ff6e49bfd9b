import json
from pathlib import Path

import pyarrow as pa

from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.auditing.summary import summarize
from manifests.tables.external import read_bare_table
from tests.bare_tables import mixture_table, write


def test_the_papers_table_1(real_csv: Path) -> None:
    """Table 1 of the paper: dtype, count, unique, missing#, missing%."""
    found = summarize(read_bare_table(real_csv).rows).columns
    assert [
        (one.name, one.dtype, one.count, one.unique, one.missing, round(one.missing_percent, 2))
        for one in found
    ] == [
        ("videoname", "object", 95_634, 95_634, 0, 0.0),
        ("original_width", "int64", 95_634, 31, 0, 0.0),
        ("original_height", "int64", 95_634, 34, 0, 0.0),
        ("label", "object", 95_634, 2, 0, 0.0),
        ("original", "object", 79_341, 16_955, 16_293, 17.04),
    ]


def test_real_table(real_csv: Path) -> None:
    found = summarize(read_bare_table(real_csv).rows)
    assert found.classes == found.clips == {"REAL": 16_293, "FAKE": 79_341}
    assert found.families == 17_387
    assert found.fakes_per_original is not None
    assert found.fakes_per_original.most == 36
    assert found.face_sizes is not None
    assert (found.face_sizes.least, found.face_sizes.most) == (36, 666)
    assert found.oddities == {}
    assert json.loads(json.dumps(found.as_json()))["classes"]["FAKE"] == 79_341
    row = next(line for line in found.text().splitlines() if line.startswith("original "))
    assert row.split() == ["original", "object", "79,341", "16,955", "16,293", "17.04"]


def test_yield_by_part_and_label() -> None:
    log = [("a", "p0", "REAL", 3), ("b", "p0", "REAL", 0), ("c", "p1", None, 0)]
    rows = [
        {
            "video": video, "part": part, "label": label, "family": video, "status": "ok",
            "frames_wanted": 3, "frames_decoded": 3, "faces": faces, "seconds": 0.0,
        }
        for video, part, label, faces in log
    ]  # fmt: skip
    found = summarize(mixture_table([(3, 1)]), pa.Table.from_pylist(rows, CLIP_LOG_SCHEMA))
    yields = [(one.part, one.label, one.clips, one.with_faces, one.crops) for one in found.yields]
    assert yields == [("p0", "REAL", 2, 1, 3), ("p1", None, 1, 0, 0)]
    assert "p0 REAL 3 2 1" in " ".join(found.text().split())


def test_oddities_are_counted(tmp_path: Path) -> None:
    rows = ["r,REAL,x", "r,REAL,", "r,FAKE,", "f,FAKE,r", "g,FAKE,f", "b,FAKE,c", "c,FAKE,b"]
    path = write(tmp_path, "\n".join(["videoname,label,original", *rows]) + "\n")
    assert summarize(read_bare_table(path).rows).oddities == {
        "FAKE without an original": 1,
        "REAL with an original, which is ignored": 1,
        "FAKE whose original is a FAKE": 4,
        "FAKE whose originals form a cycle": 2,
        "further rows of a name": 2,
        "names with both labels": 1,
    }
