"""Leakage: what splits share, by families, files, images, people and nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.pictures.thumbnails import Pictures, scenes
from manifests.tables.codes import Codes, Mask, factorize, text_column


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


#: What is compared, where the data set names both people of a fake.
SWAPPED = "people, filmed or swapped in"
NO_IDENTITIES = (
    "estimated identities: not compared; run dfdc-prep identify on the faces folder, then audit "
    "again with --identities FACES"
)


@dataclass(frozen=True)
class People:
    """People shared between splits.

    Attributes:
        leaks: between each pair of splits, by the person filmed.
        faces: the same by the person filmed or the person whose face a fake shows; None if the
            table does not name the latter.
        estimated: whether `identify` estimated the people; otherwise the data set names them.
        uncertain, unknown: for each split, the rows whose identity rests on uncertain evidence
            and on none; None if the table does not say.
    """

    leaks: list[Leak]
    faces: list[Leak] | None
    estimated: bool
    uncertain: dict[str, int] | None
    unknown: dict[str, int] | None

    @property
    def what(self) -> str:
        """What is compared, for tables."""
        return "estimated identities" if self.estimated else "identities"

    def lines(self, rows: dict[str, int]) -> list[str]:
        """Describe the leaks, and how far an estimate can be trusted."""
        first, *_, last = rows
        rate = next(leak.rate for leak in self.leaks if (leak.first, leak.second) == (first, last))
        lines = [leak.text(self.what) for leak in self.leaks if leak.shared]
        if self.estimated:
            lines.append(
                f"estimated identities, the data set names none; {100 * rate:.1f} % of the {last} "
                f"crops share an estimated actor with {first}; how far the estimate is right "
                "on this set is not known; swapped-in faces are not checked"
            )
        else:
            lines.append(
                f"identities as the data set names them; {100 * rate:.1f} % of the {last} crops "
                f"show a person who is filmed in {first}"
            )
        lines += [leak.text(SWAPPED) for leak in self.faces or () if leak.shared]
        return lines + self._doubts(rows[last], last)

    def _doubts(self, rows: int, split: str) -> list[str]:
        unknown = self.unknown[split] if self.unknown else 0
        if self.uncertain is not None:
            return [
                f"{100 * self.uncertain[split] / rows:.1f} % of the {split} crops have an "
                f"uncertain identity, and {100 * unknown / rows:.1f} % none"
            ]
        return [f"{100 * unknown / rows:.1f} % of the {split} crops name no one"] if unknown else []


def people_in_splits(table: pa.Table, rows: RowSplits) -> People | None:
    """Compare the people of a table; None if its column `identity` is absent or empty."""
    if not _has_values(table, "identity"):
        return None
    faces = None
    if _has_values(table, "face_identity"):
        columns = (text_column(table, name) for name in ("identity", "face_identity"))
        keys, _ = factorize(*columns)
        faces = leaks_by_any_key(keys, rows)
    (identity,), _ = factorize(text_column(table, "identity"))
    leaks = leaks_by_key(identity, rows)
    missing = pc.is_null(table["identity"])
    if "identity_source" not in table.column_names:
        return People(leaks, faces, False, None, _count_by_split(missing, rows))
    source = text_column(table, "identity_source")
    estimated = pc.any(pc.is_in(source, pa.array(["real", "fake", "uncertain"]))).as_py() or False
    unknown = pc.or_(missing, pc.equal(source, "none").fill_null(True))
    uncertain = pc.and_(pc.equal(source, "uncertain").fill_null(False), pc.invert(unknown))
    counts = (_count_by_split(each, rows) for each in (uncertain, unknown))
    return People(leaks, faces, estimated, *counts)


def _has_values(table: pa.Table, column: str) -> bool:
    return column in table.column_names and bool(pc.any(pc.is_valid(table[column])).as_py())


def _count_by_split(marked: pa.ChunkedArray, rows: RowSplits) -> dict[str, int]:
    counts = np.bincount(rows.split[marked.to_numpy()], minlength=len(rows.split_names))
    return dict(zip(rows.split_names, counts.tolist(), strict=True))


#: Crops compared at a time.
_BLOCK = 512
#: Share of neighbours of the crop's own family from which the accuracy says little.
_RELATED = 0.05


@dataclass(frozen=True)
class NeighbourAccuracy:
    """The accuracy of the label of the nearest neighbour.

    Attributes:
        first, second: the split of the neighbours, and of the crops that are labelled by them.
        crops: crops of `second` with a picture that shows something.
        right: crops whose neighbour has their label.
        related: crops whose neighbour is of their own family.
    """

    first: str
    second: str
    crops: int
    right: int
    related: int

    @property
    def accuracy(self) -> float:
        """The fraction of the crops whose neighbour has their label, 0 to 1."""
        return fraction(self.right, self.crops)

    def text(self) -> str:
        """Say in one sentence what was found and what it means."""
        found = (
            f"nearest neighbour: the most similar crop of {self.first}, by 12x12 thumbnails, has "
            f"the label of the {self.second} crop for {100 * self.accuracy:.1f} % of "
            f"{self.crops:,}; "
        )
        related = fraction(self.related, self.crops)
        if related > _RELATED:
            return found + (
                f"{100 * related:.1f} % of these neighbours are of the crop's own family, often a "
                "fake's original, which has the other label, so the number does not show the leak"
            )
        return found + (
            "the closer to 50 % on a split that keeps families apart, the less of people and rooms "
            "it leaks"
        )


def nearest_neighbours(
    pictures: Pictures, family: Codes, rows: RowSplits
) -> NeighbourAccuracy | None:
    """Label the crops of the last split by their nearest neighbours in the first.

    Args:
        pictures: of rows of the table.
        family: int64 [rows].
        rows: the split and the label of the same rows.

    Returns:
        None if one of the two splits has no picture that shows something.
    """
    found = scenes(pictures.thumbnails)
    shown = found.any(axis=1)
    at, found = pictures.rows[shown], found[shown]
    last = len(rows.split_names) - 1
    train, test = (np.flatnonzero(rows.split[at] == split) for split in (0, last))
    if not len(train) or not len(test):
        return None
    nearest = [
        (found[test[start : start + _BLOCK]] @ found[train].T).argmax(axis=1)
        for start in range(0, len(test), _BLOCK)
    ]
    crop, neighbour = at[test], at[train[np.concatenate(nearest)]]
    return NeighbourAccuracy(
        rows.split_names[0],
        rows.split_names[last],
        len(crop),
        int((rows.label[crop] == rows.label[neighbour]).sum()),
        int((family[crop] == family[neighbour]).sum()),
    )
