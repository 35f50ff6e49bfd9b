"""Which table a path means: a faces folder's own, or a bare one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from manifests.errors import TableError
from manifests.schema import CLIP_LOG
from manifests.tables.external import read_bare
from manifests.tables.parquet import read_manifest, read_table


@dataclass(frozen=True)
class Faces:
    """What the commands on tables call FACES: a faces folder, or a bare table.

    Which of the two is looked at once: a folder that goes away under the run must not make
    the command write its table elsewhere.
    """

    path: Path
    is_folder: bool

    @classmethod
    def at(cls, path: Path) -> Self:
        """What lies at a path; a path where nothing lies fails when its rows are read."""
        return cls(path, path.is_dir())

    def rows(self, name: str, made_by: str) -> pa.Table:
        """The rows of the folder's table `name`, or of the bare table.

        Args:
            name: a file name, such as `manifest.parquet`.
            made_by: the command that writes it, for the message where it is missing.

        Raises:
            TableError: there is no such table, or it is wrong.
        """
        if self.is_folder:
            return read_manifest(self.path / name, f"dfdc-prep {made_by}")
        if not self.path.exists():
            raise TableError(
                f"expected a faces folder or a table at {self.path}, found nothing; "
                f"run dfdc-prep {made_by} first, or give a CSV"
            )
        return read_bare(self.path)

    def clip_log(self) -> pa.Table | None:
        """The clip log of a faces folder; None where there is none."""
        log = self.path / "clips.parquet"
        return read_table(log, CLIP_LOG, "dfdc-prep extract") if log.is_file() else None

    def output(self, name: str) -> Path:
        """Where a command writes its table `name`: into the folder, or here for a bare table."""
        return self.path / f"{name}.parquet" if self.is_folder else Path(f"{name}.csv")
