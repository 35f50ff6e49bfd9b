"""The table of several models on several data sets: sets, overlap with training, rows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.run_files import ALL, CrossRow, OperatingPoint
from dfdc_prep.storage.urls import as_location
from dfdc_prep.storage.workspace import local_file
from manifests.errors import StorageError
from manifests.files import file_sha256
from manifests.folders import ShardsFolder
from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest
from training.evaluation.metrics import measure
from training.evaluation.predictions import Predictions, group_means
from training.runs.folder import Run

#: Fakes whose method is not known beside some whose is.
UNKNOWN = "unknown"
#: Splits that a model was trained or chosen on.
_USED = ("train", "validation")


class NamedSet(NamedTuple):
    """A data set inside a shards folder.

    Attributes:
        name: unlike that of every other set in the table.
        position: of the folder among those evaluated.
        dataset: value of the column `dataset`; None where it has none.
    """

    name: str
    position: int
    dataset: str | None

    def of(self, predictions: Predictions) -> Predictions:
        """The predictions for the images of this set."""
        found = predictions.rows["dataset"].to_pylist()
        return predictions.where(np.array([each == self.dataset for each in found], np.bool_))


def name_sets(datasets: Sequence[tuple[Path, Sequence[str | None]]]) -> list[NamedSet]:
    """Name the data sets of some shards folders.

    A set is called what its column `dataset` says, else what its folder is called. Sets of the same
    name are told apart by their folders, and by numbers where these are called the same too.

    Args:
        datasets: each folder with the values of its column, in the order wanted.
    """
    found = [
        (position, folder.resolve().name, value)
        for position, (folder, values) in enumerate(datasets)
        for value in values
    ]
    names = [value or folder for _, folder, value in found]
    repeated = Counter(names)
    names = [
        f"{name} ({folder})" if repeated[name] > 1 else name
        for name, (_, folder, _) in zip(names, found, strict=True)
    ]
    return [
        NamedSet(name, position, value)
        for name, (position, _, value) in zip(numbered(names), found, strict=True)
    ]


def numbered(names: Sequence[str]) -> list[str]:
    """Tell equal names apart: the second "a" becomes "a 2"."""
    taken, unique = set[str](), []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name} {number}"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def datasets_of(rows: pa.Table) -> list[str | None]:
    """The values of the column `dataset`, sorted, None first."""
    return sorted(set(rows["dataset"].to_pylist()), key=lambda name: name or "")


class TrainingCrops:
    """The crops that a model was trained and chosen on.

    Args:
        rows: their rows of the manifest.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._files = set(rows["sha256"].to_pylist())
        self._families = set(
            zip(rows["dataset"].to_pylist(), rows["family"].to_pylist(), strict=True)
        )
        self._names = {family for _, family in self._families}

    def known(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Whether each row is of a family, or has the very file, that was trained on.

        Families of different data sets differ, whatever they are called. Where a data set is not
        recorded, the name of the family decides.
        """
        columns = (rows[name].to_pylist() for name in ("dataset", "family", "sha256"))
        return np.array(
            [
                sha256 in self._files
                or (dataset, family) in self._families
                or (None, family) in self._families
                or (dataset is None and family in self._names)
                for dataset, family, sha256 in zip(*columns, strict=True)
            ],
            np.bool_,
        )


def training_crops(run: Run) -> TrainingCrops | None:
    """The crops that a run was trained on, wherever its shards are.

    None if the shards are gone, have changed, or cannot be reached from here.
    """
    config = run.config()
    try:
        shards = as_location(config.shards)
    except ValueError:  # the bucket's package is not installed here
        return None
    try:
        with local_file(shards / ShardsFolder.MANIFEST) as manifest:
            if not manifest.is_file() or file_sha256(manifest) != config.data.manifest:
                return None
            table = read_manifest(manifest, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    except StorageError:
        return None
    return TrainingCrops(table.filter(pc.is_in(table["split"], pa.array(_USED))))


def set_rows(
    shared: Mapping[str, Any],
    predictions: Predictions,
    point: OperatingPoint,
    known: npt.NDArray[np.bool_] | None,
) -> Iterator[CrossRow]:
    """The rows of one model on one set: every method, per image and per clip.

    Args:
        shared: model, set and split.
        known: which images may be known from training, [N]; None if that is not known.
    """
    for method, mask in _methods(predictions).items():
        group = predictions.where(mask)
        seen = {"image": None, "clip": None} if known is None else _seen(group, known[mask])
        for level, values in group.levels().items():
            reals = int((values.labels == 0).sum())
            for name, (value, interval) in measure(values, point).items():
                yield CrossRow(
                    **shared,
                    method=method,
                    level=level,
                    measure=name,
                    value=value,
                    low=interval.low,
                    high=interval.high,
                    real=reals,
                    fake=len(values.labels) - reals,
                    families=len(np.unique(values.families)),
                    trained_on=seen[level],
                    temperature=point.temperature,
                    threshold=point.threshold,
                )


def _seen(group: Predictions, known: npt.NDArray[np.bool_]) -> dict[str, int | None]:
    """The number of images, and of clips with such an image, that may be known from training."""
    clips = group_means(known, group.clips) > 0
    return {"image": int(known.sum()), "clip": int(clips.sum())}


def _methods(predictions: Predictions) -> dict[str, npt.NDArray[np.bool_]]:
    """The images of every method with those of REAL; of a set without methods, ALL alone."""
    real = predictions.labels == 0
    methods = np.array([m or "" for m in predictions.rows["method"].to_pylist()], np.str_)
    fakes = sorted(set(methods[~real].tolist()))
    groups = {ALL: np.ones(len(real), np.bool_)}
    if fakes and fakes != [""]:
        groups |= {name or UNKNOWN: real | (~real & (methods == name)) for name in fakes}
    return groups
