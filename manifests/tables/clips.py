"""Clips: a clip is a part and a video.

FaceForensics++ has one `183_253.mp4` for every method: a name alone is no clip. The column
`clip_source` says how the clips of a table from elsewhere were read, one of `SOURCES`; it is
absent or null where the table or the data set names the clips itself.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.schema import CLIP_SOURCE_FIELD
from manifests.tables.factorize import Codes, factorize, pair_codes, text_column

SOURCE = CLIP_SOURCE_FIELD.name
#: Read by the folders of the images, by their names, by a column or a pattern given; or not known:
#: then every image is treated as a clip of its own, and nothing may be said of clips or families.
FOLDER, NAME, COLUMN, PATTERN, UNKNOWN = SOURCES = (
    "folder",
    "name",
    "column",
    "pattern",
    "unknown",
)
_HOW = {
    FOLDER: "by the folders of the images",
    NAME: "by the names of the images",
    COLUMN: "from the column given",
    PATTERN: "by the pattern given",
}


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
    if SOURCE not in table.column_names:
        return []
    row = pc.index(pc.is_valid(table[SOURCE]), True).as_py()
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
    noun = "clip" if count == 1 else "clips"
    return [f"{count:,} {noun}, read {how}: {_path(table, row)} is of {clip}"]


def _path(table: pa.Table, row: int) -> str:
    """The path of a row, or its name if the table has none."""
    known = (table[name][row].as_py() for name in ("path", "video") if name in table.column_names)
    return next(str(value) for value in known if value is not None)
