"""Which table a path means: a faces folder's own, or a bare one."""

from pathlib import Path

import pyarrow as pa

from manifests.bare import read_bare
from manifests.errors import TableError
from manifests.files import read_manifest, read_table
from manifests.schema import CLIP_LOG


def read_rows(path: Path, name: str, made_by: str) -> pa.Table:
    """The table `name` of a faces folder, or the bare table that `path` itself is.

    Args:
        made_by: the command that writes `name`, for the message where it is missing.

    Raises:
        TableError: there is no such table, or it is wrong.
    """
    if path.is_dir():
        return read_manifest(path / name, f"dfdc-prep {made_by}")
    if not path.exists():
        raise TableError(
            f"expected a faces folder or a table at {path}, found nothing; "
            f"run dfdc-prep {made_by} first, or give a CSV"
        )
    return read_bare(path)


def read_clip_log(path: Path) -> pa.Table | None:
    """The clip log of a faces folder; None where there is none."""
    log = path / "clips.parquet"
    return read_table(log, CLIP_LOG, "dfdc-prep extract") if log.is_file() else None


def output(path: Path, name: str) -> Path:
    """Where a command writes its table: into the faces folder, or here for a bare table."""
    return path / f"{name}.parquet" if path.is_dir() else Path(f"{name}.csv")
