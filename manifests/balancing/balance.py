"""As many REAL crops as FAKE ones, chosen by seed, clips whole.

Three strategies say which clips come first; then each class is filled to the same number
of rows (`manifests.fill`), so that no clip is torn apart:

- random: clips in random order, as the paper. Where every clip has one crop this is
  pandas' `sample(n, random_state=seed)` of each class, sorted by part and name.
- spread: fakes of as many different originals as there are, before a second fake of any.
- pairs: only crops that exist as a REAL and a FAKE one of the same frame and box, and
  always both of them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from manifests.balancing.pairs import match
from manifests.balancing.subset_sum import choose, largest
from manifests.errors import NotEnoughRows, TableError
from manifests.labels import FAKE, LABELS
from manifests.tables.factorize import Codes, Mask, labels
from manifests.tables.rows_by_clip import Rows, gather, thin

Strategy = Literal["random", "spread", "pairs"]
#: Rows of each label where nothing else is asked for, as in the paper.
PER_CLASS = 16_000
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class BalanceOptions:
    """What is wanted of the balanced rows.

    Attributes:
        per_class: rows of each label; None for 16,000, or for as many as the smaller class
            has where that is fewer.
        strategy: random, spread or pairs.
        seed: chooses the clips.
        frames_per_clip: at most this many frames of each clip, evenly spread; None for all.
    """

    per_class: int | None = None
    strategy: Strategy = "random"
    seed: int = 42
    frames_per_clip: int | None = None


@dataclass(frozen=True)
class Balance:
    """The balanced rows and how they came about.

    Attributes:
        table: the chosen rows, every column kept, sorted as every manifest.
        wanted: rows of each label that were to be had: what was asked for or, where
            nothing was, at most what the smaller class has.
        per_class: rows of each label there are.
        clips: clips of each label they come from.
        originals: how many different families the fakes belong to.
        scarce: the label that has too few rows for the default, None where none has.
    """

    table: pa.Table
    wanted: int
    per_class: int
    clips: dict[str, int]
    originals: int
    scarce: str | None

    def text(self) -> str:
        """How many of each label, from how many clips and originals; what fell short."""
        lines = [
            f"{self.per_class:,} {label} crops from {self.clips[label]:,} clips" for label in LABELS
        ]
        lines[-1] += f" of {self.originals:,} originals"
        if self.scarce:
            lines.append(f"fewer than {PER_CLASS:,} each: there are no more {self.scarce} crops")
        if self.per_class < self.wanted:
            lines.append(
                f"whole clips make no more than {self.per_class:,} of the {self.wanted:,} in both "
                f"classes; --frames-per-clip 1 comes nearer"
            )
        return "\n".join(lines)


def balance(table: pa.Table, options: BalanceOptions) -> Balance:
    """Choose as many REAL rows as FAKE ones.

    Args:
        table: a manifest or a bare table with the columns video, label and family (or
            original); part, frame, face and path are used where they are known. The order
            of its rows changes nothing.

    Raises:
        NotEnoughRows: a class has fewer rows than `per_class` asks for.
        TableError: no row, only one class, or (pairs) no crop that has its partner.
    """
    rows = gather(table, labels(table))
    place = np.empty_like(rows.at)
    place[rows.at] = np.arange(len(place))
    units = match(table, rows, options.seed) if options.strategy == "pairs" else rows
    if options.frames_per_clip is not None:
        units = units.where(thin(units.clip, units.frame, options.frames_per_clip))
    classes = [_ordered(units, label, options) for label in range(len(LABELS))]
    wanted, scarce = _wanted(classes, options.per_class)
    per_class = largest(tuple(one.size for one in classes), wanted)
    if not per_class:
        raise TableError(
            f"expected whole clips that make the same number of crops, at most {wanted:,}, in "
            f"both classes, found none; give --frames-per-clip 1"
        )
    taken = [one.clip[choose(one.size, per_class)] for one in classes]
    chosen = units.where(_of(units, taken))
    return Balance(
        table.take(chosen.at[np.argsort(place[chosen.at])]),
        wanted,
        per_class,
        {name: len(clips) for name, clips in zip(LABELS, taken, strict=True)},
        int(np.count_nonzero(np.bincount(chosen.family[chosen.label == LABELS.index(FAKE)]))),
        scarce,
    )


@dataclass(frozen=True)
class _Class:
    """The clips of one label in the order they are to be taken: number and rows of each."""

    clip: Codes
    size: Codes


def _ordered(rows: Rows, label: int, options: BalanceOptions) -> _Class:
    mine = np.flatnonzero(rows.label == label)
    clip = rows.clip[mine]
    first = np.flatnonzero(np.diff(clip, prepend=-1))  # rows are sorted by clip
    size = np.diff(first, append=len(clip))
    order = np.random.RandomState(options.seed).permutation(len(first))
    if options.strategy == "spread" and LABELS[label] == FAKE:
        order = order[_turns(rows.family[mine[first]][order])]
    return _Class(clip[first][order], size[order])


def _turns(family: Codes) -> Codes:
    """Take turns: the order in which every family gives its first before any gives its second."""
    together = np.argsort(family, kind="stable")
    grouped = family[together]
    turn = np.empty(len(family), np.int64)
    turn[together] = np.arange(len(family)) - np.searchsorted(grouped, grouped)
    return np.argsort(turn, kind="stable")


def _wanted(classes: list[_Class], per_class: int | None) -> tuple[int, str | None]:
    """How many rows of each label to take, and the label that keeps them below the default."""
    have = {name: int(one.size.sum()) for name, one in zip(LABELS, classes, strict=True)}
    scarce = min(have, key=lambda name: have[name])
    if not have[scarce]:
        raise TableError(f"expected crops of both labels, found no {scarce} one; extract some more")
    if per_class is None:
        return min(PER_CLASS, have[scarce]), scarce if have[scarce] < PER_CLASS else None
    if have[scarce] < per_class:
        raise NotEnoughRows(
            f"expected {per_class:,} {scarce} crops, found {have[scarce]:,}; "
            f"give --per-class {have[scarce]} or extract more"
        )
    return per_class, None


def _of(rows: Rows, taken: list[Codes]) -> Mask:
    """Which rows belong to the clips taken of their label, bool [rows]."""
    inside = np.zeros((int(rows.clip.max()) + 1, len(taken)), bool)
    for label, clips in enumerate(taken):
        inside[clips, label] = True
    kept: Mask = inside[rows.clip, rows.label]
    return kept
