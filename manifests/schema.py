"""Schemas of every table this project writes, with the meaning of each column.

All code that reads or writes a table uses these schemas; `manifests.tables.parquet` checks
tables against them.
"""

import pyarrow as pa

from manifests.labels import STATUSES


def _field(name: str, kind: pa.DataType, meaning: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": meaning})


#: Landmarks, and where the crop lies. Left and right are those of the picture. Coordinates are
#: continuous: the center of the first pixel is at (0.5, 0.5).
_PLACE_FIELDS = [
    *(
        _field(f"{point}_{axis}", pa.float64(), f"{axis} of the {name}, source pixels", True)
        for point, name in {
            "left_eye": "eye on the left",
            "right_eye": "eye on the right",
            "nose": "tip of the nose",
            "left_mouth": "corner of the mouth on the left",
            "right_mouth": "corner of the mouth on the right",
        }.items()
        for axis in "xy"
    ),
    _field("align", pa.string(), "how the crop is aligned: none, eyes or five-point", True),
    _field("margin", pa.float64(), "margin on each side, share of the box or template", True),
    _field("affine_xx", pa.float64(), "crop x = affine_xx * x + affine_xy * y + affine_x0", True),
    _field("affine_xy", pa.float64(), "x, y in source pixels; crop x in crop pixels", True),
    _field("affine_x0", pa.float64(), "see affine_xx", True),
    _field("affine_yx", pa.float64(), "crop y = affine_yx * x + affine_yy * y + affine_y0", True),
    _field("affine_yy", pa.float64(), "see affine_yx", True),
    _field("affine_y0", pa.float64(), "see affine_yx", True),
]

#: A fake's crop beside its original's; null for REAL, and where the original is not on disk.
_FORGERY_FIELDS = [
    _field("forged", pa.bool_(), "whether this face was changed; null if unknown", True),
    _field("difference", pa.float64(), "mean 1 - SSIM to the original inside the face", True),
    _field("aligned", pa.float64(), "shift to the original when compared, source pixels", True),
    _field("mask", pa.string(), "the mask's file, relative to the manifest's folder", True),
    _field("mask_sha256", pa.string(), "SHA-256 of the mask's file, hexadecimal", True),
]

#: What the data set itself says of a clip, beside its label and its original.
_PROVENANCE_FIELDS = [
    _field("dataset", pa.string(), "the data set: dfdc, faceforensics++ ...", True),
    _field("method", pa.string(), "how a fake was made, Deepfakes; null if unknown", True),
    _field("identity", pa.string(), "person filmed, as the data set names them", True),
    _field("face_identity", pa.string(), "person whose face a fake shows", True),
    _field("official_split", pa.string(), "the data set's: train, validation or test", True),
]

#: In manifests of imported crops whose table named no clips, and tables made from these.
CLIP_SOURCE_FIELD = _field(
    "clip_source",
    pa.string(),
    "how the clip of a crop was read: folder, name, column, pattern; or unknown",
    True,
)

#: Beside the column family.
_FAMILY_SOURCE = _field(
    "family_source",
    pa.string(),
    "how a FAKE's family is known: known (the data set names the original), names (its name does) "
    "or unknown (a family of its own for want of knowledge); null for REAL",
    True,
)

#: Manifest: one row per crop, sorted by (part, video, frame, face). Values that an imported
#: crop set lacks (frame, box, score ...) are null; `extract` fills every column.
MANIFEST_SCHEMA = pa.schema(
    [
        _field("video", pa.string(), "file name of the clip, aagfhgtpmv.mp4"),
        _field("part", pa.string(), "folder the clip came in, dfdc_train_part_7"),
        _field("label", pa.string(), "REAL or FAKE"),
        _field("original", pa.string(), "file name of the clip a fake was made from", True),
        _field("family", pa.string(), "file name of the original all relatives go back to"),
        _FAMILY_SOURCE,
        _field("frame", pa.int32(), "index of the frame in presentation order", True),
        _field("time_s", pa.float64(), "presentation time of the frame, seconds", True),
        _field("face", pa.int32(), "index of the face in its frame, by x then y", True),
        _field("x", pa.int32(), "left edge of the detector's box, source pixels", True),
        _field("y", pa.int32(), "top edge of the detector's box, source pixels", True),
        _field("w", pa.int32(), "width of the detector's box, source pixels", True),
        _field("h", pa.int32(), "height of the detector's box, source pixels", True),
        _field("crop_x", pa.int32(), "left edge of the square cut out, may be negative", True),
        _field("crop_y", pa.int32(), "top edge of the square cut out, may be negative", True),
        _field("crop_size", pa.int32(), "side of the square cut out, source pixels", True),
        _field("score", pa.float32(), "the detector's confidence, on its own scale", True),
        _field("box_source", pa.string(), "own, original or sibling: source of the box", True),
        _field("detector", pa.string(), "name of the detector that found the box", True),
        _field("width", pa.int32(), "width of the source frame, pixels", True),
        _field("height", pa.int32(), "height of the source frame, pixels", True),
        _field("path", pa.string(), "the crop's file, relative to the manifest's folder"),
        _field("sha256", pa.string(), "SHA-256 of the crop's file, hexadecimal"),
        *_PLACE_FIELDS,
        *_FORGERY_FIELDS,
        *_PROVENANCE_FIELDS,
    ]
)

#: Names of those columns.
PROVENANCE_COLUMNS = tuple(field.name for field in _PROVENANCE_FIELDS)

#: Columns that the journals of earlier versions lack.
LATER_JOURNAL_COLUMNS = (_FAMILY_SOURCE.name, *PROVENANCE_COLUMNS)

_JOINED_FIELD = _field(
    "joined_family", pa.string(), "first of the families joined because crops are alike", True
)

#: Columns that tables of earlier versions lack; they are read as null.
LATER_COLUMNS = tuple(
    field.name
    for field in (
        _FAMILY_SOURCE,
        *_PLACE_FIELDS,
        *_FORGERY_FIELDS,
        *_PROVENANCE_FIELDS,
        _JOINED_FIELD,
    )
)

#: Clip log: one row for every clip of the catalog, sorted by (part, video).
CLIP_LOG_SCHEMA = pa.schema(
    [
        _field("video", pa.string(), "file name of the clip"),
        _field("part", pa.string(), "folder the clip came in"),
        _field("label", pa.string(), "REAL or FAKE; null where metadata.json does not say", True),
        _field("original", pa.string(), "file name of the clip a fake was made from", True),
        _field("family", pa.string(), "file name of the original all relatives go back to"),
        _FAMILY_SOURCE,
        _field("status", pa.string(), "one of " + ", ".join(STATUSES)),
        _field("error", pa.string(), "what went wrong, one sentence", True),
        _field("frames_wanted", pa.int32(), "frames asked for"),
        _field("frames_decoded", pa.int32(), "frames that decoded"),
        _field("faces", pa.int32(), "crops written"),
        _field("seconds", pa.float64(), "time spent on the clip"),
        *_PROVENANCE_FIELDS,
    ]
)

#: Manifest with the split of each crop.
SPLIT_SCHEMA = MANIFEST_SCHEMA.append(
    _field("split", pa.string(), "train, validation or test")
).append(_JOINED_FIELD)

#: Manifest of a shards folder, in the order of the records.
SHARD_MANIFEST_SCHEMA = SPLIT_SCHEMA.append(
    _field("shard", pa.string(), "file name of the shard that holds the crop", True)
)

#: Numbers in the encoding of a face.
ENCODING_SIZE = 128

#: Estimated identities: one row per clip that has a crop, sorted by (part, video).
IDENTITY_SCHEMA = pa.schema(
    [
        _field("video", pa.string(), "file name of the clip"),
        _field("part", pa.string(), "folder the clip came in"),
        _field("family", pa.string(), "file name of the original all relatives go back to"),
        _field("label", pa.string(), "REAL or FAKE"),
        _field("identity", pa.string(), "estimated person filmed: the first family of the group"),
        _field(
            "identity_distance",
            pa.float32(),
            "distance of the family's face to the mean of its group; null without a face",
            True,
        ),
        _field(
            "identity_source",
            pa.string(),
            "named, real, fake, uncertain or none: its source",
        ),
        _field("identity_faces", pa.int32(), "crops of the family that were encoded"),
        _field(
            "identity_doubts",
            pa.string(),
            "why it is uncertain: alone, dark, fake, near, profile, small, spread; comma-separated",
            True,
        ),
    ]
)

#: Face encodings, biometric data: one row per encoded crop, sorted by (part, video, rank).
ENCODING_SCHEMA = pa.schema(
    [
        _field("key", pa.string(), "hash of all that determines the encodings of the clip"),
        _field("part", pa.string(), "folder the clip came in"),
        _field("video", pa.string(), "file name of the clip"),
        _field("family", pa.string(), "file name of the original all relatives go back to"),
        _field("label", pa.string(), "REAL; FAKE if no REAL clip of the family has a crop"),
        _field("rank", pa.int32(), "0 for the clip's best face"),
        _field("path", pa.string(), "the crop's file, relative to the manifest's folder"),
        _field("size", pa.float32(), "longer side of the face box, source pixels", True),
        _field("asymmetry", pa.float32(), "0 for a frontal face, some 0.5 for a profile"),
        _field("light", pa.float32(), "mean luma of the face box, 0 to 255"),
        _field("encoding", pa.list_(pa.float32(), ENCODING_SIZE), "dlib's face descriptor"),
    ]
)

#: Columns of the estimated identity in a table of crops.
IDENTITY_COLUMNS = ("identity", "identity_source")

#: Sort order of a manifest.
SORT_KEY = ("part", "video", "frame", "face")
