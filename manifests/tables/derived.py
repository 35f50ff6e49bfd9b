"""Tables made from the manifest of a faces folder: each says which manifest that was.

balanced.parquet, split.parquet, identities.parquet and clips.parquet carry the SHA-256 of
manifest.parquet in their parquet metadata. Equal rows give equal bytes of a manifest, so that a
table stays valid until a row of the manifest changes. CSV files have no room for it.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import TableError
from manifests.files import atomic_file, file_sha256
from manifests.schema import CLIP_LOG_SCHEMA
from manifests.tables.kaggle_csv import kaggle_table
from manifests.tables.parquet import read_table, write_parquet, write_table

MANIFEST, CLIP_LOG = "manifest.parquet", "clips.parquet"
_KEY = b"dfdc-prep:manifest"


def manifest_hash(folder: Path) -> str | None:
    """The SHA-256 of a faces folder's manifest, hexadecimal; None if the folder has none.

    Take it before the manifest is read: if the file is replaced in between, what is made of it
    then counts as stale, not as valid.
    """
    path = folder / MANIFEST
    return file_sha256(path) if path.is_file() else None


def bound(table: pa.Table, manifest: str | None) -> pa.Table:
    """The table with the hash of its manifest in its metadata; unchanged without one."""
    if manifest is None:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: manifest})


def check_bound(path: Path, manifest: str | None, made_by: str) -> None:
    """Raise TableError if a table of a faces folder was made from another manifest.

    Args:
        path: the table; only its metadata is read.
        manifest: the hash of the folder's manifest; without one there is nothing to compare.
        made_by: the command that makes the table, for the message.
    """
    if manifest is None:
        return
    found = (pq.read_schema(path.absolute()).metadata or {}).get(_KEY)
    if found == manifest.encode():
        return
    what = "no word of the manifest that it was" if found is None else "one that was"
    other = "" if found is None else " another manifest"
    raise TableError(
        f"expected {path} made from the present {MANIFEST}, found {what} made from{other}; run "
        f"{made_by} {path.parent} again"
    )


def read_clip_log(folder: Path, manifest: str | None) -> pa.Table | None:
    """Read the clip log of a faces folder; None if there is none.

    Raises:
        TableError: it is invalid, or of another manifest: the run that wrote it was interrupted.
    """
    path = folder / CLIP_LOG
    if not path.is_file():
        return None
    table = read_table(path, CLIP_LOG_SCHEMA, "dfdc-prep extract")
    check_bound(path, manifest, "dfdc-prep extract SOURCE")
    return table


def write_faces_tables(folder: Path, manifest: pa.Table, clips: pa.Table) -> None:
    """Write clips.parquet, metadata.csv and, when they are there, manifest.parquet.

    Raises:
        OutputError: another run is writing the same table.
        OSError: the folder cannot be written.
    """
    with atomic_file(folder / MANIFEST) as temporary:
        write_parquet(manifest, temporary)
        write_table(bound(clips, file_sha256(temporary)), folder / CLIP_LOG)
        write_table(kaggle_table(manifest), folder / "metadata.csv")
