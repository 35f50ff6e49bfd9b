"""The most similar crops of different splits."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pyarrow as pa

from dfdc_prep.shards.audit_inputs import AuditInputs
from manifests.auditing.perceptual_hash import near_pairs


@dataclass(frozen=True)
class NearPair:
    """Two crops of different splits whose images are near-identical.

    Attributes:
        distance: bits in which their perceptual hashes differ, of 64.
        first, second: their rows.
    """

    distance: int
    first: int
    second: int


def nearest_pairs(inputs: AuditInputs, most: int) -> list[NearPair]:
    """Return the most similar near-identical crops that are in different splits.

    An image that is in several splits is one pair. Pairs are sorted by distance, then by row.
    """
    if inputs.prints is None or inputs.printed is None:
        return []
    rows = np.flatnonzero(inputs.printed)
    hashes, index = np.unique(inputs.prints[rows], return_inverse=True)
    # The first row of each image in each split.
    first: list[dict[str, int]] = [{} for _ in hashes]
    splits = inputs.table["split"].take(pa.array(rows)).to_pylist()
    for row, image, split in zip(rows.tolist(), index.tolist(), splits, strict=True):
        first[image].setdefault(split, row)

    def found() -> Iterator[NearPair]:
        for each in first:
            if len(each) > 1:
                yield NearPair(0, *sorted(each.values())[:2])
        for left, right in near_pairs(hashes):
            distances = np.bitwise_count(hashes[left] ^ hashes[right]).tolist()
            for a, b, distance in zip(left.tolist(), right.tolist(), distances, strict=True):
                if pair := _pair_across(first[a], first[b]):
                    yield NearPair(distance, *pair)

    order = attrgetter("distance", "first", "second")
    return heapq.nsmallest(most, set(found()), key=order)


def _pair_across(first: dict[str, int], second: dict[str, int]) -> tuple[int, int] | None:
    """Return the first rows of two images that are in different splits, ascending."""
    pairs = [
        (min(one, other), max(one, other))
        for split, one in first.items()
        for name, other in second.items()
        if split != name
    ]
    return min(pairs, default=None)
