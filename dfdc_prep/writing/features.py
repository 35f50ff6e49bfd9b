"""The features of a record other than its image, made from a row of the manifest."""

from typing import NotRequired, TypedDict

from manifests.labels import LABELS

#: Columns stored as bytes features, and those stored as int64 features, -1 if unknown.
TEXTS = ("video", "part", "family", "path")
NUMBERS = ("frame", "face")
#: Columns needed to write or check a record.
COLUMNS = [*TEXTS, *NUMBERS, "label", "sha256", "mask", "mask_sha256"]
#: Feature of the records that have a mask: a grey PNG of the crop's size. `features.json` does not
#: list it, so that readers who do not ask for it never see it.
MASK = "mask"


class RecordRow(TypedDict):
    """The `COLUMNS` of a manifest row; without `sha256` if the crop was encoded again."""

    video: str
    part: str
    family: str
    path: str
    frame: int | None
    face: int | None
    label: str
    sha256: NotRequired[str]
    mask: str | None
    mask_sha256: str | None


def features_of(row: RecordRow) -> dict[str, bytes | int]:
    """The features of a row by name: UTF-8 bytes or integers; `label` is 0 REAL, 1 FAKE."""
    return {
        "video": row["video"].encode(),
        "part": row["part"].encode(),
        "family": row["family"].encode(),
        "path": row["path"].encode(),
        "frame": -1 if row["frame"] is None else row["frame"],
        "face": -1 if row["face"] is None else row["face"],
        "label": LABELS.index(row["label"]),
    }
