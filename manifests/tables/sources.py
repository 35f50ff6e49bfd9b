"""Source of a command's rows: a faces folder or a bare table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from manifests.errors import TableError
from manifests.folders import check_faces_folder
from manifests.tables import derived
from manifests.tables.clips import clip_lines
from manifests.tables.external import BY_EVIDENCE, NotedTable, Reading, read_bare_table
from manifests.tables.parquet import read_manifest


@dataclass(frozen=True)
class TableSource:
    """The FACES argument of the table commands: a faces folder or a bare table.

    The path's type is checked only once. If the folder is removed during the run, the command
    must not write its table to the current folder as it does for a bare table.

    Attributes:
        manifest: the hash of the folder's manifest; None if there is none.
    """

    path: Path
    is_folder: bool
    manifest: str | None

    @classmethod
    def from_path(cls, path: Path) -> Self:
        """Check whether the path is a folder; a missing path fails in `read`."""
        return cls(path, path.is_dir(), derived.manifest_hash(path))

    def read(self, name: str, made_by: str, reading: Reading = BY_EVIDENCE) -> NotedTable:
        """Read the table `name` of the folder, or the bare table.

        Args:
            name: a file name, such as `manifest.parquet`.
            made_by: the dfdc-prep command that writes it, for error messages.
            reading: how to read what a bare table does not say.

        Raises:
            TableError: the table is missing or invalid, was made from another manifest than that
                of the folder, or `reading` is given for a folder.
        """
        if self.is_folder:
            reading.check_unused(self.path)
            rows = read_manifest(self.path / name, f"dfdc-prep {made_by}")
            if name != derived.MANIFEST:
                derived.check_bound(self.path / name, self.manifest, f"dfdc-prep {made_by}")
            return NotedTable(rows, tuple(clip_lines(rows)))
        if not self.path.exists():
            raise TableError(
                f"expected a faces folder or a table at {self.path}, found nothing; "
                f"run dfdc-prep {made_by} first, or give a CSV"
            )
        return read_bare_table(self.path, reading)

    def read_clip_log(self) -> pa.Table | None:
        """Read the clip log of a faces folder; see `derived.read_clip_log`."""
        return derived.read_clip_log(self.path, self.manifest)

    def bound(self, table: pa.Table) -> pa.Table:
        """The table with the manifest that it was made from in its metadata."""
        return derived.bound(table, self.manifest)

    def output_path(self, name: str) -> Path:
        """Return where to write the table `name`: in the folder, or here for a bare table.

        Raises:
            OutputError: the folder is of another kind, such as a shards folder.
        """
        if self.is_folder:
            check_faces_folder(self.path)
        return self.path / f"{name}.parquet" if self.is_folder else Path(f"{name}.csv")
