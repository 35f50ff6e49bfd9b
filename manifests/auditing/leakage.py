"""Leakage: how many rows of a split share a family, a file or an image with another split."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from manifests.tables.factorize import Codes, Mask


@dataclass(frozen=True)
class Leak:
    """What the rows of `second` share with the rows of `first`.

    Attributes:
        shared: number of distinct families (or files, or images) in both.
        touched: for each label, the rows of `second` that share one with `first`.
        rows: for each label, all rows of `second`.
    """

    first: str
    second: str
    shared: int
    touched: dict[str, int]
    rows: dict[str, int]

    @property
    def rate(self) -> float:
        """The fraction of the rows of `second` that leak, 0 to 1."""
        return fraction(sum(self.touched.values()), sum(self.rows.values()))

    def text(self, things: str) -> str:
        """Describe in one line how much of `second` shares `things` with `first`."""
        rates = ", ".join(
            f"{100 * fraction(self.touched[label], rows):.1f} % of {label}"
            for label, rows in self.rows.items()
        )
        return (
            f"{self.second} and {self.first} share {self.shared:,} {things}: "
            f"{sum(self.touched.values()):,} of {sum(self.rows.values()):,} crops of "
            f"{self.second}, {100 * self.rate:.1f} % ({rates})"
        )


@dataclass(frozen=True)
class RowSplits:
    """The split and the label of every row as codes, int64 [rows] each, and their names."""

    split: Codes
    label: Codes
    split_names: tuple[str, ...]
    label_names: tuple[str, ...]

    def count_by_label(self, rows: Mask) -> dict[str, int]:
        """Count the rows marked True for each label."""
        counts = np.bincount(self.label[rows], minlength=len(self.label_names))
        return dict(zip(self.label_names, counts.tolist(), strict=True))

    def presence(self, key: Codes) -> Mask:
        """Return which splits contain each key, bool [keys, splits].

        Args:
            key: int64 [rows], such as the family; rows with a negative key are ignored.
        """
        present = np.zeros((int(key.max(initial=-1)) + 1, len(self.split_names)), bool)
        known = key >= 0
        present[key[known], self.split[known]] = True
        return present


def count_splits(present: Mask) -> npt.NDArray[np.int16]:
    """Return in how many splits each key is, int16 [keys].

    Adding the columns takes an eighth of the time of `present.sum(axis=1)`.

    Args:
        present: bool [keys, splits], as `RowSplits.presence`.
    """
    counts = np.zeros(len(present), np.int16)
    for split in present.T:
        counts += split
    return counts


def fraction(part: int, whole: int) -> float:
    """Return part / whole, 0 if `whole` is 0."""
    return part / whole if whole else 0.0


def leaks_by_key(key: Codes, rows: RowSplits) -> list[Leak]:
    """Return the leak between each pair of splits through rows with an equal key.

    Args:
        key: int64 [rows], such as the family; -1 if unknown.
        rows: the split and the label of the same rows.
    """
    return leaks_by_any_key([key], rows)


def leaks_by_any_key(keys: Sequence[Codes], rows: RowSplits) -> list[Leak]:
    """Return the leak between each pair of splits through rows with a key in common.

    Args:
        keys: int64 [rows] each, such as the person filmed and the person whose face is shown,
            with equal codes for equal people; -1 if unknown.
        rows: the split and the label of the same rows.
    """
    size = max(int(key.max(initial=-1)) + 1 for key in keys)
    present = np.zeros((size, len(rows.split_names)), bool)
    for key in keys:
        each = rows.presence(key)
        present[: len(each)] |= each
    return _leaks(keys, present, present, rows)


def leaks_by_similarity(key: Codes, present: Mask, reached: Mask, rows: RowSplits) -> list[Leak]:
    """Return the leak between each pair of splits through rows with an equal or similar key.

    Args:
        key: int64 [rows], -1 if unknown.
        present: bool [keys, splits], which splits contain the key.
        reached: bool [keys, splits], which splits contain the key or a similar one.
        rows: the split and the label of the same rows.
    """
    return _leaks([key], present, reached, rows)


def _leaks(keys: Sequence[Codes], present: Mask, reached: Mask, rows: RowSplits) -> list[Leak]:
    totals = [rows.count_by_label(rows.split == at) for at in range(len(rows.split_names))]
    found = []
    for first, second in combinations(range(len(rows.split_names)), 2):
        shared = int((present[:, second] & reached[:, first]).sum())
        touched = _touched(keys, reached[:, first], rows.split == second) if shared else None
        found.append(
            Leak(
                rows.split_names[first],
                rows.split_names[second],
                shared,
                dict.fromkeys(rows.label_names, 0)
                if touched is None
                else rows.count_by_label(touched),
                totals[second],
            )
        )
    return found


def _touched(keys: Sequence[Codes], reached: Mask, inside: Mask) -> Mask:
    """Return which rows of a split have a key that another split reaches, bool [rows]."""
    touched = np.zeros(len(inside), bool)
    for key in keys:
        known = inside & (key >= 0)
        touched[known] |= reached[key[known]]
    return touched
