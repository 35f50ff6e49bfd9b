"""identities.parquet, the estimated identity of every clip, and its columns in a table of crops."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from manifests.columns import IDENTITY_COLUMNS
from manifests.errors import TableError
from manifests.folders import FacesFolder
from manifests.schema import IDENTITY_SCHEMA
from manifests.tables.families import family_column
from manifests.tables.parquet import check_bound, manifest_hash, read_table

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
            f"expected an identity for every clip, found {row.null_count:,} crops without, such "
            f"as those of {missing}; run dfdc-prep identify again"
        )
    for name in IDENTITY_COLUMNS:
        field = IDENTITY_SCHEMA.field(name).with_nullable(not strict)
        table = _with_column(table, field, identities[name].take(row))
    if named is None or "face_identity" not in table.column_names:
        return table
    # Rename the people whose faces fakes show as those filmed were renamed.
    face = table["face_identity"]
    renamed = table["identity"].take(pc.index_in(face, named, skip_nulls=True))
    return _with_column(table, "face_identity", pc.coalesce(renamed, face))


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
    table = _with_column(table, "identity", pc.coalesce(named, family_column(table)))
    return _with_column(table, "identity_source", source)


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
