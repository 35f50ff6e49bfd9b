"""metadata.csv: a manifest as the table that the Kaggle `deepfake_faces` set ships."""

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError

#: The columns of that table, in its order.
COLUMNS = ("videoname", "original_width", "original_height", "label", "original")


def metadata(table: pa.Table) -> pa.Table:
    """The five columns of `metadata.csv`, one row per row of the manifest.

    The sizes are those the crop had before it was scaled: the side of the square cut out,
    or, of an imported set, what its own table said. Of a bare table, the columns it has.

    Raises:
        TableError: a column of sizes holds something else than numbers.
    """
    columns = {
        "videoname": table["video"],
        "original_width": _size(table, "original_width", "w"),
        "original_height": _size(table, "original_height", "h"),
        "label": table["label"],
        "original": table["original"],
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


def _size(table: pa.Table, told: str, box: str) -> pa.ChunkedArray | None:
    names = (told,) if told in table.column_names else ("crop_size", box)
    known = [_numbers(table, name) for name in names if name in table.column_names]
    return pc.coalesce(*known) if known else None


def _numbers(table: pa.Table, name: str) -> pa.ChunkedArray:
    column = table[name]
    if pa.types.is_integer(column.type):
        return column
    try:
        return column.cast(pa.float64())
    except pa.ArrowException as error:
        raise TableError(
            f"expected numbers in the column {name}, found {column.type}; mend or drop the column"
        ) from error
