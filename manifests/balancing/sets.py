"""Balances data sets: as many crops of each label from each set, and of each method of a set.

Every data set gives the same number of REAL and of FAKE crops, in whole clips: as many as the
set with the fewest has. Within the FAKE crops of a set, the method with the fewest crops so far
gives the next clip, so that the methods are equal as far as there are clips.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from manifests.balancing.balance import choose_clips, first_rows, largest_common_sum
from manifests.errors import TableError
from manifests.labels import FAKE, LABELS
from manifests.tables.codes import (
    DATASET,
    METHOD,
    ClipRows,
    Codes,
    Mask,
    factorize_sorted,
    label_codes,
    sort_by_clip,
    text_column,
)
from manifests.wording import counted


@dataclass(frozen=True)
class SetBalance:
    """The chosen rows of several data sets."""

    table: pa.Table  # with all columns, in the order of a manifest
    per_class: int  # rows of each label from each data set
    smallest: tuple[str, str]  # the data set and the label with the fewest crops: the limit
    methods: dict[str, dict[str, int]]  # FAKE crops of each set by method, "" where unknown

    def text(self) -> str:
        """Describe the rows and methods of each data set, and what limits them."""
        dataset, label = self.smallest
        lines = [
            f"{self.per_class:,} REAL and {counted(self.per_class, 'FAKE crop')} of each of "
            f"{counted(len(self.methods), 'data set')}, as many as {dataset} has {label} crops in "
            "whole clips"
        ]
        for name, methods in self.methods.items():
            if set(methods) - {""}:
                counts = (f"{rows:,} {of or 'unknown'}" for of, rows in methods.items())
                lines.append(f"{name}, FAKE by method: {', '.join(counts)}")
        return "\n".join(lines)


class _Clips(NamedTuple):
    """The clips of a table, int64 [clips] each."""

    size: Codes  # rows
    label: Codes
    dataset: Codes
    method: Codes  # -1 if unknown


def balance_sets(table: pa.Table, seed: int) -> SetBalance:
    """Choose equal numbers of REAL and FAKE rows of every data set, whatever their order.

    Raises:
        TableError: a data set lacks crops of a label, or whole clips give no common number.
    """
    rows = sort_by_clip(table, label_codes(table))
    (dataset,), datasets = factorize_sorted(text_column(table, DATASET))
    clips, methods = _clips(table, rows, dataset)
    pairs = itertools.product(range(len(datasets)), range(len(LABELS)))
    groups = {pair: _in_order(clips, *pair, seed) for pair in pairs}
    available = {pair: int(clips.size[group].sum()) for pair, group in groups.items()}
    fewest = min(available, key=lambda key: available[key])
    smallest = (datasets[fewest[0]].as_py(), LABELS[fewest[1]])
    sizes = tuple(clips.size[group] for group in groups.values())
    per_class = largest_common_sum(sizes, available[fewest])
    if not per_class:
        raise TableError(
            f"expected the same number of crops of both labels in every data set, found "
            f"{available[fewest]:,} {smallest[1]} crops in {smallest[0]} and no number that whole "
            "clips of all sets give; balance with --frames-per-clip 1, or use --crops all"
        )
    chosen = np.zeros(len(clips.size), bool)
    for group in groups.values():
        chosen[group[choose_clips(clips.size[group], per_class)]] = True
    return SetBalance(
        table.take(pa.array(rows.index[chosen[rows.clip]])),
        per_class,
        smallest,
        _count_methods(clips, chosen, datasets.to_pylist(), methods),
    )


def _clips(table: pa.Table, rows: ClipRows, dataset: Codes) -> tuple[_Clips, list[str]]:
    """The clips of the sorted rows, and the names of the methods."""
    first, size = first_rows(rows.clip)
    row = rows.index[first]
    method, names = np.full(table.num_rows, -1), []
    if METHOD in table.column_names:
        (method,), found = factorize_sorted(text_column(table, METHOD))
        names = found.to_pylist()
    return _Clips(size, rows.label[first], dataset[row], method[row]), names


def _in_order(clips: _Clips, dataset: int, label: int, seed: int) -> Codes:
    """The clips of one label of a data set, at random; FAKE ones by the crops of their method."""
    of_label = np.flatnonzero((clips.dataset == dataset) & (clips.label == label))
    order = of_label[np.random.RandomState(seed).permutation(len(of_label))]
    if LABELS[label] != FAKE:
        return order
    before = np.zeros(len(order), np.int64)
    for method in np.unique(clips.method[order]):
        of_method = clips.method[order] == method
        size = clips.size[order[of_method]]
        before[of_method] = np.cumsum(size) - size
    return order[np.argsort(before, kind="stable")]


def _count_methods(
    clips: _Clips, chosen: Mask, datasets: list[str], methods: list[str]
) -> dict[str, dict[str, int]]:
    """Count the chosen FAKE rows of each method of each data set."""
    counts: dict[str, dict[str, int]] = {}
    for dataset, name in enumerate(datasets):
        of_set = chosen & (clips.label == LABELS.index(FAKE)) & (clips.dataset == dataset)
        counts[name] = {
            "" if method < 0 else methods[method]: int(
                clips.size[of_set & (clips.method == method)].sum()
            )
            for method in np.unique(clips.method[of_set]).tolist()
        }
    return counts
