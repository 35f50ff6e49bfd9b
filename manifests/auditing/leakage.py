"""Leakage: what splits share, by families, files, images, people and nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import LABELS
from manifests.pictures.thumbnails import Pictures, scenes
from manifests.tables.codes import Codes, Mask, factorize, text_column
from manifests.wording import counted

#: What is compared where the data set names both people of a fake.
SWAPPED = "people, filmed or swapped in"
NO_IDENTITIES = (
    "estimated identities: not compared; run dfdc-prep identify on the faces folder, then audit "
    "again with --identities FACES"
)
#: Crops whose nearest neighbours are searched at a time.
_BLOCK = 512
#: Share of neighbours of the crop's own family from which their accuracy says little.
_RELATED = 0.05


@dataclass(frozen=True)
class Leak:
    """What the rows of the split `second` share with the rows of `first`."""

    first: str
    second: str
    shared: int  # families, files or images in both
    touched: dict[str, int]  # for each label, the rows of `second` that share one with `first`
    rows: dict[str, int]  # all rows of `second`

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
            f"{things} shared by {self.second} and {self.first}: {self.shared:,}, in "
            f"{sum(self.touched.values()):,} of {counted(sum(self.rows.values()), 'crop')} of "
            f"{self.second}, {100 * self.rate:.1f} % ({rates})"
        )


def leak_lines(leaks: Sequence[Leak] | None, things: str) -> list[str]:
    """Describe the pairs of splits that share anything."""
    return [leak.text(things) for leak in leaks or () if leak.shared]


@dataclass(frozen=True)
class RowSplits:
    """The split and the label (index in LABELS) of every row, int64 [rows]; names of the splits."""

    split: Codes
    label: Codes
    names: tuple[str, ...]

    def count_by_label(self, rows: Mask) -> dict[str, int]:
        """Count the rows marked True for each label."""
        counts = np.bincount(self.label[rows], minlength=len(LABELS))
        return dict(zip(LABELS, counts.tolist(), strict=True))

    def count_by_split(self, marked: pa.ChunkedArray) -> dict[str, int]:
        """Count the rows marked True, bool [rows], in each split."""
        counts = np.bincount(self.split[marked.to_numpy()], minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))

    def presence(self, key: Codes) -> Mask:
        """Return which splits contain each key, bool [keys, splits]; not rows of a negative key."""
        present = np.zeros((int(key.max(initial=-1)) + 1, len(self.names)), bool)
        known = key >= 0
        present[key[known], self.split[known]] = True
        return present


def count_splits(present: Mask) -> npt.NDArray[np.int16]:
    """Return in how many splits each key is, int16 [keys]."""
    counts = np.zeros(len(present), np.int16)
    for split in present.T:  # takes an eighth of the time of `present.sum(axis=1)`
        counts += split
    return counts


def fraction(part: int, whole: int) -> float:
    """Return part / whole, 0 if `whole` is 0."""
    return part / whole if whole else 0.0


def leaks_by_key(
    rows: RowSplits, *keys: Codes, present: Mask | None = None, reached: Mask | None = None
) -> list[Leak]:
    """Return the leak between each pair of splits through rows with a key in common.

    Args:
        keys: int64 [rows] each, such as the family; or the person filmed and the one whose face is
            shown, with equal codes for equal people; -1 if unknown.
        present, reached: bool [keys, splits], which splits contain the key, and the key or a
            similar one; None to derive the former, and for the key alone.
    """
    if present is None:
        size = max(int(key.max(initial=-1)) + 1 for key in keys)
        present = np.zeros((size, len(rows.names)), bool)
        for key in keys:
            there = rows.presence(key)
            present[: len(there)] |= there
    reached = present if reached is None else reached
    totals = [rows.count_by_label(rows.split == at) for at in range(len(rows.names))]
    leaks = []
    for first, second in combinations(range(len(rows.names)), 2):
        shared = int((present[:, second] & reached[:, first]).sum())
        # Rows of `second` with a key that `first` reaches.
        touched = np.zeros(len(rows.split), bool)
        for key in keys if shared else ():
            known = (rows.split == second) & (key >= 0)
            touched[known] |= reached[key[known], first]
        counts = rows.count_by_label(touched)
        leaks.append(Leak(rows.names[first], rows.names[second], shared, counts, totals[second]))
    return leaks


@dataclass(frozen=True)
class People:
    """People shared between splits, as `identify` estimates them or as the data set names them."""

    leaks: list[Leak]  # between each pair of splits, by the person filmed
    faces: list[Leak] | None  # by the person filmed or whose face a fake shows, if it is named
    estimated: bool
    uncertain: dict[str, int] | None  # rows of each split whose identity is uncertain, if known
    unknown: dict[str, int]  # rows of each split without identity

    @property
    def what(self) -> str:
        """What is compared, for tables."""
        return "estimated identities" if self.estimated else "identities"

    def lines(self, rows: dict[str, int]) -> list[str]:
        """Describe the leaks, and how far an estimate can be trusted."""
        first, *_, last = rows
        rate = next(leak.rate for leak in self.leaks if (leak.first, leak.second) == (first, last))
        share = f"{100 * rate:.1f} % of the {last} crops"
        unknown = f"{100 * self.unknown[last] / rows[last]:.1f} %"
        means = (
            f"identities as the data set names them; {share} show a person who is filmed in {first}"
        )
        if self.estimated:
            means = (
                f"estimated identities, the data set names none; {share} share an estimated actor "
                f"with {first}; how far the estimate is right on this set is not known; swapped-in "
                "faces are not checked"
            )
        doubts = []
        if self.uncertain is not None:
            doubts = [
                f"{100 * self.uncertain[last] / rows[last]:.1f} % of the {last} crops have an "
                f"uncertain identity, and {unknown} none"
            ]
        elif self.unknown[last]:
            doubts = [f"{unknown} of the {last} crops name no one"]
        swapped = leak_lines(self.faces, SWAPPED)
        return [*leak_lines(self.leaks, self.what), means, *swapped, *doubts]


def people_in_splits(table: pa.Table, rows: RowSplits) -> People | None:
    """Compare the people of a table; None if its column `identity` is absent or empty."""
    if not _has_values(table, "identity"):
        return None
    faces = None
    if _has_values(table, "face_identity"):
        columns = (text_column(table, name) for name in ("identity", "face_identity"))
        faces = leaks_by_key(rows, *factorize(*columns)[0])
    (identity,), _ = factorize(text_column(table, "identity"))
    leaks = leaks_by_key(rows, identity)
    missing = pc.is_null(table["identity"])
    if "identity_source" not in table.column_names:
        return People(leaks, faces, False, None, rows.count_by_split(missing))
    source = text_column(table, "identity_source")
    estimated = pc.any(pc.is_in(source, pa.array(["real", "fake", "uncertain"]))).as_py() or False
    unknown = pc.or_(missing, pc.equal(source, "none").fill_null(True))
    uncertain = pc.and_(pc.equal(source, "uncertain").fill_null(False), pc.invert(unknown))
    return People(leaks, faces, estimated, *map(rows.count_by_split, (uncertain, unknown)))


def _has_values(table: pa.Table, column: str) -> bool:
    return column in table.column_names and bool(pc.any(pc.is_valid(table[column])).as_py())


@dataclass(frozen=True)
class NeighbourAccuracy:
    """How far a test crop's nearest neighbour in training tells its label.

    The neighbour is found by scenes, 12x12 thumbnails, which tell rooms and people but no forgery.
    So where it is right more often than chance, the splits share rooms or people.
    """

    first: str  # the split of the neighbours
    second: str  # that of the crops labelled by them
    crops: int  # of `second`, with a picture that shows something
    right: int  # whose neighbour has their label
    related: int  # whose neighbour is of their own family

    @property
    def accuracy(self) -> float:
        """The fraction of the crops whose neighbour has their label, 0 to 1."""
        return fraction(self.right, self.crops)

    def text(self) -> str:
        """Say in one sentence what was found and what it means."""
        related = fraction(self.related, self.crops)
        means = (
            "the closer to 50 % on a split that keeps families apart, the less of people and rooms "
            "it leaks"
        )
        if related > _RELATED:
            means = (
                f"{100 * related:.1f} % of these neighbours are of the crop's own family, often a "
                "fake's original, which has the other label, so the number does not show the leak"
            )
        return (
            f"nearest neighbour: the most similar crop of {self.first}, by 12x12 thumbnails, has "
            f"the label of the {self.second} crop for {100 * self.accuracy:.1f} % of "
            f"{self.crops:,}; {means}"
        )


def nearest_neighbours(
    pictures: Pictures, family: Codes, rows: RowSplits
) -> NeighbourAccuracy | None:
    """Label the crops of the last split by their nearest neighbours in the first.

    Returns None if one of the two splits has no picture that shows something.
    """
    small = scenes(pictures.thumbnails)
    shown = small.any(axis=1)
    at, small = pictures.rows[shown], small[shown]
    last = len(rows.names) - 1
    train, test = (np.flatnonzero(rows.split[at] == split) for split in (0, last))
    if not len(train) or not len(test):
        return None
    nearest = [
        (small[test[start : start + _BLOCK]] @ small[train].T).argmax(axis=1)
        for start in range(0, len(test), _BLOCK)
    ]
    crop, neighbour = at[test], at[train[np.concatenate(nearest)]]
    right = int((rows.label[crop] == rows.label[neighbour]).sum())
    related = int((family[crop] == family[neighbour]).sum())
    return NeighbourAccuracy(rows.names[0], rows.names[last], len(crop), right, related)
