"""Source of a command's rows: a faces folder or a bare table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from manifests.errors import TableError
from manifests.schema import CLIP_LOG_SCHEMA
from manifests.tables.external import read_bare_table
from manifests.tables.parquet import read_manifest, read_table


@dataclass(frozen=True)
class TableSource:
    """The FACES argument of the table commands: a faces folder or a bare table.

    The path's type is checked only once. If the folder is removed during the run, the command
    must not write its table to the current folder as it does for a bare table.
    """

    path: Path
    is_folder: bool

    @classmethod
    def from_path(cls, path: Path) -> Self:
        """Check whether the path is a folder; a missing path fails in `read`."""
        return cls(path, path.is_dir())

    def read(self, name: str, made_by: str) -> pa.Table:
        """Read the table `name` of the folder, or the bare table.

        Args:
            name: a file name, such as `manifest.parquet`.
            made_by: the dfdc-prep command that writes it, for error messages.

        Raises:
            TableError: the table is missing or invalid.
        """
        if self.is_folder:
            return read_manifest(self.path / name, f"dfdc-prep {made_by}")
        if not self.path.exists():
            raise TableError(
                f"expected a faces folder or a table at {self.path}, found nothing; "
                f"run dfdc-prep {made_by} first, or give a CSV"
            )
        return read_bare_table(self.path)

    def read_clip_log(self) -> pa.Table | None:
        """Read the clip log of a faces folder; None if there is none."""
        log = self.path / "clips.parquet"
        return read_table(log, CLIP_LOG_SCHEMA, "dfdc-prep extract") if log.is_file() else None

    def output_path(self, name: str) -> Path:
        """Return where to write the table `name`: in the folder, or here for a bare table."""
        return self.path / f"{name}.parquet" if self.is_folder else Path(f"{name}.csv")
