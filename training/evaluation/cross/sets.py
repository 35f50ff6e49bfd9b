"""Which data sets some shards hold, and what to call them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.evaluation.predictions import Predictions


@dataclass(frozen=True)
class NamedSet:
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


def datasets_of(predictions: Predictions) -> list[str | None]:
    """The values of the column `dataset`, sorted, None first."""
    return sorted(set(predictions.rows["dataset"].to_pylist()), key=lambda name: name or "")
