from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from manifests.arrow import ENCODING_SCHEMA, IDENTITY_SCHEMA
from manifests.errors import TableError
from manifests.identities import doubts
from manifests.identities.evidence import NO_PICTURES, FamilyPictures
from manifests.identities.people import Identities, assign_identities
from manifests.identities.table import (
    SettledPair,
    merge_pairs,
    read_pairs,
    resolve_pairs,
    write_pairs,
)
from manifests.pictures.thumbnails import SCENE_LENGTH
from manifests.schemas import ENCODING_SIZE

#: Positions of the originals' faces on a line; a, b and c show one person, d another.
FACES = {"a.mp4": 0.0, "b.mp4": 0.2, "c.mp4": 0.4, "d.mp4": 2.0}


def clips(names: dict[str, float]) -> pa.Table:
    """A REAL and a FAKE clip of every family, and a fake whose original is missing."""
    rows = [
        {"video": video, "part": "p", "family": name, "label": label}
        for name in names
        for video, label in ((name, "REAL"), (f"fake_of_{name}", "FAKE"))
    ]
    rows.append({"video": "lost.mp4", "part": "p", "family": "gone.mp4", "label": "FAKE"})
    return pa.Table.from_pylist(rows)


def encodings(
    faces: dict[str, float], dark: tuple[str, ...] = (), fake: tuple[str, ...] = ()
) -> pa.Table:
    rows = [
        {
            "key": name,
            "part": "p",
            "video": name,
            "family": name,
            "label": "FAKE" if name in fake else "REAL",
            "rank": 0,
            "path": f"{name}.png",
            "size": None,
            "asymmetry": 0.0,
            "light": 15.0 if name in dark else 120.0,
            "encoding": [position, *[0.0] * (ENCODING_SIZE - 1)],
        }
        for name, position in faces.items()
    ]
    return pa.Table.from_pylist(rows, schema=ENCODING_SCHEMA)


def assigned(
    *settled: SettledPair,
    dark: tuple[str, ...] = (),
    fake: tuple[str, ...] = (),
    faces: dict[str, float] = FACES,
    pictures: FamilyPictures = NO_PICTURES,
) -> Identities:
    table = encodings(faces, dark, fake)
    return assign_identities(clips(faces), table, list(settled), pictures=pictures)


def pictures_of(*alike: tuple[int, int], scenes: dict[int, float] | None = None) -> FamilyPictures:
    """Near-identical families of a to d and gone, and the angles of their scenes."""
    angle = np.array(list((scenes or {}).values()))
    return FamilyPictures(
        np.array(alike, np.int64).reshape(-1, 2),
        np.array(list(scenes or {}), np.int64),
        SCENE_LENGTH * np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32),
    )


def people(found: Identities) -> dict[str, str]:
    """The identity of every clip."""
    rows = found.table.select(["video", "identity"]).to_pylist()
    return {row["video"]: row["identity"] for row in rows}


def same(first: str, second: str) -> SettledPair:
    return SettledPair(first, second, "same")


def different(first: str, second: str) -> SettledPair:
    return SettledPair(first, second, "different")


def test_a_family_takes_its_originals_identity_and_one_without_a_face_is_its_own() -> None:
    found = assigned()
    of = people(found)
    assert of["a.mp4"] == of["b.mp4"] == of["c.mp4"] == of["fake_of_c.mp4"] == "a.mp4"
    assert of["d.mp4"] == of["fake_of_d.mp4"] == "d.mp4"
    assert of["lost.mp4"] == "gone.mp4"
    assert found.table.schema.equals(IDENTITY_SCHEMA)
    assert found.table["identity"].null_count == 0
    sources = dict(zip(of, found.table["identity_source"].to_pylist(), strict=True))
    assert (sources["a.mp4"], sources["lost.mp4"]) == ("real", "none")
    distances = dict(zip(of, found.table["identity_distance"].to_pylist(), strict=True))
    assert distances["a.mp4"] == pytest.approx(0.2)
    assert distances["lost.mp4"] is None


def row_of(found: Identities, video: str) -> dict[str, Any]:
    return next(row for row in found.table.to_pylist() if row["video"] == video)


def test_weak_evidence_joins_and_is_certain_where_nothing_is_near() -> None:
    found = assigned(dark=("a.mp4", "b.mp4"))
    assert people(found)["b.mp4"] == "a.mp4"
    assert row_of(found, "b.mp4")["identity_source"] == "real"
    assert not found.pairs


def test_a_weak_face_joins_its_nearest_neighbour_and_is_shown() -> None:
    faces = FACES | {"d.mp4": 0.82}  # 0.42 from c, 0.62 from the group on average
    assert people(assigned(faces=faces))["d.mp4"] == "d.mp4"
    found = assigned(dark=("d.mp4",), faces=faces)
    assert people(found)["d.mp4"] == "a.mp4"
    assert row_of(found, "d.mp4")["identity_doubts"] == "dark,near"
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.joined, pair.moved) == (3, 2, True, 1)
    assert not assigned(same("d.mp4", "a.mp4"), dark=("d.mp4",), faces=faces).pairs


def test_a_weak_face_that_resembles_nobody_is_uncertain() -> None:
    row = row_of(assigned(dark=("d.mp4",)), "d.mp4")
    assert (row["identity"], row["identity_source"]) == ("d.mp4", "uncertain")
    assert row["identity_doubts"] == "alone,dark"


def test_a_family_that_only_a_fake_shows_joins_and_says_so() -> None:
    found = assigned(fake=("b.mp4",))
    assert people(found)["b.mp4"] == "a.mp4"
    assert found.faked == {1}
    assert row_of(found, "lost.mp4")["identity_source"] == "none"
    assert (
        row_of(assigned(fake=("b.mp4",), faces={"b.mp4": 0.0}), "b.mp4")["identity_doubts"]
        == "alone,fake"
    )


def test_the_same_picture_joins_whatever_the_faces_and_without_one() -> None:
    found = assigned(pictures=pictures_of((0, 3), (3, 4)))
    assert people(found)["d.mp4"] == people(found)["a.mp4"] == people(found)["lost.mp4"]
    kept = assigned(different("a.mp4", "d.mp4"), pictures=pictures_of((0, 3), (3, 4)))
    assert people(kept)["d.mp4"] == people(kept)["lost.mp4"] == "d.mp4"


def test_the_more_alike_the_scenes_the_further_apart_the_faces() -> None:
    faces = FACES | {"d.mp4": 0.95}  # 0.55 from c
    for angle, joined in ((0.0, True), (0.3, True), (0.42, False), (1.5, False)):
        pictures = pictures_of(scenes={2: 0.0, 3: angle})
        found = assigned(faces=faces, pictures=pictures)
        assert (people(found)["d.mp4"] == "a.mp4") == joined, angle
        apart = assigned(different("a.mp4", "d.mp4"), faces=faces, pictures=pictures)
        assert people(apart)["d.mp4"] == "d.mp4"


def test_links_do_not_join_more_families_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.identities.people._MIN_LIMIT", 3)
    faces = FACES | {"d.mp4": 0.82}
    found = assigned(dark=("d.mp4",), faces=faces)
    assert people(found)["d.mp4"] == "d.mp4"
    (pair,) = found.pairs
    assert not pair.joined


def test_only_so_many_pairs_are_shown_those_that_move_most_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Three families and two are 0.55 apart, and so are two lone ones.
    at = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.55, "e": 0.55, "f": 9.0, "g": 9.52}
    faces = {f"{name}.mp4": position for name, position in at.items()}
    first, second = assigned(faces=faces).pairs
    assert (first.moved, second.moved) == (2, 1)
    monkeypatch.setattr(doubts, "MAX_SHOWN", 1)
    found = assigned(faces=faces)
    assert found.pairs == (first,)
    assert len(found.doubts) == 2  # the two clips shown


def test_different_keeps_apart_what_is_close() -> None:
    of = people(assigned(different("a.mp4", "b.mp4")))
    assert of["a.mp4"] != of["b.mp4"]


def test_same_joins_what_is_far_and_what_has_no_face() -> None:
    found = assigned(same("a.mp4", "d.mp4"), same("lost.mp4", "d.mp4"))
    assert set(people(found).values()) == {"a.mp4"}


def test_same_and_different_hold_where_groups_would_join_different_people() -> None:
    settled = (same("a.mp4", "d.mp4"), different("b.mp4", "e.mp4"))
    of = people(assigned(*settled, faces=FACES | {"e.mp4": 2.1}))
    assert of["a.mp4"] == of["d.mp4"]
    assert of["b.mp4"] != of["e.mp4"]


def test_close_groups_are_a_pair_until_settled() -> None:
    faces = FACES | {"d.mp4": 0.75}
    (pair,) = assigned(faces=faces).pairs
    assert {pair.first, pair.second} == {2, 3}  # the closest members, c and d
    assert pair.distance == pytest.approx(0.55)
    assert not assigned(different("a.mp4", "d.mp4"), faces=faces).pairs


def test_a_merge_just_below_the_threshold_is_a_pair_until_settled() -> None:
    faces = {"c.mp4": 0.0, "d.mp4": 0.48}
    (pair,) = assigned(faces=faces).pairs
    assert pair.joined
    assert pair.distance == pytest.approx(0.48)
    assert not assigned(same("c.mp4", "d.mp4"), faces=faces).pairs


@pytest.mark.parametrize(
    ("settled", "found"),
    [
        ([same("a.mp4", "b.mp4"), different("b.mp4", "a.mp4")], "a.mp4 and b.mp4|b.mp4 and a.mp4"),
        ([same("a.mp4", "b.mp4"), same("b.mp4", "c.mp4"), different("a.mp4", "c.mp4")], "c.mp4"),
        ([different("a.mp4", "fake_of_a.mp4")], "a.mp4 and a.mp4"),
    ],
)
def test_pairs_that_contradict_each_other(settled: list[SettledPair], found: str) -> None:
    with pytest.raises(TableError, match=rf"^expected settled pairs that agree, found .*({found})"):
        assigned(*settled)


def test_a_pair_of_an_unknown_clip() -> None:
    with pytest.raises(TableError, match=r"clips in the manifest, found 'x\.mp4'"):
        assigned(same("a.mp4", "x.mp4"))


def test_the_order_of_rows_and_pairs_does_not_matter() -> None:
    settled = [same("lost.mp4", "d.mp4"), different("a.mp4", "b.mp4")]
    order = pa.array(np.random.default_rng(1).permutation(9))
    shuffled = assign_identities(
        clips(FACES).take(order), encodings(dict(reversed(FACES.items()))), settled[::-1]
    )
    assert people(assigned(*settled)) == people(shuffled)


def test_pairs_are_kept_in_one_order_and_read_again(tmp_path: Path) -> None:
    pairs = merge_pairs([same("b", "a"), different("c", "a")], [same("a", "b")])
    assert pairs == [SettledPair("a", "b", "same"), SettledPair("a", "c", "different")]
    write_pairs(pairs, tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv") == pairs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("first,second\na,b\n", "found first, second"),
        ("first,second,relation\na,b,maybe\n", "'maybe'"),
        ("first,second,relation\na\n,,same\n", "'', '', 'same'"),
        (b"first,second,relation\n\xff,b,same\n", "found .*utf-8"),
    ],
)
def test_a_csv_that_is_no_list_of_pairs(tmp_path: Path, text: str | bytes, found: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TableError, match=found):
        read_pairs(path)


def test_rows_without_a_relation_are_not_settled_yet(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("first,second,relation,distance\na,b,,0.51\nc,d,same,0.5\n")
    assert read_pairs(tmp_path / "pairs.csv") == [same("c", "d")]


def test_a_name_of_several_clips_needs_its_part() -> None:
    columns = {"video": ["x.mp4", "x.mp4", "y.mp4"], "part": ["p", "q", "p"]}
    family, names = np.array([0, 1, 2]), pa.array(["a", "b", "c"])
    with pytest.raises(TableError, match=r"found .x\.mp4., .* as in p/x\.mp4"):
        resolve_pairs([same("x.mp4", "y.mp4")], pa.table(columns), family, names)
    rules = resolve_pairs([same("q/x.mp4", "y.mp4")], pa.table(columns), family, names)
    assert rules.same.tolist() == [[1, 2]]
