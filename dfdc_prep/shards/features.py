"""What a record says of its crop, beside the image: a row of the manifest as features."""

from typing import Any

from manifests.labels import LABELS

#: Columns that are bytes features, and those that are int64 features, -1 where unknown.
TEXTS = ("video", "part", "family", "path")
NUMBERS = ("frame", "face")
#: What is needed of a row to make its record or to check it.
COLUMNS = [*TEXTS, *NUMBERS, "label", "sha256"]


def content(row: dict[str, Any]) -> dict[str, bytes | int]:
    """The features of a row by name: UTF-8 bytes, or whole numbers; label is 0 REAL, 1 FAKE."""
    texts = {name: row[name].encode() for name in TEXTS}
    numbers = {name: -1 if row[name] is None else row[name] for name in NUMBERS}
    return texts | numbers | {"label": LABELS.index(row["label"])}
