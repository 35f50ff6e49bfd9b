"""Columns as integer codes, so that numpy can process tables of ten million rows; and clips.

A clip is a part and a video: FaceForensics++ has one `183_253.mp4` for every method. The column
`clip_source` says how the clips of a table from elsewhere were read, folder to
unknown below; it is absent or null where the table or the data set names the clips itself.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.schema import CLIP_SOURCE_FIELD
from manifests.wording import counted

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SOURCE, DATASET, METHOD = CLIP_SOURCE_FIELD.name, "dataset", "method"
#: Read by the folders of the images, by their names, by a column or a pattern given; or not known:
#: then every image is treated as a clip of its own, and nothing may be said of clips or families.
FOLDER, NAME, COLUMN, PATTERN, UNKNOWN = "folder", "name", "column", "pattern", "unknown"
_HOW = {
    FOLDER: "by the folders of the images",
    NAME: "by the names of the images",
    COLUMN: "from the column given",
    PATTERN: "by the pattern given",
}


def factorize(*columns: pa.ChunkedArray) -> tuple[list[Codes], pa.Array]:
    """Number the distinct strings of one or more columns, in order of first appearance.

    Returns:
        For each column its codes, int64 [rows], -1 for null; and the distinct strings,
        string [distinct], so that `names[code]` is the string of a code.
    """
    lists = [each.chunks if isinstance(each, pa.ChunkedArray) else [each] for each in columns]
    chunks = [chunk.cast(pa.string()) for chunks in lists for chunk in chunks]
    encoded = pa.chunked_array(chunks, pa.string()).dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no chunks at all
        encoded = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], "string"))
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(column) for column in columns])
    return np.split(codes, ends[:-1]), encoded.dictionary


def factorize_sorted(*columns: pa.ChunkedArray) -> tuple[list[Codes], pa.Array]:
    """As `factorize`, with the codes in sorted order of the strings, independent of row order."""
    column_codes, names = factorize(*columns)
    order = pc.sort_indices(names).to_numpy()
    rank = np.full(len(names) + 1, -1)  # the last maps the code -1 to itself
    rank[order] = np.arange(len(names))
    return [rank[codes] for codes in column_codes], names.take(pa.array(order))


def pair_codes(first: Codes, second: Codes) -> Codes:
    """Return one code for each distinct pair of codes, in the order of (first, second)."""
    joint = first * (second.max(initial=0) + 1) + second
    return np.unique(joint, return_inverse=True)[1].astype(np.int64)


def cast_column(table: pa.Table, name: str, kind: pa.DataType, expected: str) -> pa.ChunkedArray:
    """Return a column as another type.

    Raises:
        TableError: it cannot be converted; the message says what was expected.
    """
    try:
        return table[name].cast(kind)
    except pa.ArrowException as error:
        raise TableError(
            f"expected {expected} in the column {name}, found {table[name].type}; fix or drop the "
            "column"
        ) from error


def text_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as strings, string [rows]; numbers and dates are formatted.

    Raises:
        TableError: the column has a type that cannot be converted, such as a list or a struct.
    """
    return cast_column(table, name, pa.string(), "text")


def set_column(table: pa.Table, name: str, column: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Return the table with this column, in the place of one of the same name."""
    if name not in table.column_names:
        return table.append_column(name, column)
    index = table.column_names.index(name)
    field = table.schema.field(index)
    return table.set_column(index, field if field.type == column.type else name, column)


def integer_column(table: pa.Table, name: str) -> Codes:
    """Return a column of non-negative integers, int64 [rows]; -1 for null or no such column."""
    if name not in table.column_names:
        return np.full(table.num_rows, -1, np.int64)
    values: Codes = table[name].cast(pa.int64()).fill_null(-1).to_numpy()
    return values


def label_codes(table: pa.Table) -> Codes:
    """Return the index in LABELS of each row's label, int64 [rows].

    Raises:
        TableError: the table has no rows, or a label other than REAL and FAKE.
    """
    if not table.num_rows:
        raise TableError("expected a table with rows, found none; make it from other input")
    codes = pc.index_in(table["label"], pa.array(LABELS))
    if codes.null_count:
        invalid = table["label"].filter(pc.is_null(codes))[0].as_py()
        raise TableError(f"expected the labels REAL and FAKE, found {invalid!r}; fix the table")
    known: Codes = codes.to_numpy().astype(np.int64)
    return known


def clip_codes(table: pa.Table, video: Codes | None = None) -> Codes:
    """Number the clips of a table, each a part and a video, int64 [rows].

    Args:
        video: int64 [rows], a code for each distinct video, if they are numbered already. Without
            it, the clips are numbered without gaps.
    """
    clip = factorize(table["video"])[0][0] if video is None else video
    if "part" not in table.column_names:
        return clip
    (part,), _ = factorize(text_column(table, "part"))
    part_of_video = np.empty(int(clip.max(initial=-1)) + 1, np.int64)
    part_of_video[clip] = part
    # Fast path: no name is used in two parts.
    return clip if (part_of_video[clip] == part).all() else pair_codes(part + 1, clip)


def clips_known(table: pa.Table) -> bool:
    """Whether it is known of every row which clip it belongs to."""
    if SOURCE not in table.column_names:
        return True
    return not pc.any(pc.equal(table[SOURCE], UNKNOWN)).as_py()


def clip_lines(table: pa.Table) -> list[str]:
    """Say how the clips were read and how many there are; nothing where the table names them."""
    row = pc.index(pc.is_valid(table[SOURCE]), True).as_py() if SOURCE in table.column_names else -1
    if row < 0:
        return []
    if not clips_known(table):
        row = pc.index(table[SOURCE], UNKNOWN).as_py()
        return [
            f"clips: not known; names such as {_path(table, row)} do not say which images are of "
            "one clip; import or read them with --clips-from"
        ]
    count = int(clip_codes(table).max(initial=-1)) + 1
    how, clip = _HOW.get(table[SOURCE][row].as_py(), "before"), table["video"][row].as_py()
    return [f"{counted(count, 'clip')}, read {how}: {_path(table, row)} is of {clip}"]


def _path(table: pa.Table, row: int) -> str:
    """The path of a row, or its name if the table has none."""
    known = (table[name][row].as_py() for name in ("path", "video") if name in table.column_names)
    return next(str(value) for value in known if value is not None)


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
