"""How many rows of one split share something with another split: a family, bytes, a likeness."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from manifests.tables.factorize import Codes, Mask


@dataclass(frozen=True)
class Leak:
    """What the rows of `second` share with the rows of `first`.

    Attributes:
        shared: how many distinct families (or files) stand in both.
        touched: for each label, how many rows of `second` share one with `first`.
        rows: for each label, how many rows `second` has.
    """

    first: str
    second: str
    shared: int
    touched: dict[str, int]
    rows: dict[str, int]

    @property
    def rate(self) -> float:
        """The share of the rows of `second` that leak, 0 to 1."""
        return share(sum(self.touched.values()), sum(self.rows.values()))

    def text(self, things: str) -> str:
        """One line: how much of `second` shares `things` with `first`."""
        rates = ", ".join(
            f"{100 * share(self.touched[label], rows):.1f} % of {label}"
            for label, rows in self.rows.items()
        )
        return (
            f"{self.second} and {self.first} share {self.shared:,} {things}: "
            f"{sum(self.touched.values()):,} of {sum(self.rows.values()):,} crops of "
            f"{self.second}, {100 * self.rate:.1f} % ({rates})"
        )


@dataclass(frozen=True)
class Splits:
    """Where every row stands: its split and its label as codes, int64 [rows], and their names."""

    split: Codes
    label: Codes
    split_names: tuple[str, ...]
    label_names: tuple[str, ...]

    def by_label(self, rows: Mask) -> dict[str, int]:
        """How many of the rows marked True have each label."""
        counts = np.bincount(self.label[rows], minlength=len(self.label_names))
        return dict(zip(self.label_names, counts.tolist(), strict=True))


def share(part: int, whole: int) -> float:
    """`part` of `whole`, 0 where there is nothing."""
    return part / whole if whole else 0.0


def presence(key: Codes, split: Codes, splits: int) -> Mask:
    """In which splits each key stands, bool [keys, splits]; a key below 0 stands nowhere."""
    seen = np.zeros((int(key.max(initial=-1)) + 1, splits), bool)
    known = key >= 0
    seen[key[known], split[known]] = True
    return seen


def by_key(key: Codes, where: Splits) -> list[Leak]:
    """The leaks between each pair of splits through a key: rows of equal key are the same thing.

    Args:
        key: int64 [rows], such as the code of the family; -1 where it is not known.
        where: the split and the label of the same rows.
    """
    seen = presence(key, where.split, len(where.split_names))
    return by_reach(key, seen, seen, where)


def by_reach(key: Codes, seen: Mask, reached: Mask, where: Splits) -> list[Leak]:
    """As `by_key`, where a key may also reach into splits in which it does not stand itself.

    Args:
        seen: bool [keys, splits], in which splits a key stands.
        reached: bool [keys, splits], in which splits it, or one like it, stands.
    """
    pairs = combinations(range(len(where.split_names)), 2)
    return [_leak(key, seen, reached, first, second, where) for first, second in pairs]


def _leak(key: Codes, seen: Mask, reached: Mask, first: int, second: int, where: Splits) -> Leak:
    inside = where.split == second
    touched = inside & (key >= 0)
    touched[touched] = reached[key[touched], first]
    return Leak(
        where.split_names[first],
        where.split_names[second],
        int((seen[:, second] & reached[:, first]).sum()),
        where.by_label(touched),
        where.by_label(inside),
    )
