"""The verdict of an audit on thirty tables: ten clean, ten leaking, ten that cannot be known."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from manifests.auditing.audit import LEAKS, NO_LEAK_FOUND, NOT_KNOWN, audit
from manifests.tables.external import read_bare_table
from tests.bare_tables import write

FAMILIES = 6
Row = tuple[str, str, str]

#: Tables of families: the header, and the rows of family n without their split, original first.
KNOWN: dict[str, tuple[str, Callable[[int], list[str]]]] = {
    "DFDC": ("video,label,original", lambda n: [f"o{n}.mp4,REAL,", f"f{n}.mp4,FAKE,o{n}.mp4"]),
    "extension": ("video,label,original", lambda n: [f"o{n}.mp4,REAL,", f"f{n}.mp4,FAKE,o{n}.avi"]),
    "folder": ("video,label,original", lambda n: [f"o{n}.mp4,REAL,", f"f{n}.mp4,FAKE,real/o{n}"]),
    "case": ("video,label,original", lambda n: [f"o{n}.mp4,REAL,", f"f{n}.mp4,FAKE,O{n}.MP4"]),
    "unicode": ("video,label,original", lambda n: [f"\u00e9{n},REAL,", f"f{n},FAKE,e\u0301{n}"]),
    "FaceForensics++": (
        "path,label",
        lambda n: [f"real/{n:03d}.png,0", f"fake/{n:03d}_9{n:02d}.png,1"],
    ),
    "Celeb-DF": ("path,label", lambda n: [f"id{n}_0001.mp4,0", f"id{n}_id{n + 50}_0001.mp4,1"]),
    "family": ("video,label,family", lambda n: [f"o{n},REAL,{n}", f"f{n},FAKE,{n}"]),
    "absent": ("video,label,original", lambda n: [f"f{n},FAKE,o{n}", f"g{n},FAKE,o{n}"]),
    "chain": ("video,label,original", lambda n: [f"f{n},FAKE,o{n}", f"g{n},FAKE,f{n}"]),
}


def in_splits(header: str, families: Iterable[list[str]], torn: bool = False) -> str:
    """A CSV with the families in three splits in turn; torn: the last clip of each in the next."""
    names, lines = ("train", "validation", "test"), [f"{header},split"]
    for number, rows in enumerate(families):
        for at, row in enumerate(rows):
            shift = int(torn and at == len(rows) - 1)
            lines.append(f"{row},{names[(number + shift) % 3]}")
    return "\n".join(lines) + "\n"


def known(name: str, torn: bool) -> str:
    header, family = KNOWN[name]
    return in_splits(header, map(family, range(FAMILIES)), torn)


def singles(header: str, *rows: str) -> str:
    """A CSV with each row in a split of its own."""
    return in_splits(header, [[row] for row in rows])


REALS = [f"r{n},REAL" for n in range(6)]
CANNOT_BE_KNOWN = {
    "labels alone": singles("path,label", *(f"a/{n}.png,{n % 2}" for n in range(9))),
    "no originals": singles("video,label", *REALS, *(f"f{n},FAKE" for n in range(6))),
    "half of them": singles(
        "video,label,original", "r,REAL,", "s,REAL,", "t,REAL,", *(f"f{n},FAKE," for n in range(4))
    ),
    "one of them": known("DFDC", torn=False) + "lost.mp4,FAKE,,test\n",
    "spellings of none": singles(
        "video,label,original", "r,REAL,none", "f,FAKE,none", "g,FAKE,NaN", "s,REAL,null"
    ),
    "families of one": singles(
        "video,label,family", *(f"{row},{row.split(',')[0]}" for row in REALS), "f,FAKE,f"
    ),
    "said so": singles(
        "video,label,family,family_source",
        "r,REAL,r,",
        "s,REAL,s,",
        "t,REAL,t,",
        "f,FAKE,f,unknown",
    ),
    "fakes alone": singles("video,label", *(f"f{n},FAKE" for n in range(6))),
    "numbers that say nothing": singles(
        "path,label",
        *(f"real_{n}.png,0" for n in range(3)),
        *(f"00{n}_000.png,1" for n in range(6)),
    ),
    "names of both kinds": known("FaceForensics++", torn=False) + "fake/other.png,1,test\n",
}


def verdict(folder: Path, csv: str) -> str:
    return audit(read_bare_table(write(folder, csv)).rows).verdict


@pytest.mark.parametrize("name", KNOWN)
def test_clean_and_leaking_tables(tmp_path: Path, name: str) -> None:
    assert verdict(tmp_path, known(name, torn=False)) == NO_LEAK_FOUND
    assert verdict(tmp_path, known(name, torn=True)) == LEAKS


@pytest.mark.parametrize("name", CANNOT_BE_KNOWN)
def test_tables_that_cannot_be_known(tmp_path: Path, name: str) -> None:
    assert verdict(tmp_path, CANNOT_BE_KNOWN[name]) == NOT_KNOWN


def test_a_clip_made_from_none_names_itself(tmp_path: Path) -> None:
    csv = singles("video,label,original", *(f"{row}," for row in REALS), "gan,FAKE,gan")
    assert verdict(tmp_path, csv) == NO_LEAK_FOUND


@pytest.mark.parametrize(
    ("csv", "code", "first"),
    [
        (known("DFDC", torn=False), 0, "no leak found: compared families; not compared: files, "),
        (known("DFDC", torn=True), 3, "leaks: the splits share families; not compared: files, "),
        (
            CANNOT_BE_KNOWN["one of them"],
            3,
            "not known: nothing says what 1 of 7 FAKE clips were made from; not compared: files, ",
        ),
    ],
)
def test_the_verdict_comes_first(tmp_path: Path, csv: str, code: int, first: str) -> None:
    path = write(tmp_path, csv)
    done = CliRunner().invoke(main, ["audit", str(path)])
    assert done.exit_code == code
    assert done.stdout.startswith(first)
    told = json.loads(CliRunner().invoke(main, ["audit", str(path), "--json"]).stdout)
    assert next(iter(told.values())) == first.split(":")[0]
    assert told["not_compared"] == ["files", "near-identical images", "people"]
    result = dfdc_prep.audit(path)
    assert (result.verdict, result.ok) == (told["verdict"], code == 0)
    assert next(iter(result.parts())) == str(result).splitlines()[0]


def test_nothing_is_said_of_what_was_not_compared(tmp_path: Path) -> None:
    text = audit(read_bare_table(write(tmp_path, CANNOT_BE_KNOWN["no originals"])).rows).text()
    assert "families: none shared among those known" in text
    assert "in more than one split: 0 of 6 known families" in text
    assert "families of 6 FAKE clips: 0 known, 0 read from names, 6 not known" in text
    assert "files: not compared" in text
