"""Puts the crops of several data sets into one table in which no two names can be mixed up."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError

DATASET, METHOD = "dataset", "method"
#: Columns whose values mean something only within their data set; null stays null.
NAMES = ("video", "part", "original", "family", "identity", "face_identity")


@dataclass(frozen=True)
class CropSet:
    """The crops of one folder.

    Attributes:
        name: what the paths of the crops begin with in the joined table; different for each
            folder, without a slash.
        dataset: the data set of rows that name none.
        table: the rows, with the columns of a manifest.
    """

    name: str
    dataset: str
    table: pa.Table


def dataset_column(table: pa.Table, default: str | None = None) -> pa.ChunkedArray:
    """The data set of every row, string [rows]; `default` where the table names none."""
    fallback = pa.scalar(default, pa.string())
    if DATASET not in table.column_names:
        return pa.chunked_array([pa.repeat(fallback, table.num_rows)])
    return pc.coalesce(table[DATASET].cast(pa.string()), fallback)


def names_are_qualified(table: pa.Table) -> bool:
    """Whether the names of a table begin with the data set, as `join_sets` writes them."""
    if DATASET not in table.column_names or table[DATASET].null_count or not table.num_rows:
        return False
    dataset, video = dataset_column(table), table["video"]
    if not video[0].as_py().startswith(f"{dataset[0]}/"):  # most tables, at once
        return False
    return all(
        pc.all(pc.starts_with(video.filter(pc.equal(dataset, name)), f"{name}/")).as_py()
        for name in pc.unique(dataset).to_pylist()
    )


def join_sets(sets: Sequence[CropSet]) -> pa.Table:
    """Return one table with the rows of all sets, in their order.

    The columns of `NAMES` begin with the data set, as in `celeb-df-v2/id0_0000.mp4`: two data
    sets share no clip, family or person, whatever their files are called. Rows of the same data
    set in two folders keep the same families. `path` begins with the folder's name.

    Raises:
        TableError: a clip is in two folders, or a column has two types.
    """
    parts = [_qualified(each) for each in sets]
    _check_clips(parts, sets)
    try:
        return pa.concat_tables(parts, promote_options="default")
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
        for name in NAMES
        if name in table.column_names
    }
    values["path"] = pc.binary_join_element_wise(crops.name, table["path"], "/")
    for name, column in values.items():
        index = table.column_names.index(name)
        table = table.set_column(index, table.schema.field(index), column)
    if DATASET in table.column_names:
        index = table.column_names.index(DATASET)
        return table.set_column(index, table.schema.field(index), dataset)
    return table.append_column(DATASET, dataset)


def _check_clips(parts: Sequence[pa.Table], sets: Sequence[CropSet]) -> None:
    """Raise TableError if two folders have crops of one clip."""
    seen: dict[tuple[str, str], str] = {}
    for part, crops in zip(parts, sets, strict=True):
        clips = part.select(["part", "video"]).group_by(["part", "video"]).aggregate([])
        for clip in zip(clips["part"].to_pylist(), clips["video"].to_pylist(), strict=True):
            if seen.setdefault(clip, crops.name) != crops.name:
                raise TableError(
                    f"expected every clip in one folder, found {clip[1]} in {seen[clip]} and in "
                    f"{crops.name}; leave one of them out"
                )
