"""Pairs of clips: settled by a person as same or different, or of one named identity."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.files import atomic_file
from manifests.tables.codes import Codes
from manifests.tables.families import connected_groups, family_column

SAME, DIFFERENT = "same", "different"
COLUMNS = ("first", "second", "relation")


class SettledPair(NamedTuple):
    """Two clips, by the names of clips or families, and `same` or `different`."""

    first: str
    second: str
    relation: str


class Constraints(NamedTuple):
    """The settled pairs as numbers of families."""

    same: Codes  # same and different: int64 [pairs, 2]
    different: Codes
    closure: Codes  # int64 [families], equal for families that the pairs say show one person


def read_pairs(path: Path) -> list[SettledPair]:
    """Read a CSV with the columns first, second and relation; rows without a relation are skipped.

    Raises:
        TableError: the file is missing or not such a table, or a relation is unknown.
    """
    if not path.is_file():
        raise TableError(f"expected a CSV of pairs at {path}, found none; give its path")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeError, csv.Error) as error:
        raise TableError(f"expected a CSV of pairs in {path}, found {error}; fix it") from error
    if not set(COLUMNS) <= set(columns):
        raise TableError(
            f"expected the columns {', '.join(COLUMNS)} in {path}, found "
            f"{', '.join(columns)[:200] or 'none'}; fix the first line"
        )
    return [pair for row in rows if (pair := _parse_row(row, path))]


def _parse_row(row: dict[str, str | None], path: Path) -> SettledPair | None:
    first, second, relation = ((row[name] or "").strip() for name in COLUMNS)
    if not relation:
        return None
    if relation not in (SAME, DIFFERENT) or not first or not second:
        raise TableError(
            f"expected two clips and {SAME} or {DIFFERENT} in each row of {path}, found "
            f"{first!r}, {second!r}, {relation!r}; fix the row"
        )
    return SettledPair(first, second, relation)


def merge_pairs(*several: Iterable[SettledPair]) -> list[SettledPair]:
    """Return the distinct pairs in sorted order, the two names of each in sorted order."""
    pairs = (pair for pairs in several for pair in pairs)
    return sorted({SettledPair(min(pair[:2]), max(pair[:2]), pair.relation) for pair in pairs})


def write_pairs(
    pairs: Iterable[tuple[object, ...]], path: Path, more: tuple[str, ...] = ()
) -> None:
    """Write pairs as `read_pairs` reads them, and further columns, atomically."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([(*COLUMNS, *more), *pairs])


def named_pairs(clips: pa.Table) -> list[SettledPair]:
    """Return pairs of families that connect the clips of every identity that a data set names.

    Clips of different names may still be found to show one person: some sets name videos.

    Args:
        clips: one row per clip with the columns video, family and identity.
    """
    named = clips.filter(pc.is_valid(clips["identity"]))
    first: dict[str, str] = {}
    people = zip(named["identity"].to_pylist(), family_column(named).to_pylist(), strict=True)
    pairs = [(first.setdefault(person, family), family) for person, family in people]
    return [SettledPair(*pair, SAME) for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]


def resolve_pairs(
    pairs: Sequence[SettledPair], clips: pa.Table, family: Codes, names: pa.Array
) -> Constraints:
    """Find the families of the clips that the pairs name, as `video` or as `part/video`.

    Args:
        clips: one row per clip with the columns video and part.
        family: int64 [clips], index in `names`.
        names: string [families].

    Raises:
        TableError: a name is neither a clip nor a family, or is one of clips of several
            families, or the pairs contradict each other.
    """
    number, several = _families_by_name(clips, family, names) if pairs else ({}, set())
    for name in (name for pair in pairs for name in pair[:2]):
        if name in several:
            raise TableError(
                f"expected settled pairs of single clips, found {name!a}, a name of clips of "
                f"several families; give their part too, as in {clips['part'][0]}/{name}"
            )
        if name not in number:
            raise TableError(
                f"expected settled pairs of clips in the manifest, found {name!a}; give the "
                "file names of two clips, or remove the pair"
            )
    same, different = (
        np.array(
            [(number[one], number[two]) for one, two, how in pairs if how == relation], np.int64
        ).reshape(-1, 2)
        for relation in (SAME, DIFFERENT)
    )
    closure = connected_groups(len(names), same[:, 0], same[:, 1])
    clash = np.flatnonzero(closure[different[:, 0]] == closure[different[:, 1]])
    if len(clash):
        one, two = (names[int(at)].as_py() for at in different[clash[0]])
        raise TableError(
            f"expected settled pairs that agree, found {one} and {two} to be different people, "
            "and the same person by another pair; remove one of the two"
        )
    return Constraints(same, different, closure)


def _families_by_name(
    clips: pa.Table, family: Codes, names: pa.Array
) -> tuple[dict[str, int], set[str]]:
    """The family of each name, and the names that do not tell it, because several have them."""
    number: dict[str, int] = {}
    several: set[str] = set()
    columns = (clips["part"].to_pylist(), clips["video"].to_pylist(), family.tolist())
    for part, video, at in zip(*columns, strict=True):
        number[f"{part}/{video}"] = at
        if number.setdefault(video, at) != at:
            several.add(video)
    own = {name: at for at, name in enumerate(names.to_pylist())}
    return number | own, several - own.keys()
