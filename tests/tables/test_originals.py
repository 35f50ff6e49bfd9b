"""Originals are found however they are spelled, and names of known data sets are read."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import product

import pyarrow as pa
import pytest

from manifests.auditing.audit import LEAKS, NO_LEAK_FOUND, audit
from manifests.relatives import FamilyCounts, OriginalMatches, read_originals
from manifests.splitting.split import SplitPlan, add_split_column, assign_splits
from manifests.tables.codes import clip_codes
from manifests.tables.external import normalize_table
from manifests.tables.families import connected_families, count_families

Spelling = Callable[[str], str]


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


CLIPS: dict[str, Spelling] = {
    "clip.mp4": lambda name: f"{name}.mp4",
    "clip": lambda name: name,
    "clip.jpg": lambda name: f"{name}.jpg",
    "CLIP.MP4": lambda name: f"{name}.mp4".upper(),
    "in a folder, decomposed": lambda name: f"videos/{nfd(name)}.avi",
}
ORIGINALS: dict[str, Spelling] = {
    "original.mp4": lambda name: f"{name}.mp4",
    "original": lambda name: name,
    "original.png": lambda name: f"{name}.png",
    "ORIGINAL.MOV": lambda name: f"{name}.mov".upper(),
    "in folders": lambda name: f"/data/real/{name}.mp4",
    "decomposed": lambda name: nfd(f"{name}.mp4"),
    "decomposed, in a folder": lambda name: f"real/{nfd(name)}",
    "all of it": lambda name: nfd(f"Real\\{name.swapcase()}.WebM"),
}


def families(clip: Spelling, original: Spelling, count: int = 40) -> pa.Table:
    """Each family an original and two fakes; the column `true` numbers them."""
    rows = [
        {"video": video, "label": label, "original": named, "true": number}
        for number in range(count)
        for video, label, named in (
            (clip(f"zoë{number:03d}"), "REAL", None),
            *((f"f{number}_{at}", "FAKE", original(f"zoë{number:03d}")) for at in range(2)),
        )
    ]
    return normalize_table(pa.Table.from_pylist(rows), "a test").rows


def leaking(table: pa.Table) -> int:
    """Families that are in several splits, in truth."""
    pairs = table.group_by(["true", "split"]).aggregate([])["true"].to_pylist()
    return sum(count > 1 for count in Counter(pairs).values())


@pytest.mark.parametrize(("clip", "original"), [*product(CLIPS, ORIGINALS)])
def test_no_spelling_of_an_original_leaks(clip: str, original: str) -> None:
    table = families(CLIPS[clip], ORIGINALS[original])
    split = add_split_column(table, assign_splits(table, SplitPlan.parse("56/24/20")))
    assert leaking(split) == 0
    found = audit(split)
    assert found.verdict == NO_LEAK_FOUND
    assert found.originals.exact + found.originals.respelled == 40
    torn = assign_splits(table, SplitPlan.parse("56/24/20", "none"))
    torn_split = add_split_column(table.drop_columns(["family"]), torn)
    assert audit(torn_split).verdict == LEAKS
    assert audit(torn_split).crossing["families"] == (leaking(torn_split), 40)


def test_it_is_counted_how_originals_were_found() -> None:
    rows = [("a.mp4", None), ("b.mp4", None), ("É.mp4", None), ("D.mp4", None)]
    rows += [
        ("w", "a.mp4"),
        ("x", "real/b.avi"),
        ("y", nfd("É.mp4")),
        ("z", "d"),
        ("v", "none.mp4"),
    ]
    table = normalize_table(
        pa.table(
            {
                "video": [video for video, _ in rows],
                "label": ["REAL" if original is None else "FAKE" for _, original in rows],
                "original": [original for _, original in rows],
            }
        ),
        "a test",
    ).rows
    matches = connected_families(table).matches
    assert matches == OriginalMatches(exact=1, stem=1, unicode=1, case=1, absent=1)
    assert matches.lines() == [
        "originals named: 5; found among the clips: 1 by their exact name, 1 by name without "
        "extension or folder, 1 by Unicode form, 1 by name without letter case; not among them: 1"
    ]
    assert table["family"].to_pylist()[4:] == ["a.mp4", "b.mp4", "É.mp4", "D.mp4", "none.mp4"]
    assert table["original"].to_pylist()[5] == "real/b.avi"


def table_of(*rows: tuple[str, str, str | None], **columns: list[str | None]) -> pa.Table:
    names = ("video", "label", "original")
    given = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) | columns
    return normalize_table(
        pa.table({n: pa.array(v, pa.string()) for n, v in given.items()}), "t"
    ).rows


def test_an_original_that_fits_two_clips_joins_their_families() -> None:
    table = table_of(("Ab.mp4", "REAL", None), ("aB.mp4", "REAL", None), ("f", "FAKE", "ab.mp4"))
    assert table["family"].to_pylist() == ["Ab.mp4"] * 3
    matches = connected_families(table).matches
    assert (matches.case, matches.ambiguous) == (1, 1)
    assert "originals that fit several clips: 1; " in matches.lines()[1]


def test_the_nearest_folder_tells_equal_names_apart() -> None:
    table = table_of(
        ("v/p1/01.mp4", "REAL", None), ("v/p2/01.mp4", "REAL", None), ("f", "FAKE", "p2/01.avi")
    )
    assert table["family"].to_pylist() == ["v/p1/01.mp4", "v/p2/01.mp4", "v/p2/01.mp4"]


def test_spellings_of_an_absent_original_are_one_family() -> None:
    table = table_of(("f", "FAKE", "a.mp4"), ("g", "FAKE", "x/A"), ("h", "FAKE", "b.mp4"))
    assert table["family"].to_pylist() == ["a.mp4", "a.mp4", "b.mp4"]
    assert connected_families(table).matches.absent == 3
    assert count_families(table, clip_codes(table)) == FamilyCounts(3, 0, 0)


FF_REALS = [f"{number:03d}.png" for number in range(4)]
FF_FAKES = ["000_001.png", "001_000.png", "002_003.png", "003_002.png"]
CELEB = ["id0_id16_0001.mp4", "id1_id16_0002.mp4"]


@pytest.mark.parametrize(
    ("fakes", "reals", "read"),
    [
        (FF_FAKES, FF_REALS, 4),
        (FF_FAKES, [], 4),
        (FF_FAKES, ["777.png"], 4),
        ([*FF_FAKES, "other.png"], FF_REALS, 4),
        ([*FF_FAKES, "other.png"], ["777.png"], 0),
        (FF_FAKES, ["real_0.png"], 0),
        (FF_FAKES, [*FF_REALS, "004_005.png"], 0),
        (["01_02__walk__ABCD1234.mp4"], ["01__walk.mp4"], 1),
        (CELEB, ["id0_0001.mp4", "00170.mp4"], 2),
        ([*CELEB, *FF_FAKES], [*FF_REALS, "id0_0001.mp4"], 6),
        (["real_0.jpg", "real_1.jpg"], ["real_2.jpg"], 0),
        ([], FF_REALS, 0),
    ],
)
def test_names_are_read_where_the_whole_table_follows_them(
    fakes: list[str], reals: list[str], read: int
) -> None:
    assert len(read_originals(fakes, reals)) == read


def test_originals_read_from_names_have_the_extension_of_the_fake() -> None:
    assert read_originals(["183_253.png"], ["183.mp4"]) == {"183_253.png": "183.png"}
    assert read_originals(CELEB, [])["id0_id16_0001.mp4"] == "id0_0001.mp4"


def test_a_table_of_labels_alone_says_what_is_known() -> None:
    rows = [(name, "REAL", None) for name in FF_REALS] + [(name, "FAKE", None) for name in FF_FAKES]
    table = table_of(*rows)
    assert table["family"].to_pylist() == FF_REALS * 2
    assert table["family_source"].to_pylist() == [None] * 4 + ["names"] * 4
    unknown = table_of(("r", "REAL", None), ("f", "FAKE", None), ("g", "FAKE", "r"))
    assert unknown["family_source"].to_pylist() == [None, "unknown", "known"]
    found = assign_splits(unknown, SplitPlan.parse("50/50"))
    assert "families of 2 FAKE clips: 1 known, 0 read from names, 1 not known" in found.text()
    assert "no family is in two splits" not in found.text()
