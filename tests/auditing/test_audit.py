import numpy as np
import pyarrow as pa
import pytest

from manifests.auditing.audit import audit
from manifests.errors import TableError
from manifests.pictures.near_identical import NearIdentical
from manifests.splitting.split import SplitPlan, add_split_column, assign_splits
from tests.bare_tables import mixture_table


def leaky_table() -> pa.Table:
    """Family o is in both splits, with two of the three test crops; p is in one."""
    return pa.table(
        {
            "video": ["o", "f", "g", "p"],
            "label": ["REAL", "FAKE", "FAKE", "REAL"],
            "original": pa.array([None, "o", "o", None], pa.string()),
            "split": ["train", "test", "test", "test"],
            "sha256": ["aa", "bb", None, "aa"],
        }
    )


def test_shared_families_and_files_are_counted() -> None:
    found = audit(leaky_table())
    (family,), (file,) = found.families, found.files or []
    assert (family.first, family.second, family.shared) == ("train", "test", 1)
    assert family.touched == {"REAL": 0, "FAKE": 2}
    assert family.rows == {"REAL": 1, "FAKE": 2}
    assert (file.shared, file.touched) == (1, {"REAL": 1, "FAKE": 0})
    assert found.crossing == {"clips": (0, 4), "families": (1, 2)}
    assert [(family.name, family.rows) for family in found.worst] == [
        ("o", {"train": 1, "test": 2})
    ]
    assert found.leaking
    assert "66.7 % (0.0 % of REAL, 100.0 % of FAKE)" in found.text()


def test_a_family_column_cannot_hide_a_leak() -> None:
    table = leaky_table().append_column("family", pa.array(["o", "f", "g", "p"]))
    assert audit(table).families[0].shared == 1


def test_split_by_family_is_clean_and_the_papers_split_leaks() -> None:
    table = mixture_table([(1, 3)] * 60)
    for group_by, leaking in (("original", False), ("none", True)):
        plan = SplitPlan.parse("56/24/20", group_by)
        assert audit(add_split_column(table, assign_splits(table, plan))).leaking == leaking


def test_report_names_what_was_not_compared() -> None:
    text = audit(leaky_table().drop_columns(["sha256"])).text()
    assert "files: not compared" in text
    assert "near-identical images: not compared, no images available" in text


@pytest.mark.parametrize("split", [["train"] * 4, ["train", "test", None, "test"]])
def test_missing_or_incomplete_split_column_is_rejected(split: list[str | None]) -> None:
    table = leaky_table().drop_columns(["split"])
    with pytest.raises(TableError, match="expected a column split"):
        audit(table)
    with pytest.raises(TableError, match="expected at least two splits and one in every row"):
        audit(table.append_column("split", pa.array(split, pa.string())))


def test_near_identical_images_leak_without_shared_families() -> None:
    pair = np.array([0]), np.array([1]), np.array([0.95], np.float32)
    near = NearIdentical(np.array([0, 1, 2, -1]), *pair)
    (leak,) = audit(leaky_table(), near).images or []
    assert leak.touched == {"REAL": 0, "FAKE": 1}
    assert leak.shared == 1
