"""Columns as integer codes, so that numpy can process tables of ten million rows; rows by clip.

A clip is a part and a video: FaceForensics++ has one `183_253.mp4` for every method. The column
`clip_source`, one of those below, is absent or null where the table itself names the clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.arrow import CLIP_SOURCE_FIELD
from manifests.errors import TableError
from manifests.labels import LABELS
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
    rank = np.append(_name_ranks(names), -1)  # rank[-1] maps the code -1 to itself
    order = np.empty(len(names), np.int64)
    order[rank[:-1]] = np.arange(len(names))
    return [rank[codes] for codes in column_codes], names.take(order)


def pair_codes(first: Codes, second: Codes) -> Codes:
    """Return one code for each distinct pair of codes, in the order of (first, second)."""
    joint = first * (second.max(initial=0) + 1) + second
    return np.unique(joint, return_inverse=True)[1].astype(np.int64)


def _name_ranks(names: pa.Array) -> Codes:
    """Return the position of each distinct name in sorted order, int64 [names]."""
    # Eight bytes at a time as one integer take a third of the time of comparing strings.
    rank: Codes | None = None
    for word in _byte_words(names):
        word_rank = np.unique(word, return_inverse=True)[1].astype(np.int64)
        rank = word_rank if rank is None else pair_codes(rank, word_rank)
        if rank.max(initial=0) + 1 == len(names):  # all names are already distinct
            break
    assert rank is not None, "the last word is the length"
    return rank


def _byte_words(names: pa.Array) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the names' bytes, eight at a time, big-endian and zero-padded; then their lengths."""
    # Arrow stores strings as one byte buffer and int32 offsets into it.
    _, offsets, data = names.buffers()
    ends = np.frombuffer(offsets, np.int32)[names.offset : names.offset + len(names) + 1]
    sizes = np.diff(ends)
    content = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    longest = int(sizes.max(initial=0))

    # Names of equal length, as in DFDC, form a matrix; slicing it is several times faster.
    equal_length = longest == sizes.min(initial=longest)
    matrix = content.reshape(len(sizes), longest) if equal_length else None
    for start in range(0, longest, 8):
        word = np.zeros((len(names), 8), np.uint8)
        if matrix is not None:
            word[:, : longest - start] = matrix[:, start : start + 8]
        else:
            position = np.arange(start, start + 8)
            inside = position < sizes[:, None]
            word[inside] = content[(ends[:-1, None] - ends[0] + position)[inside]]
        yield word.view(">u8").ravel().astype(np.uint64)
    yield sizes.astype(np.uint64)


def cast_column(table: pa.Table, name: str, kind: pa.DataType, expected: str) -> pa.ChunkedArray:
    """Return a column as another type; TableError says what was expected if it cannot be cast."""
    try:
        return table[name].cast(kind)
    except pa.ArrowException as error:
        raise TableError(
            f"expected {expected} in the column {name}, found {table[name].type}; correct or "
            "drop the column"
        ) from error


def text_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as strings; TableError if it has a type such as a list or a struct."""
    return cast_column(table, name, pa.string(), "text")


def set_column(table: pa.Table, name: str, column: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Return the table with this column, in the place of one of the same name."""
    if name not in table.column_names:
        return table.append_column(name, column)
    index = table.column_names.index(name)
    field = table.schema.field(index)
    return table.set_column(index, field if field.type == column.type else name, column)


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
        raise TableError(f"expected the labels REAL and FAKE, found {invalid!r}; correct the table")
    known: Codes = codes.to_numpy().astype(np.int64)
    return known


def clip_codes(table: pa.Table, video: Codes | None = None) -> Codes:
    """Number the clips of a table, each a part and a video, int64 [rows].

    Without gaps, unless the distinct videos are numbered already, by `video`, int64 [rows].
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
    if known := clips_known(table):
        count = int(clip_codes(table).max(initial=-1)) + 1
        how, clip = _HOW.get(table[SOURCE][row].as_py(), "before"), table["video"][row].as_py()
    else:
        row = pc.index(table[SOURCE], UNKNOWN).as_py()
    path = table["path"][row].as_py() if "path" in table.column_names else None
    path = table["video"][row].as_py() if path is None else path
    if known:
        return [f"{counted(count, 'clip')}, read {how}: {path} is of {clip}"]
    return [
        f"clips: not known; names such as {path} do not say which images are of one clip; import "
        "or read them with --clips-from"
    ]


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


@dataclass(frozen=True)
class ClipRows:
    """Rows of a table, sorted by (part, video, frame, face, path); int64 [rows] each."""

    index: Codes  # of the row in the table
    clip: Codes  # numbered in the order of the rows
    label: Codes  # index in LABELS
    family: Codes
    frame: Codes  # -1 if unknown, as `face`
    face: Codes

    def select(self, rows: Mask | Codes) -> "ClipRows":
        """Return a subset of the rows, given as a mask or as positions."""
        return ClipRows(*(getattr(self, field.name)[rows] for field in fields(self)))


def sort_by_clip(
    table: pa.Table, label: Codes, families: pa.ChunkedArray | None = None
) -> ClipRows:
    """Sort the rows of a table by clip, frame and face.

    A name used by clips of both labels, the indices in LABELS, counts as two clips. Rows with the
    same name and no frame are several crops of one clip. The columns part, frame, face and path are
    used if present, the families, string [rows], if they are needed.
    """
    (clip,), videos = factorize_sorted(table["video"])
    if "part" in table.column_names:
        (part,), _ = factorize_sorted(table["part"])
        clip = part * len(videos) + clip
    clip = clip * len(LABELS) + label
    family = np.zeros(len(clip), np.int64) if families is None else factorize(families)[0][0]
    frame, face = (
        table[name].cast(pa.int64()).fill_null(-1).to_numpy()
        if name in table.column_names
        else np.full(table.num_rows, -1)
        for name in ("frame", "face")
    )
    rows = ClipRows(np.arange(len(clip)), clip, label, family, frame, face)
    rows = rows.select(_sort_order(table, rows))
    # Number the families in the order of their first rows.
    first_row = np.full(int(rows.family.max(initial=-1)) + 1, len(clip))
    first_row[rows.family[::-1]] = np.arange(len(clip))[::-1]  # of several rows the first is kept
    number = np.empty(len(first_row), np.int64)
    number[np.argsort(first_row)] = np.arange(len(first_row))
    clip = np.cumsum(np.diff(rows.clip, prepend=rows.clip[:1]) != 0)
    return replace(rows, clip=clip, family=number[rows.family])


def _sort_order(table: pa.Table, rows: ClipRows) -> Codes:
    """Return the positions of the rows in sorted order, int64 [rows]."""
    # A further key is added only while rows are tied, because most tables need only the clip.
    order, keys = np.argsort(rows.clip), [rows.clip]
    for further in (rows.frame, rows.face, None):
        tied = np.ones(max(len(order) - 1, 0), bool)
        for key in keys:
            tied &= key[order[1:]] == key[order[:-1]]
        if not tied.any():
            break
        # The path is factorized only if frame and face leave ties; lexsort's last key is primary.
        if further is None:
            if "path" not in table.column_names:
                break
            (further,), _ = factorize_sorted(table["path"])
        keys.insert(0, further)
        order = np.lexsort(keys)
    return order


def position_in_run(codes: Codes) -> Codes:
    """Return the place of each row among those of its code, int64 [rows], of sorted codes."""
    return np.arange(len(codes)) - np.searchsorted(codes, codes)


def sample_frames(clip: Codes, frame: Codes, max_frames: int) -> Mask:
    """Select at most `max_frames` evenly spaced frames of each clip, with all their faces.

    The rows are sorted by (clip, frame); one without a frame counts as a frame of its own.
    """
    # Mark the first row of each frame; `clip_of_frame` has one entry per frame.
    is_first = np.ones(len(clip), bool)
    is_first[1:] = (clip[1:] != clip[:-1]) | (frame[1:] != frame[:-1]) | (frame[1:] < 0)
    clip_of_frame = clip[is_first]
    position = position_in_run(clip_of_frame)
    available = np.bincount(clip_of_frame)[clip_of_frame]
    wanted = np.minimum(max_frames, available)

    # Select a frame where round(position * wanted / available) increases.
    before, after = (
        (2 * at * wanted + available) // (2 * available) for at in (position, position + 1)
    )
    selected: Mask = (after > before)[np.cumsum(is_first) - 1]
    return selected
