"""The rows that a command works on: of a faces folder, a bare table or several data sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.folders import FacesFolder, path_meant
from manifests.labels import FAKE, REAL
from manifests.tables.codes import DATASET, cast_column, clip_lines, dataset_column, set_column
from manifests.tables.external import BY_EVIDENCE, NotedTable, Reading, read_bare_table
from manifests.tables.parquet import (
    MANIFEST,
    bound,
    check_bound,
    manifest_hash,
    read_manifest,
    unlabelled_lines,
)

#: Columns whose values mean something only within their data set; null stays null.
NAMES_IN_SET = ("video", "part", "original", "family", "identity", "face_identity")
#: Values of `--label-by`.
CLIP, FACE = "clip", "face"


@dataclass(frozen=True)
class TableSource:
    """The FACES argument of the table commands: a faces folder or a bare table.

    The path's type is checked only once. If the folder is removed during the run, the command
    must not write its table to the current folder as it does for a bare table.
    """

    path: Path
    is_folder: bool
    manifest: str | None  # the hash of the folder's manifest; None if there is none

    @classmethod
    def from_path(cls, path: Path) -> Self:
        """Check whether the path is a folder; a missing path fails in `read`."""
        return cls(path, path.is_dir(), manifest_hash(path))

    def read(self, name: str, made_by: str, reading: Reading = BY_EVIDENCE) -> NotedTable:
        """Read the table `name` of the folder, which a command writes, or the bare table.

        Raises:
            TableError: the table is missing or invalid, was made from another manifest than that
                of the folder, or `reading` is given for a folder.
        """
        if self.is_folder:
            reading.check_unused(self.path)
            rows = read_manifest(self.path / name, f"dfdc-prep {made_by}")
            if name != MANIFEST:
                check_bound(self.path / name, self.manifest, f"dfdc-prep {made_by}")
            notes = [*clip_lines(rows), *unlabelled_lines(self.path / name, rows)]
            return NotedTable(rows, tuple(notes))
        if not self.path.exists():
            raise TableError(
                f"expected a faces folder or a table at {self.path}, found nothing; "
                + (path_meant(self.path) or f"run dfdc-prep {made_by} first, or give a CSV")
            )
        return read_bare_table(self.path, reading)

    def bound(self, table: pa.Table) -> pa.Table:
        """The table with the manifest that it was made from in its metadata."""
        return bound(table, self.manifest)

    def output_path(self, name: str) -> Path:
        """Return where to write the table `name`: in the folder, or here for a bare table.

        Raises:
            OutputError: the folder is of another kind, such as a shards folder.
        """
        if self.is_folder:
            FacesFolder.check_is_one(self.path)
        return self.path / f"{name}.parquet" if self.is_folder else Path(f"{name}.csv")


class CropSet(NamedTuple):
    """The crops of one folder."""

    name: str  # where their paths begin in the joined table: a different one a folder, no slash
    dataset: str  # of rows that name none
    table: pa.Table


def join_sets(sets: Sequence[CropSet]) -> pa.Table:
    """Return one table with the rows of all sets, in their order.

    The columns of `NAMES_IN_SET` begin with the data set, as in `celeb-df-v2/id0_0000.mp4`: two
    data sets share no clip, family or person, whatever their files are called. Rows of the same
    data set in two folders keep the same families. `path` and `mask` begin with the folder's name.

    Raises:
        TableError: a clip is in two folders, or a column has two types.
    """
    tables = [_qualified(crops) for crops in sets]
    # No clip in two folders.
    folder_of: dict[tuple[str, str], str] = {}
    for table, crops in zip(tables, sets, strict=True):
        clips = table.select(["part", "video"]).group_by(["part", "video"]).aggregate([])
        for clip in zip(clips["part"].to_pylist(), clips["video"].to_pylist(), strict=True):
            if (other := folder_of.setdefault(clip, crops.name)) != crops.name:
                raise TableError(
                    f"expected every clip in one folder, found {clip[1]} in {other} and in "
                    f"{crops.name}; leave one of them out"
                )
    try:
        return pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise TableError(
            f"expected the same columns in every folder, found another type ({error}); extract "
            "or import again with one version of dfdc-prep"
        ) from error


def _qualified(crops: CropSet) -> pa.Table:
    """The rows of one set with names that are unique among all sets."""
    table = crops.table
    dataset = dataset_column(table, crops.dataset)
    values = {
        name: pc.binary_join_element_wise(dataset, table[name].cast(pa.string()), "/")
        for name in NAMES_IN_SET
        if name in table.column_names
    }
    for name in ("path", "mask"):
        if name in table.column_names:
            values[name] = pc.binary_join_element_wise(crops.name, table[name], "/")
    for name, column in {**values, DATASET: dataset}.items():
        table = set_column(table, name, column)
    return table


def label_rows(table: pa.Table, label_by: str) -> pa.Table:
    """Return the table with the labels of the clips, or of the faces: FAKE only where forged.

    Where `forged` is null, the clip's label counts.

    Raises:
        TableError: to label by face, the table has no column forged, or no value in it.
    """
    if label_by == CLIP:
        return table
    if not forgery_known(table):
        raise TableError(
            "expected the column forged to label by face, found no value in it; extract "
            "with --compare, from clips whose originals are on disk, or use --label-by clip"
        )
    return set_column(table, "label", pc.if_else(untouched_faces(table), REAL, table["label"]))


def forgery_known(table: pa.Table) -> bool:
    """Whether the table says of any row whether its face was changed."""
    return "forged" in table.column_names and table["forged"].null_count < table.num_rows


def untouched_faces(table: pa.Table) -> pa.ChunkedArray:
    """Whether each row is a face of a fake that was not changed, bool [rows].

    Raises:
        TableError: the column forged has other values than true and false.
    """
    forged = cast_column(table, "forged", pa.bool_(), "true and false")
    return pc.and_(pc.equal(table["label"], FAKE), pc.invert(forged.fill_null(True)))
