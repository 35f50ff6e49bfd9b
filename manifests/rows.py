"""Row types of the tables: the columns of `manifests.schema` as typed dictionaries.

A test checks that the keys equal the schemas' column names, in order. This module imports
nothing but `typing`, so that worker processes can use it without loading pyarrow.
"""

from typing import TypedDict

#: Default side of a crop and required side of a crop in a shard, pixels; the model's input size.
CROP_SIZE = 224


class CropRow(TypedDict):
    """One row of a manifest: one crop. `manifests.schema.MANIFEST_SCHEMA` describes each column."""

    video: str
    part: str
    label: str
    original: str | None
    family: str
    frame: int | None
    time_s: float | None
    face: int | None
    x: int | None
    y: int | None
    w: int | None
    h: int | None
    crop_x: int | None
    crop_y: int | None
    crop_size: int | None
    score: float | None
    box_source: str | None
    detector: str | None
    width: int | None
    height: int | None
    path: str
    sha256: str


class ClipRow(TypedDict):
    """One row of the clip log: one clip. `manifests.schema.CLIP_LOG_SCHEMA` has the meanings."""

    video: str
    part: str
    label: str | None
    original: str | None
    family: str
    status: str
    error: str | None
    frames_wanted: int
    frames_decoded: int
    faces: int
    seconds: float
