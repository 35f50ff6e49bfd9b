"""Splits that a data set's own lists give, and the people that they share."""

import pyarrow as pa
import pytest

from manifests.auditing.audit import audit
from manifests.errors import TableError
from manifests.splitting.sets import official_splits
from manifests.splitting.split import add_split_column


def crops(**columns: list[str | None]) -> pa.Table:
    """Four crops: two of the training split, two of the test split, of four families."""
    given: dict[str, list[str | None]] = {
        "video": ["a.mp4", "b.mp4", "c.mp4", "d.mp4"],
        "label": ["REAL", "FAKE", "REAL", "FAKE"],
        "original": [None, None, None, None],
        "official_split": ["train", "train", "test", "test"],
    }
    return pa.table({name: pa.array(v, pa.string()) for name, v in (given | columns).items()})


def test_every_row_gets_the_split_of_its_data_set() -> None:
    found = official_splits(crops())
    assert found.names.to_pylist() == ["train", "train", "test", "test"]
    assert found.plan.names == ("train", "test")
    assert found.placed.tolist() == [[1, 1], [1, 1]]
    assert "no family is in two splits" not in found.text()
    assert found.text().splitlines()[-2:] == [
        "families of 2 FAKE clips: 0 known, 0 read from names, 2 not known",
        "no known family is in two splits; nothing says what 2 of 2 FAKE clips were made from, so "
        "that relatives may be in two",
    ]
    known = official_splits(crops(original=[None, "a.mp4", None, "c.mp4"]))
    assert known.text().endswith("no family is in two splits")


def test_shared_families_and_people_are_measured() -> None:
    table = crops(original=[None, None, None, "a.mp4"], identity=["x", "y", "z", "y"])
    found = official_splits(table)
    assert found.leaking
    assert "families shared by test and train: 1," in found.text()
    assert "identities shared by test and train: 1, in 1 of 2 crops" in found.text()


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([None] * 4, "found none"),
        (["train", "test", None, None], r"found 2 without, such as those of c\.mp4"),
        (["train"] * 4, "at least two of"),
        (["train", "test", "test", "holdout"], "at least two of"),
    ],
)
def test_columns_that_give_no_split(splits: list[str | None], message: str) -> None:
    with pytest.raises(TableError, match=message):
        official_splits(crops(official_split=splits))
    with pytest.raises(TableError, match="found none"):
        official_splits(crops().drop_columns(["official_split"]))


def test_one_shared_person_of_two_is_enough() -> None:
    table = crops(identity=["x", "y", "z", "x"], face_identity=[None, "z", None, "w"])
    people = audit(add_split_column(table, official_splits(table))).people
    assert people is not None
    assert people.faces is not None
    assert [(leak.shared, sum(leak.touched.values())) for leak in people.faces] == [(2, 2)]


def test_the_audit_compares_people_filmed_and_swapped_in() -> None:
    table = crops(identity=["x", "y", "z", None], face_identity=[None, "z", None, "x"])
    table = add_split_column(table, official_splits(table))
    people = audit(table).people
    assert people is not None
    assert [leak.shared for leak in people.leaks] == [0]
    assert people.faces is not None
    # z is swapped in in train and filmed in test; x is filmed in train and swapped in in test.
    assert [(leak.shared, sum(leak.touched.values())) for leak in people.faces] == [(2, 2)]
    assert not people.estimated
    assert "50.0 % of the test crops name no one" in audit(table).text()
