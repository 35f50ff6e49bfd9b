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
    family_source: str | None
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
    left_eye_x: float | None
    left_eye_y: float | None
    right_eye_x: float | None
    right_eye_y: float | None
    nose_x: float | None
    nose_y: float | None
    left_mouth_x: float | None
    left_mouth_y: float | None
    right_mouth_x: float | None
    right_mouth_y: float | None
    align: str | None
    margin: float | None
    affine_xx: float | None
    affine_xy: float | None
    affine_x0: float | None
    affine_yx: float | None
    affine_yy: float | None
    affine_y0: float | None
    forged: bool | None
    difference: float | None
    aligned: float | None
    mask: str | None
    mask_sha256: str | None
    dataset: str | None
    method: str | None
    identity: str | None
    face_identity: str | None
    official_split: str | None


class ClipRow(TypedDict):
    """One row of the clip log: one clip. `manifests.schema.CLIP_LOG_SCHEMA` has the meanings."""

    video: str
    part: str
    label: str | None
    original: str | None
    family: str
    family_source: str | None
    status: str
    error: str | None
    frames_wanted: int
    frames_decoded: int
    faces: int
    seconds: float
    dataset: str | None
    method: str | None
    identity: str | None
    face_identity: str | None
    official_split: str | None
