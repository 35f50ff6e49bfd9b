"""How well the grouping does on known people, measured by `python -m benchmarks.identities`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracy:
    """Pairs of photographs of known people, grouped at the default threshold.

    Attributes:
        precision: share of the pairs put into one group that show one person.
        recall: share of the pairs of one person that were put into one group.
        people, pictures: what it was measured on.
    """

    precision: float
    recall: float
    people: int
    pictures: int


#: Photographs as they are and degraded: JPEG 20, dark, 40 and 28 pixels.
MEASURED = Accuracy(precision=1.0, recall=0.966, people=5, pictures=275)
