"""Reads the files of a run folder that a report needs; every one of them may be missing.

The files are read by their documented content, without the package `training`, so that a report
loads no TensorFlow.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dfdc_prep.reports.run.predictions import Predictions
from manifests.errors import TableError
from manifests.files import parse_json
from manifests.folders import RunFolder
from manifests.labels import LABELS
from manifests.tables.parquet import read_table

#: Columns of predictions.parquet that a report reads.
PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("video", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("family", pa.string(), nullable=False),
        pa.field("target", pa.int64(), nullable=False),
        pa.field("logit", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("calibrated", pa.float64(), nullable=False),
    ]
)
#: The heading of the limits in the model card.
_LIMITS = re.compile(r"^## Limits\s*$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Mistake:
    """One of the worst mistakes: its row of mistakes.csv, and the image file beside it."""

    row: dict[str, str]
    image: Path


@dataclass(frozen=True)
class RunFiles:
    """The folder of a run, or of an evaluation inside one."""

    folder: Path

    def config(self) -> dict[str, Any] | None:
        """config.json; None if there is none.

        Raises:
            TableError: it is not a JSON object.
        """
        return self._json(RunFolder.CONFIG)

    def metrics(self) -> dict[str, Any] | None:
        """metrics.json; None if the run has not been tested.

        Raises:
            TableError: it is not a JSON object.
        """
        return self._json(RunFolder.METRICS)

    def history(self) -> dict[str, list[float]]:
        """The columns of history.csv, empty if there is none.

        Raises:
            TableError: it lacks a column or has a value that is no number.
        """
        rows = self._csv(RunFolder.HISTORY)
        with invalid_as_table_error(self.folder / RunFolder.HISTORY):
            return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}

    def predictions(self) -> Predictions | None:
        """predictions.parquet; None if there is none.

        Raises:
            TableError: it is invalid, or a value is not finite.
        """
        path = self.folder / RunFolder.PREDICTIONS
        if not path.is_file():
            return None
        table = read_table(path, PREDICTIONS_SCHEMA, "dfdc-prep evaluate")
        logit, score, calibrated = (
            table[name].to_numpy() for name in ("logit", "score", "calibrated")
        )
        label = table["target"].to_numpy()
        with invalid_as_table_error(path):
            if not all(np.isfinite(each).all() for each in (logit, score, calibrated)):
                raise ValueError("a score that is not finite")
            if not np.isin(label, range(len(LABELS))).all():
                raise ValueError("a target other than 0 and 1")
        parts, videos = table["part"].to_pylist(), table["video"].to_pylist()
        clip = [f"{part}/{video}" for part, video in zip(parts, videos, strict=True)]
        return Predictions(clip, table["family"].to_pylist(), label, logit, score, calibrated)

    def robustness(self) -> list[dict[str, str]]:
        """The rows of robustness.csv, empty if there is none."""
        return self._csv("robustness.csv")

    def cross(self) -> list[dict[str, str]]:
        """The rows of cross.csv; empty if the file does not exist."""
        return self._csv(RunFolder.CROSS)

    def mistakes(self) -> list[Mistake]:
        """The worst mistakes, empty if there are none."""
        folder = self.folder / RunFolder.MISTAKES
        rows = self._csv("mistakes/mistakes.csv")
        return [Mistake(row, folder / Path(row.get("image") or "").name) for row in rows]

    def limits(self) -> list[str]:
        """The limits that the model card, README.md, lists."""
        try:
            card = (self.folder / "README.md").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return []
        found = _LIMITS.search(card)
        items = re.split(r"^- ", found[1], flags=re.MULTILINE)[1:] if found else []
        return [" ".join(item.replace("`", "").split()) for item in items]

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        if not path.is_file():
            return None
        with invalid_as_table_error(path):
            value = parse_json(path.read_bytes())
            if not isinstance(value, dict):
                raise ValueError(f"a {type(value).__name__} instead of an object")
            return value

    def _csv(self, name: str) -> list[dict[str, str]]:
        path = self.folder / name
        if not path.is_file():
            return []
        with (
            invalid_as_table_error(path),
            open(path, newline="", encoding="utf-8") as file,
        ):
            return list(csv.DictReader(file, strict=True))


@contextmanager
def invalid_as_table_error(path: Path) -> Iterator[None]:
    """Turn errors of reading values from a file into a `TableError` that names it."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, csv.Error) as error:
        raise TableError(
            f"expected {path} as dfdc-prep fit writes it, found other contents "
            f"({type(error).__name__}: {error}); run dfdc-prep evaluate again"
        ) from error
