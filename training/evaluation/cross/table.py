"""The rows of cross.csv."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from dfdc_prep.run_files import OperatingPoint
from manifests.errors import TrainingError
from manifests.files import atomic_file
from training.evaluation.cross.measures import measure
from training.evaluation.metrics import group_means
from training.evaluation.predictions import Predictions

#: Rows of every fake, and of fakes whose method is not known beside some whose is.
ALL, UNKNOWN = "all", "unknown"


@dataclass(frozen=True)
class CrossRow:
    """A row of cross.csv: one measure of one model on one group.

    Attributes:
        set: name of the data set.
        method: the method whose fakes are measured against every REAL of the set, or ALL.
        level: "image" or "clip".
        value, low, high: the measure and its 95 % interval; None where undefined.
        real, fake: number of images or clips of each label.
        trained_on: how many of them may be known from training; None if that is not known.
        temperature, threshold: of the model's own validation split.
    """

    model: str
    set: str
    split: str
    method: str
    level: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    real: int
    fake: int
    families: int
    trained_on: int | None
    temperature: float
    threshold: float | None


@dataclass(frozen=True)
class Labelled:
    """Names that the rows of one model on one set share."""

    model: str
    set: str
    split: str


def set_rows(
    names: Labelled,
    predictions: Predictions,
    point: OperatingPoint,
    known: npt.NDArray[np.bool_] | None,
) -> Iterator[CrossRow]:
    """The rows of one model on one set: every method, per image and per clip.

    Args:
        known: which images may be known from training, [N]; None if that is not known.
    """
    for method, mask in _methods(predictions).items():
        group = predictions.where(mask)
        among = None if known is None else known[mask]
        yield from _group_rows(names, method, group, point, among)


def _methods(predictions: Predictions) -> dict[str, npt.NDArray[np.bool_]]:
    """The images of every method with those of REAL; of a set without methods, ALL alone."""
    real = predictions.labels == 0
    methods = np.array([m or "" for m in predictions.rows["method"].to_pylist()], np.str_)
    fakes = sorted(set(methods[~real].tolist()))
    groups = {ALL: np.ones(len(real), np.bool_)}
    if fakes and fakes != [""]:
        groups |= {name or UNKNOWN: real | (~real & (methods == name)) for name in fakes}
    return groups


def _group_rows(
    names: Labelled,
    method: str,
    group: Predictions,
    point: OperatingPoint,
    known: npt.NDArray[np.bool_] | None,
) -> Iterator[CrossRow]:
    clips, families = np.asarray(group.clips), np.asarray(group.families)
    _, first = np.unique(clips, return_index=True)
    of_clips = None if known is None else group_means(known.astype(np.float64), clips)[1] > 0
    levels = {
        "image": (group.labels, group.logits, families, known),
        "clip": (
            group.labels[first],
            group_means(group.logits, clips)[1],
            families[first],
            of_clips,
        ),
    }
    for level, (labels, logits, of, seen) in levels.items():
        for name, found in measure(labels, logits, of, point).items():
            yield CrossRow(
                **vars(names),
                method=method,
                level=level,
                measure=name,
                value=found.value,
                low=found.interval.low,
                high=found.interval.high,
                real=int((labels == 0).sum()),
                fake=int((labels == 1).sum()),
                families=len(np.unique(of)),
                trained_on=None if seen is None else int(seen.sum()),
                temperature=point.temperature,
                threshold=point.threshold,
            )


def write_rows(rows: Sequence[CrossRow], path: Path) -> None:
    """Write cross.csv atomically; what is undefined is empty."""
    with atomic_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(CrossRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read_rows(path: Path) -> list[CrossRow]:
    """Read cross.csv; empty if the file does not exist.

    Raises:
        TrainingError: it is invalid.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return _ROWS.validate_python(
                [{n: v or None for n, v in row.items()} for row in csv.DictReader(file)]
            )
    except FileNotFoundError:
        return []
    except (ValueError, csv.Error) as error:
        raise TrainingError(
            f"expected {path} as dfdc-prep evaluate writes it, found other contents; delete it"
        ) from error


_ROWS = TypeAdapter(list[CrossRow])
