"""The tables of identities: identities.parquet, and CSVs of pairs that a person settled."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.arrow import IDENTITY_SCHEMA
from manifests.errors import TableError
from manifests.files import atomic_file
from manifests.folders import FacesFolder, path_meant
from manifests.schemas import IDENTITY_COLUMNS
from manifests.tables.codes import Codes
from manifests.tables.families import connected_groups, family_column
from manifests.tables.parquet import check_bound, manifest_hash, read_table
from manifests.wording import columns_found, counted, did_you_mean

FILE = FacesFolder.IDENTITIES


def read_identities(path: Path) -> pa.Table:
    """Read identities.parquet, given by its path or by its faces folder.

    Raises:
        TableError: the table is missing or invalid, or was made from another manifest than the
            one beside it.
    """
    file = path / FILE if path.is_dir() else path
    table = read_table(file, IDENTITY_SCHEMA, "dfdc-prep identify")
    check_bound(file, manifest_hash(file.parent), "dfdc-prep identify")
    return table


def add_identities(table: pa.Table, identities: pa.Table, strict: bool = True) -> pa.Table:
    """Return the table with the columns `identity` and `identity_source`, replaced if present.

    Rows are matched by part and video, or by video alone if the table has no part. Rows that
    match no clip are matched by family.

    Args:
        identities: with the columns of `IDENTITY_SCHEMA`.
        strict: whether every row must match; otherwise the identity of the others is null.

    Raises:
        TableError: a row matches no clip and no family, and `strict` is set.
    """
    keys = [name for name in ("part", "video") if name in table.column_names]
    clip = pc.index_in(_joined(table, keys), _joined(identities, keys))
    family = pc.index_in(family_column(table), identities["family"])
    row = pc.coalesce(clip, family)
    named = table["identity"] if "identity" in table.column_names else None
    if strict and row.null_count:
        missing = table["video"].filter(pc.is_null(row))[0].as_py()
        raise TableError(
            f"expected an identity for every clip, found {counted(row.null_count, 'crop')} "
            f"without, such as those of {missing}; run dfdc-prep identify again"
        )
    for name in IDENTITY_COLUMNS:
        field = IDENTITY_SCHEMA.field(name).with_nullable(not strict)
        table = _with_column(table, field, identities[name].take(row))
    if named is None or "face_identity" not in table.column_names:
        return table
    # Rename the people whose faces fakes show as those filmed were renamed.
    face = table["face_identity"]
    renamed = table["identity"].take(pc.index_in(face, named, skip_nulls=True))
    field = table.schema.field("face_identity")
    return _with_column(table, field, pc.coalesce(renamed, face))


def join_people(table: pa.Table, faces: Path) -> pa.Table:
    """Return the table with the people of a faces folder: estimated, or as the set names them.

    Without identities.parquet, `identity` is the named person, or the family where none is named.

    Raises:
        TableError: there is neither an identities.parquet nor a named identity.
    """
    named = table["identity"] if "identity" in table.column_names else None
    unnamed = named is None or named.null_count == table.num_rows
    if (faces / FILE).is_file() or unnamed:
        return add_identities(table, read_identities(faces))
    source = pc.if_else(pc.is_valid(named), pa.scalar("named"), pa.scalar("none"))
    for name, column in zip(
        IDENTITY_COLUMNS, (pc.coalesce(named, family_column(table)), source), strict=True
    ):
        table = _with_column(table, IDENTITY_SCHEMA.field(name), column)
    return table


def add_names(identities: pa.Table, clips: pa.Table) -> pa.Table:
    """Name the groups after the first named identity in them; their clips have the source `named`.

    Args:
        identities: with the columns of `IDENTITY_SCHEMA`.
        clips: the same clips in the same order, with the column identity.
    """
    named = clips["identity"]
    if named.null_count == clips.num_rows:
        return identities
    groups = pa.table({"group": identities["identity"], "name": named})
    names = groups.filter(pc.is_valid(named)).group_by("group").aggregate([("name", "min")])
    at = pc.index_in(identities["identity"], names["group"])
    people = pc.coalesce(names["name_min"].take(at), identities["identity"])
    source = pc.if_else(pc.is_valid(named), pa.scalar("named"), identities["identity_source"])
    found = _with_column(identities, identities.schema.field("identity"), people)
    return _with_column(found, found.schema.field("identity_source"), source)


def _with_column(table: pa.Table, field: pa.Field | str, column: pa.ChunkedArray) -> pa.Table:
    """The table with a column, in its place if it is there."""
    name = field if isinstance(field, str) else field.name
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), field, column)
    return table.append_column(field, column)


def _joined(table: pa.Table, names: list[str]) -> pa.ChunkedArray:
    """Return one string per row made of several columns; NUL is in no file name."""
    columns = [table[name].cast(pa.string()) for name in names]
    return pc.binary_join_element_wise(*columns, "\0", null_handling="replace", null_replacement="")


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
        advice = path_meant(path) or "give its path"
        raise TableError(f"expected a CSV of pairs at {path}, found none; {advice}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeError, csv.Error) as error:
        raise TableError(f"expected a CSV of pairs in {path}, found {error}; correct it") from error
    if not set(COLUMNS) <= set(columns):
        raise TableError(
            f"expected the columns {', '.join(COLUMNS)} in {path}, found "
            f"{columns_found(columns, COLUMNS[0])}; correct the first line"
        )
    pairs = []
    for row in rows:
        first, second, relation = ((row[name] or "").strip() for name in COLUMNS)
        if relation and (relation not in (SAME, DIFFERENT) or not first or not second):
            raise TableError(
                f"expected two clips and {SAME} or {DIFFERENT} in each row of {path}, found "
                f"{first!r}, {second!r}, {relation!r}; correct the row"
            )
        if relation:
            pairs.append(SettledPair(first, second, relation))
    return pairs


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

    Clips of different names may still be found to show one person: some sets name videos. `clips`
    has one row per clip with the columns video, family and identity.
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
    number: dict[str, int] = {}
    several: set[str] = set()  # names of clips of more than one family
    columns = (clips["part"].to_pylist(), clips["video"].to_pylist(), family.tolist())
    for part, video, own in zip(*columns, strict=True) if pairs else ():
        number[f"{part}/{video}"] = own
        if number.setdefault(video, own) != own:
            several.add(video)
    families = {name: at for at, name in enumerate(names.to_pylist())}
    number |= families
    for name in (name for pair in pairs for name in pair[:2]):
        if name in several and name not in families:
            raise TableError(
                f"expected settled pairs of single clips, found {name!a}, a name of clips of "
                f"several families; give their part too, as in {clips['part'][0]}/{name}"
            )
        if name not in number:
            raise TableError(
                f"expected settled pairs of clips in the manifest, found {name!a}; "
                + (
                    did_you_mean(name, number)
                    or "give the file names of two clips, or remove the pair"
                )
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
