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
from manifests.arrow import SHARD_MANIFEST_SCHEMA
from manifests.errors import StorageError
from manifests.files import file_sha256
from manifests.folders import ShardsFolder
from manifests.tables.parquet import read_manifest
from training.measures.metrics import measure
from training.measures.predictions import Predictions, group_means
from training.runs.folder import Run

#: Fakes whose method is not known beside some whose is.
UNKNOWN = "unknown"


class NamedSet(NamedTuple):
    """A data set inside a shards folder."""

    name: str  # unlike that of every other set in the table
    position: int  # of the folder among those evaluated
    dataset: str | None  # value of the column `dataset`; None where it has none

    def of(self, predictions: Predictions) -> Predictions:
        """The predictions for the images of this set."""
        datasets = predictions.rows["dataset"].to_pylist()
        return predictions.where(np.array([each == self.dataset for each in datasets], np.bool_))


def name_sets(folders: Sequence[tuple[Path, pa.Table]]) -> list[NamedSet]:
    """Name the data sets of some shards folders, each with its rows; one without a name first.

    A set is called what its column `dataset` says, else what its folder is called. Sets of the same
    name are told apart by their folders, and by numbers where these are called the same too.
    """
    sets = [
        (position, folder.resolve().name, dataset)
        for position, (folder, rows) in enumerate(folders)
        for dataset in sorted(set(rows["dataset"].to_pylist()), key=lambda name: name or "")
    ]
    repeated = Counter(dataset or folder for _, folder, dataset in sets)
    names = [
        f"{name} ({folder})" if repeated[name := dataset or folder] > 1 else name
        for _, folder, dataset in sets
    ]
    return [
        NamedSet(name, position, dataset)
        for name, (position, _, dataset) in zip(numbered(names), sets, strict=True)
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


def training_crops(run: Run) -> pa.Table | None:
    """The rows of the crops that a run was trained and chosen on, wherever its shards are.

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
    return table.filter(pc.is_in(table["split"], pa.array(["train", "validation"])))


def known_images(trained: pa.Table, rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Whether each row is of a family, or has the very file, of the rows that were trained on.

    Families of different data sets differ, whatever they are called. Where a data set is not
    recorded, the name of the family decides.
    """
    files = set(trained["sha256"].to_pylist())
    families = set(zip(trained["dataset"].to_pylist(), trained["family"].to_pylist(), strict=True))
    names = {family for _, family in families}
    columns = (rows[name].to_pylist() for name in ("dataset", "family", "sha256"))
    return np.array(
        [
            sha256 in files
            or (dataset, family) in families
            or (None, family) in families
            or (dataset is None and family in names)
            for dataset, family, sha256 in zip(*columns, strict=True)
        ],
        np.bool_,
    )


def set_rows(
    shared: Mapping[str, Any],
    predictions: Predictions,
    point: OperatingPoint,
    known: npt.NDArray[np.bool_] | None,
) -> Iterator[CrossRow]:
    """The rows of one model on one set (`shared`): every method, per image and per clip.

    `known` says which images may be known from training, [N]; None if that is not known.
    """
    for method, mask in _methods(predictions).items():
        group = predictions.where(mask)
        seen: dict[str, int | None] = {"image": None, "clip": None}
        if known is not None:
            clips = group_means(known[mask], group.clips) > 0
            seen = {"image": int(known[mask].sum()), "clip": int(clips.sum())}
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


def _methods(predictions: Predictions) -> dict[str, npt.NDArray[np.bool_]]:
    """The images of every method with those of REAL; of a set without methods, ALL alone."""
    real = predictions.labels == 0
    methods = np.array([m or "" for m in predictions.rows["method"].to_pylist()], np.str_)
    fakes = sorted(set(methods[~real].tolist()))
    groups = {ALL: np.ones(len(real), np.bool_)}
    if fakes and fakes != [""]:
        groups |= {name or UNKNOWN: real | (methods == name) for name in fakes}
    return groups
