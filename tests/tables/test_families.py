import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.tables.families import connected_families, resolve_families

Clip = tuple[str, str, str | None]


def families(clips: list[Clip]) -> list[str]:
    video, label, original = zip(*clips, strict=True)
    columns = [pa.array(column, pa.string()) for column in (video, label, original)]
    return resolve_families(*columns)[0].to_pylist()


CASES: list[tuple[str, list[Clip], list[str]]] = [
    ("a fake of an original", [("o", "REAL", None), ("f", "FAKE", "o")], ["o", "o"]),
    ("original not in the table", [("f", "FAKE", "o"), ("g", "FAKE", "o")], ["o", "o"]),
    ("a fake without an original", [("f", "FAKE", None)], ["f"]),
    ("a real one with an original", [("r", "REAL", "o"), ("o", "REAL", None)], ["r", "o"]),
    ("a chain", [("c", "FAKE", "b"), ("b", "FAKE", "a"), ("a", "REAL", None)], ["a", "a", "a"]),
    ("a cycle", [("b", "FAKE", "c"), ("c", "FAKE", "b"), ("t", "FAKE", "c")], ["b", "b", "b"]),
    ("its own original", [("f", "FAKE", "f")], ["f"]),
    ("two originals", [("f", "FAKE", "q"), ("f", "FAKE", "p")], ["p", "p"]),
]


@pytest.mark.parametrize(("clips", "expected"), [case[1:] for case in CASES], ids=lambda _: "")
def test_rules(clips: list[Clip], expected: list[str]) -> None:
    assert families(clips) == expected


def test_no_rows() -> None:
    empty = pa.array([], pa.string())
    assert len(resolve_families(empty, empty, empty)[0]) == 0


NAMES = st.sampled_from("abcdefgh")


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["REAL", "FAKE"]), NAMES), min_size=1), st.randoms()
)
def test_related_clips_share_a_family_in_any_order(clips: list[Clip], random: object) -> None:
    found = families(clips)
    family = dict(zip([clip[0] for clip in clips], found, strict=True))
    for video, label, original in clips:
        if label == "FAKE":
            assert family[video] == family.get(original or "", family[video])
    order = np.random.RandomState(len(clips)).permutation(len(clips))
    assert families([clips[at] for at in order]) == [found[at] for at in order]


def test_a_wrong_family_column_does_not_separate_related_clips() -> None:
    table = pa.table(
        {
            "video": ["f", "g", "o", "x"],
            "label": ["FAKE", "FAKE", "REAL", "REAL"],
            "original": ["o", "o", None, None],
            "family": ["f", "g", "o", "x"],
        }
    )
    family = connected_families(table).family
    assert family[0] == family[1] == family[2] != family[3]
