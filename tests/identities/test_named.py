"""People whom a data set names, together with those that are estimated."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from manifests.arrow import ENCODING_SCHEMA
from manifests.identities.people import assign_identities
from manifests.identities.table import (
    SAME,
    SettledPair,
    add_identities,
    add_names,
    join_people,
    named_pairs,
)


def clips(identity: list[str | None]) -> pa.Table:
    """Originals a, b, c ... with these named identities."""
    names = [f"{letter}.mp4" for letter in "abcdef"[: len(identity)]]
    columns = {"video": names, "family": names, "label": ["REAL"] * len(names)}
    table = pa.table({"part": pa.array(["p"] * len(names)), **columns})
    return table.append_column("identity", pa.array(identity, pa.string()))


def identities(table: pa.Table) -> pa.Table:
    """The identities of clips without a face: only their names join them."""
    found = assign_identities(table, ENCODING_SCHEMA.empty_table(), named_pairs(table))
    return add_names(found.table, table)


def test_clips_of_one_name_are_one_person_with_that_name() -> None:
    found = identities(clips(["ann", None, "ann", "bob"]))
    assert found["identity"].to_pylist() == ["ann", "b.mp4", "ann", "bob"]
    assert found["identity_source"].to_pylist() == ["named", "none", "named", "named"]
    assert named_pairs(clips(["ann", None, "ann", "bob"])) == [SettledPair("a.mp4", "c.mp4", SAME)]


def test_without_names_nothing_changes() -> None:
    table = clips([None, None])
    found = assign_identities(table, ENCODING_SCHEMA.empty_table(), named_pairs(table)).table
    assert add_names(found, table).equals(found)


def test_the_person_swapped_in_is_renamed_with_the_one_filmed() -> None:
    table = clips(["000", "001", None])
    joined = identities(clips(["000", "000", None]))  # found to be one person
    crops = table.append_column("face_identity", pa.array([None, "000", "001"], pa.string()))
    found = add_identities(crops, joined)
    assert found["identity"].to_pylist() == ["000", "000", "c.mp4"]
    assert found["face_identity"].to_pylist() == [None, "000", "000"]


def test_a_split_by_person_needs_no_estimate_where_the_set_names_people(tmp_path: Path) -> None:
    found = join_people(clips(["ann", None, "ann"]), tmp_path)
    assert found["identity"].to_pylist() == ["ann", "b.mp4", "ann"]
    assert found["identity_source"].to_pylist() == ["named", "none", "named"]
    assert np.unique(found["identity"].to_pylist()).size == 2
