"""The columns of every table: name, type and meaning, each declared once.

A column is of type str, int (int32), float (float64), bool, or one of the types declared below, and
null where its type allows None. A new column of a manifest is one line in `CropRow`: it is filled
from whatever has a value of that name (`make_row`) and null elsewhere. This module imports nothing
heavy, so that worker processes can use it without loading pyarrow.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NewType, TypedDict, TypeVar, cast

from manifests.labels import STATUSES

#: Default side of a crop and required side of a crop in a shard, pixels; the model's input size.
CROP_SIZE = 224
#: As many pixels as an 8K frame has; pictures and frames with more are refused.
MAX_PIXELS = 7680 * 4320
#: Numbers in the encoding of a face.
ENCODING_SIZE = 128
#: A float32 column.
Single = NewType("Single", float)
#: An int64 column.
Long = NewType("Long", int)
#: Columns of as many bytes.
Bytes3 = NewType("Bytes3", bytes)
Bytes4 = NewType("Bytes4", bytes)
Bytes8 = NewType("Bytes8", bytes)
Bytes16 = NewType("Bytes16", bytes)
Bytes32 = NewType("Bytes32", bytes)
#: A column of lists of float32, of any length.
Numbers = NewType("Numbers", list[float])

_FAMILY_SOURCE = (
    "how a FAKE's family is known: known (the data set names the original), names (its name does) "
    "or unknown (a family of its own for want of knowledge); null for REAL"
)


class _Crop(TypedDict):
    """A crop, its clip, its frame and the detector's box."""

    video: Annotated[str, "file name of the clip, aagfhgtpmv.mp4"]
    part: Annotated[str, "folder the clip came in, dfdc_train_part_7"]
    label: Annotated[str, "REAL or FAKE"]
    original: Annotated[str | None, "file name of the clip a fake was made from"]
    family: Annotated[str, "file name of the original all relatives go back to"]
    family_source: Annotated[str | None, _FAMILY_SOURCE]
    frame: Annotated[int | None, "index of the frame in presentation order"]
    time_s: Annotated[float | None, "presentation time of the frame, seconds"]
    face: Annotated[int | None, "index of the face in its frame, by x then y"]
    x: Annotated[int | None, "left edge of the detector's box, source pixels"]
    y: Annotated[int | None, "top edge of the detector's box, source pixels"]
    w: Annotated[int | None, "width of the detector's box, source pixels"]
    h: Annotated[int | None, "height of the detector's box, source pixels"]
    crop_x: Annotated[int | None, "left edge of the square cut out, may be negative"]
    crop_y: Annotated[int | None, "top edge of the square cut out, may be negative"]
    crop_size: Annotated[int | None, "side of the square cut out, source pixels"]
    score: Annotated[Single | None, "the detector's confidence, on its own scale"]
    box_source: Annotated[str | None, "own, original or sibling: source of the box"]
    detector: Annotated[str | None, "name of the detector that found the box"]
    width: Annotated[int | None, "width of the source frame, pixels"]
    height: Annotated[int | None, "height of the source frame, pixels"]
    path: Annotated[str, "the crop's file, relative to the manifest's folder"]
    sha256: Annotated[str, "SHA-256 of the crop's file, hexadecimal"]


class _Placement(TypedDict):
    """Landmarks, and where the crop lies. Left and right are those of the picture.

    Coordinates are continuous: the center of the first pixel is at (0.5, 0.5).
    """

    left_eye_x: Annotated[float | None, "x of the eye on the left, source pixels"]
    left_eye_y: Annotated[float | None, "y of the eye on the left, source pixels"]
    right_eye_x: Annotated[float | None, "x of the eye on the right, source pixels"]
    right_eye_y: Annotated[float | None, "y of the eye on the right, source pixels"]
    nose_x: Annotated[float | None, "x of the tip of the nose, source pixels"]
    nose_y: Annotated[float | None, "y of the tip of the nose, source pixels"]
    left_mouth_x: Annotated[float | None, "x of the corner of the mouth on the left, source pixels"]
    left_mouth_y: Annotated[float | None, "y of the corner of the mouth on the left, source pixels"]
    right_mouth_x: Annotated[
        float | None, "x of the corner of the mouth on the right, source pixels"
    ]
    right_mouth_y: Annotated[
        float | None, "y of the corner of the mouth on the right, source pixels"
    ]
    align: Annotated[str | None, "how the crop is aligned: none, eyes or five-point"]
    margin: Annotated[float | None, "margin on each side, share of the box or template"]
    affine_xx: Annotated[float | None, "crop x = affine_xx * x + affine_xy * y + affine_x0"]
    affine_xy: Annotated[float | None, "x, y in source pixels; crop x in crop pixels"]
    affine_x0: Annotated[float | None, "see affine_xx"]
    affine_yx: Annotated[float | None, "crop y = affine_yx * x + affine_yy * y + affine_y0"]
    affine_yy: Annotated[float | None, "see affine_yx"]
    affine_y0: Annotated[float | None, "see affine_yx"]


class _Forgery(TypedDict):
    """A fake's crop beside its original's; null for REAL, or if the original is not on disk."""

    forged: Annotated[bool | None, "whether this face was changed; null if unknown"]
    difference: Annotated[float | None, "mean 1 - SSIM to the original inside the face"]
    aligned: Annotated[float | None, "shift to the original when compared, source pixels"]
    mask: Annotated[str | None, "the mask's file, relative to the manifest's folder"]
    mask_sha256: Annotated[str | None, "SHA-256 of the mask's file, hexadecimal"]
    mask_source: Annotated[
        str | None, "given (by the data set's mask video) or computed (from the original)"
    ]


class _Provenance(TypedDict):
    """What the data set itself says of a clip, beside its label and its original."""

    dataset: Annotated[str | None, "the data set: dfdc, faceforensics++ ..."]
    method: Annotated[str | None, "how a fake was made, Deepfakes; null if unknown"]
    identity: Annotated[str | None, "person filmed, as the data set names them"]
    face_identity: Annotated[str | None, "person whose face a fake shows"]
    official_split: Annotated[str | None, "the data set's: train, validation or test"]


class CropRow(_Crop, _Placement, _Forgery, _Provenance):
    """Manifest: one row per crop, by (part, video, frame, face); null where a source lacks it.

    The label of a clip of which nothing says it is `labels.NO_LABEL`.
    """


class ImportedRow(CropRow):
    """Manifest of imported crops whose table named no clips, and tables made from it."""

    clip_source: Annotated[
        str | None, "how the clip of a crop was read: folder, name, column, pattern; or unknown"
    ]


class SplitRow(CropRow):
    """Manifest with the split of each crop."""

    split: Annotated[str, "train, validation or test"]
    joined_family: Annotated[str | None, "first of the families joined because crops are alike"]


class ShardRow(SplitRow):
    """Manifest of a shards folder, in the order of the records."""

    shard: Annotated[str | None, "file name of the shard that holds the crop"]


class _Clip(TypedDict):
    video: Annotated[str, "file name of the clip"]
    part: Annotated[str, "folder the clip came in"]
    label: Annotated[str | None, "REAL or FAKE; null where metadata.json does not say"]
    original: Annotated[str | None, "file name of the clip a fake was made from"]
    family: Annotated[str, "file name of the original all relatives go back to"]
    family_source: Annotated[str | None, _FAMILY_SOURCE]
    status: Annotated[str, "one of " + ", ".join(STATUSES)]
    error: Annotated[str | None, "what went wrong, one sentence"]
    frames_wanted: Annotated[int, "frames asked for"]
    frames_decoded: Annotated[int, "frames that decoded"]
    faces: Annotated[int, "crops written"]
    mask_error: Annotated[
        str | None, "why the clip's mask video did not give all masks, one sentence"
    ]
    seconds: Annotated[float, "time spent on the clip"]


class StreamRow(TypedDict):
    """How a clip was encoded; null for pictures, for imported crops and where nothing says it."""

    container: Annotated[str | None, "FFmpeg's name of the container: mov,mp4,m4a,3gp,3g2,mj2 ..."]
    codec: Annotated[str | None, "FFmpeg's name of the codec of the video: h264 ..."]
    profile: Annotated[str | None, "profile of the codec: High ..."]
    pixel_format: Annotated[str | None, "FFmpeg's name of the pixel format: yuv420p ..."]
    color_range: Annotated[str | None, "tv or pc; null if unspecified, as the next three"]
    color_space: Annotated[str | None, "matrix coefficients, FFmpeg's name: bt709 ..."]
    color_transfer: Annotated[str | None, "transfer characteristics, FFmpeg's name"]
    color_primaries: Annotated[str | None, "colour primaries, FFmpeg's name"]
    encoder: Annotated[
        str | None, "what the encoder (x264 with its settings), else the container, calls itself"
    ]
    audio: Annotated[str | None, "codec of the first audio stream; the word none without audio"]
    frame_rate: Annotated[float | None, "frames a second, mean, as the container says"]
    duration_s: Annotated[float | None, "seconds, as the container says"]
    bit_rate: Annotated[float | None, "bits a second of the video stream"]
    gop_length: Annotated[int | None, "most frames from a keyframe to the next, or to the end"]
    gop_pattern: Annotated[
        str | None, "I, P or B of the first 24 pictures as shown; H.264 only, as the next"
    ]
    b_frames: Annotated[float | None, "share of B-frames"]
    qp_mean: Annotated[float | None, "quantisation parameter, mean of the blocks of frames cut out"]
    qp_deviation: Annotated[float | None, "its standard deviation in a frame, mean of the frames"]


class ClipRow(_Clip, _Provenance, StreamRow):
    """Clip log: one row for every clip of the catalog, sorted by (part, video)."""

    copy: Annotated[
        str | None,
        "what the file is beside the author's: same, re-muxed, re-encoded, cut short, other clip "
        "or unreadable; of rebuild only",
    ]


class IdentityRow(TypedDict):
    """Estimated identities: one row per clip that has a crop, sorted by (part, video)."""

    video: Annotated[str, "file name of the clip"]
    part: Annotated[str, "folder the clip came in"]
    family: Annotated[str, "file name of the original all relatives go back to"]
    label: Annotated[str, "REAL or FAKE"]
    identity: Annotated[str, "estimated person filmed: the first family of the group"]
    identity_distance: Annotated[
        Single | None,
        "distance of the family's face to the mean of its group; null without a face",
    ]
    identity_source: Annotated[str, "named, real, fake, uncertain or none: its source"]
    identity_faces: Annotated[int, "crops of the family that were encoded"]
    identity_doubts: Annotated[
        str | None,
        "why it is uncertain: alone, dark, fake, near, profile, small, spread; comma-separated",
    ]


class EncodingRow(TypedDict):
    """Face encodings, biometric data: one row per encoded crop, sorted by (part, video, rank)."""

    key: Annotated[str, "hash of all that determines the encodings of the clip"]
    part: Annotated[str, "folder the clip came in"]
    video: Annotated[str, "file name of the clip"]
    family: Annotated[str, "file name of the original all relatives go back to"]
    label: Annotated[str, "REAL; FAKE if no REAL clip of the family has a crop"]
    rank: Annotated[int, "0 for the clip's best face"]
    path: Annotated[str, "the crop's file, relative to the manifest's folder"]
    size: Annotated[Single | None, "longer side of the face box, source pixels"]
    asymmetry: Annotated[Single, "0 for a frontal face, some 0.5 for a profile"]
    light: Annotated[Single, "mean luma of the face box, 0 to 255"]
    encoding: Annotated[list[float], "dlib's face descriptor"]


class _RecipeClip(TypedDict):
    part: Annotated[str, "folder the clip came in, dfdc_train_part_7"]
    video: Annotated[str, "file name of the clip, aagfhgtpmv.mp4"]
    file: Annotated[str | None, "path of the clip below the source; null if it is part/video"]
    folder: Annotated[
        str | None, "folder of the clip's crops; in the file, null if it is video without extension"
    ]
    label: Annotated[str, "REAL, FAKE, or UNKNOWN where nothing says it"]
    original: Annotated[str | None, "file name of the clip a fake was made from"]
    family: Annotated[str, "file name of the original all relatives go back to"]
    family_source: Annotated[str | None, _FAMILY_SOURCE]
    status: Annotated[str, "one of " + ", ".join(STATUSES)]
    clip_bytes: Annotated[Long | None, "bytes of the clip; null if it was not there, as the next"]
    clip_sha256: Annotated[Bytes32 | None, "SHA-256 of the clip; of frames, their names and bytes"]
    clip_frames: Annotated[int | None, "frames of the clip; null if it does not open, as the next"]
    first_frame: Annotated[Bytes8 | None, "begin of the SHA-256 of its first frame, decoded to RGB"]
    first_frame_sketch: Annotated[Bytes16 | None, "8 projections of that frame at 64x64, int16"]


class _RecipeCrop(TypedDict):
    """Null in the one row of a clip without crops."""

    frame: Annotated[int | None, "index of the frame in presentation order"]
    face: Annotated[int | None, "index of the face in its frame"]
    width: Annotated[int | None, "width of the frame, pixels; null if not known"]
    height: Annotated[int | None, "height of the frame, pixels; null if not known"]
    x: Annotated[int | None, "left edge of the face box, source pixels"]
    y: Annotated[int | None, "top edge of the face box, source pixels"]
    w: Annotated[int | None, "width of the face box, source pixels"]
    h: Annotated[int | None, "height of the face box, source pixels"]
    score: Annotated[Single | None, "the detector's confidence, on its own scale"]
    landmarks: Annotated[
        Numbers | None,
        "x and y of eyes, nose and corners of the mouth, left before right: 10 source pixels, "
        "hundredths once rounded; null where left out",
    ]
    box_source: Annotated[str | None, "own, original or sibling: source of the box"]
    sha256: Annotated[Bytes32 | None, "SHA-256 of the crop's file; null if not known, as the next"]
    pixels: Annotated[Bytes3 | None, "begin of the SHA-256 of its pixels, RGB"]
    sketch: Annotated[Bytes4 | None, "2 projections of its pixels, int16"]
    mask_sha256: Annotated[Bytes32 | None, "SHA-256 of the mask's file; null without"]


class _RecipeSplit(TypedDict):
    balanced: Annotated[bool | None, "whether balanced.parquet has the crop; null without one"]
    split: Annotated[str | None, "train, validation or test; null for a crop in none"]
    joined_family: Annotated[str | None, "first of the families joined because crops are alike"]
    shard: Annotated[str | None, "file name of the shard that holds the crop"]
    record: Annotated[int | None, "position of the crop in the manifest of the shards"]
    split_label: Annotated[str | None, "label in the split, if not the clip's: of --label-by face"]
    split_identity: Annotated[str | None, "identity in the split, if not the data set's"]
    split_face_identity: Annotated[str | None, "the same for the person whose face a fake shows"]
    identity_source: Annotated[str | None, "source of the identity in a split by identity"]


class RecipeRow(_RecipeClip, _RecipeCrop, _RecipeSplit, _Provenance):
    """Recipe of a data set: one row per crop, by (family, part, video, frame, face).

    A clip without crops has one row.
    """


#: Columns of a recipe that are the same in all rows of a clip.
RECIPE_CLIP_COLUMNS = (*_RecipeClip.__annotations__, *_Provenance.__annotations__)
#: Names of the columns that the data set itself gives.
PROVENANCE_COLUMNS = tuple(_Provenance.__annotations__)
#: Columns of the estimated identity in a table of crops.
IDENTITY_COLUMNS = ("identity", "identity_source")
#: Sort order of a manifest.
SORT_KEY = ("part", "video", "frame", "face")
#: Names of the column `path` in tables from elsewhere, in lower case, the likeliest first.
_PATHS = ("file path", "file_path", "filepath", "video_path", "filename", "file_name", "file")

Row = TypeVar("Row")


def with_path(names: Sequence[str]) -> list[str]:
    """The names of columns, with `path` for the first that is another name of it, if none is."""
    lower = [name.strip().lower() for name in names]
    other = next((name for name in _PATHS if name in lower), None)
    if other is None or "path" in lower:
        return list(names)
    return ["path" if name == other else given for name, given in zip(lower, names, strict=True)]


def make_row(kind: type[Row], given: Mapping[str, Any], *sources: object) -> Row:
    """Return a row of a type of this module: the values given, by the name of their column.

    Else a column has the attribute of its name of the first source that has one, or is null.
    """
    columns = kind.__annotations__
    assert given.keys() <= columns.keys(), f"no columns: {sorted(given.keys() - columns.keys())}"

    def value(name: str) -> Any:
        if name in given:
            return given[name]
        return next((getattr(source, name) for source in sources if hasattr(source, name)), None)

    return cast(Row, {name: value(name) for name in columns})
