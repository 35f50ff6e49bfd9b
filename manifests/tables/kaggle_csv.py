"""metadata.csv: a manifest in the format of the Kaggle `deepfake_faces` table."""

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError


def kaggle_table(table: pa.Table) -> pa.Table:
    """Return the columns of `metadata.csv`, one row per row of the manifest.

    The columns are videoname, original_width, original_height, label and original. The sizes
    are those of the crop before scaling, in pixels: the side of the square that was cut out
    or, for an imported set, the sizes in its own table. Size columns that a bare table lacks
    are left out.

    Raises:
        TableError: a size column is not numeric.
    """
    columns = {
        "videoname": table["video"],
        "original_width": _size_column(table, "original_width", "w"),
        "original_height": _size_column(table, "original_height", "h"),
        "label": table["label"],
        "original": table["original"],
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


def _size_column(table: pa.Table, own: str, box_side: str) -> pa.ChunkedArray | None:
    """Return the table's own size column, else the crop's size, else that of the face box."""
    names = (own,) if own in table.column_names else ("crop_size", box_side)
    known = [_numeric_column(table, name) for name in names if name in table.column_names]
    return pc.coalesce(*known) if known else None


def _numeric_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    column = table[name]
    if pa.types.is_integer(column.type):
        return column
    try:
        return column.cast(pa.float64())
    except pa.ArrowException as error:
        raise TableError(
            f"expected numbers in the column {name}, found {column.type}; fix or drop the column"
        ) from error
