"""The most similar crops of different splits."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from dfdc_prep.writing.audit_inputs import AuditInputs


@dataclass(frozen=True)
class NearPair:
    """Two crops of different splits whose images are near-identical.

    Attributes:
        likeness: 0 to 1, how well their details correlate; 1 for equal images.
        first, second: their rows.
    """

    likeness: float
    first: int
    second: int


def nearest_pairs(inputs: AuditInputs, most: int) -> list[NearPair]:
    """Return the most similar near-identical crops that are in different splits.

    An image that is in several splits is one pair. Pairs are sorted by likeness, then by row.
    """
    near = inputs.near
    if near is None:
        return []
    # The first row of each picture in each split.
    first: list[dict[str, int]] = [{} for _ in range(int(near.picture.max(initial=-1)) + 1)]
    splits = inputs.table["split"].to_pylist()
    for row, (picture, split) in enumerate(zip(near.picture.tolist(), splits, strict=True)):
        if picture >= 0:
            first[picture].setdefault(split, row)

    def found() -> Iterator[NearPair]:
        for each in first:
            if len(each) > 1:
                yield NearPair(1.0, *sorted(each.values())[:2])
        pairs = zip(near.first.tolist(), near.second.tolist(), near.likeness.tolist(), strict=True)
        for a, b, likeness in pairs:
            if pair := _pair_across(first[a], first[b]):
                yield NearPair(likeness, *pair)

    return heapq.nsmallest(
        most, set(found()), key=lambda pair: (-pair.likeness, pair.first, pair.second)
    )


def _pair_across(first: dict[str, int], second: dict[str, int]) -> tuple[int, int] | None:
    """Return the first rows of two images that are in different splits, ascending."""
    pairs = [
        (min(one, other), max(one, other))
        for split, one in first.items()
        for name, other in second.items()
        if split != name
    ]
    return min(pairs, default=None)
