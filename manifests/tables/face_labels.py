"""Labels by face: a face of a fake that was not changed is REAL."""

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.labels import FAKE, REAL

#: Values of `--label-by`.
CLIP, FACE = "clip", "face"


def label_rows(table: pa.Table, label_by: str) -> pa.Table:
    """Return the table with the labels that count.

    Args:
        table: with the column label and, to label by face, forged.
        label_by: `clip` keeps the labels; `face` makes FAKE rows that are not forged REAL. Where
            `forged` is null, the clip's label counts. Other columns are kept.

    Raises:
        TableError: the table has no column forged, or no value in it.
    """
    if label_by == CLIP:
        return table
    if not is_known(table):
        raise TableError(
            "expected the column forged to label by face, found no value in it; extract "
            "with --compare, from clips whose originals are on disk, or use --label-by clip"
        )
    labels = pc.if_else(untouched_faces(table), REAL, table["label"])
    index = table.column_names.index("label")
    return table.set_column(index, table.schema.field("label"), labels)


def is_known(table: pa.Table) -> bool:
    """Whether the table says of any row whether its face was changed."""
    return "forged" in table.column_names and table["forged"].null_count < table.num_rows


def untouched_faces(table: pa.Table) -> pa.ChunkedArray:
    """Whether each row is a face of a fake that was not changed, bool [rows].

    Raises:
        TableError: the column forged has other values than true and false.
    """
    return pc.and_(pc.equal(table["label"], FAKE), pc.invert(_forged(table).fill_null(True)))


def count_untouched_clips(fakes: pa.Table) -> int:
    """Number of clips in a table of fakes whose faces are all known, and all unchanged."""
    untouched = untouched_faces(fakes).cast(pa.int64())
    keys = [name for name in ("part", "video") if name in fakes.column_names]
    clips = fakes.select(keys).append_column("untouched", untouched).group_by(keys)
    lowest = clips.aggregate([("untouched", "min")])["untouched_min"]
    return int(pc.sum(lowest).as_py() or 0)


def _forged(table: pa.Table) -> pa.ChunkedArray:
    try:
        return table["forged"].cast(pa.bool_())
    except pa.ArrowException as error:
        raise TableError(
            f"expected true and false in the column forged, found {table['forged'].type}; fix or "
            "drop the column"
        ) from error
