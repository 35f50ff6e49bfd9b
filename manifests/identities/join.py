"""Adds the estimated identity to a table of crops."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from manifests.columns import IDENTITY_COLUMNS
from manifests.errors import TableError
from manifests.schema import IDENTITY_SCHEMA
from manifests.tables.derived import check_bound, manifest_hash
from manifests.tables.families import family_column
from manifests.tables.parquet import read_table

FILE = "identities.parquet"


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
        column = identities[name].take(row)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), field, column)
        else:
            table = table.append_column(field, column)
    return table if named is None else _rename_faces(table, named)


def join_people(table: pa.Table, faces: Path) -> pa.Table:
    """Return the table with the people of a faces folder: estimated, or as the set names them.

    Without identities.parquet, `identity` is the named person, or the family where none is named.

    Raises:
        TableError: there is neither an identities.parquet nor a named identity.
    """
    if (faces / FILE).is_file() or not _names_people(table):
        return add_identities(table, read_identities(faces))
    named = table["identity"]
    source = pc.if_else(pc.is_valid(named), pa.scalar("named"), pa.scalar("none"))
    people = pc.coalesce(named, family_column(table))
    table = table.set_column(table.column_names.index("identity"), "identity", people)
    if "identity_source" in table.column_names:
        table = table.drop_columns(["identity_source"])
    return table.append_column("identity_source", source)


def _names_people(table: pa.Table) -> bool:
    return "identity" in table.column_names and table["identity"].null_count < table.num_rows


def _rename_faces(table: pa.Table, named: pa.ChunkedArray) -> pa.Table:
    """Rename the people whose faces fakes show as those filmed were renamed.

    Args:
        named: the column `identity` before it was replaced.
    """
    if "face_identity" not in table.column_names:
        return table
    face = table["face_identity"]
    renamed = table["identity"].take(pc.index_in(face, named, skip_nulls=True))
    column = pc.coalesce(renamed, face)
    return table.set_column(table.column_names.index("face_identity"), "face_identity", column)


def _joined(table: pa.Table, names: list[str]) -> pa.ChunkedArray:
    """Return one string per row made of several columns; NUL is in no file name."""
    columns = [table[name].cast(pa.string()) for name in names]
    return pc.binary_join_element_wise(*columns, "\0", null_handling="replace", null_replacement="")
