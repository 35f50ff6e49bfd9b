"""How far a test crop's nearest neighbour in training tells its label: what a split leaks at best.

The neighbour is found by scenes, 12x12 thumbnails, which tell rooms and people but no forgery. So
where it is right more often than chance, the splits share rooms or people.
"""

from dataclasses import dataclass

import numpy as np

from manifests.auditing.leakage import RowSplits, fraction
from manifests.pictures.scenes import scenes
from manifests.pictures.thumbnails import Pictures
from manifests.tables.factorize import Codes

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
