"""Class balancing: equal numbers of REAL and FAKE crops, chosen by seed from whole clips.

A strategy decides the order in which clips are chosen; then each class is filled to the same
number of rows, so that no clip is divided:

- random: clips in random order, as in the paper. If every clip has one crop, this is pandas'
  `sample(n, random_state=seed)` of each class, sorted by part and name.
- spread: one fake of every original before a second fake of any.
- pairs: only crops that exist as a REAL and a FAKE one of the same frame and box, and always
  both of them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from manifests.errors import NotEnoughRows, TableError
from manifests.labels import FAKE, LABELS, REAL
from manifests.relatives import FamilyCounts
from manifests.result import Result, TextTable, written_to
from manifests.tables.codes import (
    ClipRows,
    Codes,
    Mask,
    clips_known,
    label_codes,
    pair_codes,
    position_in_run,
    sample_frames,
    sort_by_clip,
)
from manifests.tables.families import count_families, family_column, unknown_fakes
from manifests.wording import counted

Strategy = Literal["random", "spread", "pairs"]
#: Default number of rows of each label, as in the paper.
DEFAULT_PER_CLASS = 16_000


@dataclass(frozen=True)
class BalanceOptions:
    """Options of `balance`."""

    per_class: int | None = None  # None for 16,000, or all rows of the smaller class if fewer
    strategy: Strategy = "random"
    seed: int = 42
    frames_per_clip: int | None = None  # at most so many, evenly spaced; None for all


@dataclass(frozen=True)
class Balance(Result):
    """The balanced rows and their counts."""

    table: pa.Table  # the chosen rows, with all columns, in the order of a manifest
    wanted: int  # rows of each label asked for, or the default
    per_class: int  # rows of each label chosen
    clips: dict[str, int] | None  # chosen of each label; None if it is not known what is a clip
    originals: int | None  # families of the fakes chosen, as far as they are known
    limiting_label: str | None  # the one with too few rows for the default
    fakes: FamilyCounts  # of the chosen clips
    out: Path | None = None  # the file of the table, where it was written
    notes: tuple[str, ...] = ()  # how the table was read, where it does not say it itself

    def text(self) -> str:
        """Describe the rows, clips and originals of each label, and any shortfall."""
        lines = [counted(self.per_class, f"{label} crop") for label in LABELS]
        if self.clips is not None:
            counts = (counted(self.clips[label], "clip") for label in LABELS)
            lines = [f"{line} from {clips}" for line, clips in zip(lines, counts, strict=True)]
            lines[-1] += f" of {counted(self.originals or 0, 'original')}"
        lines = [*self.notes, *lines, *self.fakes.lines()]
        if self.limiting_label:
            fewer = f"fewer than {DEFAULT_PER_CLASS:,} each"
            lines.append(f"{fewer}: there are no more {self.limiting_label} crops")
        if self.per_class < self.wanted:
            lines.append(
                f"whole clips give no more than {self.per_class:,} of the {self.wanted:,} in both "
                f"classes; --frames-per-clip 1 comes closer"
            )
        return "\n".join([*lines, *written_to(self.out)])

    def cells(self) -> TextTable:
        clips = self.clips or {}
        rows = ([label, self.per_class, clips.get(label, "not known")] for label in LABELS)
        return TextTable(("label", "crops", "clips"), rows)


def balance(table: pa.Table, options: BalanceOptions) -> Balance:
    """Choose equal numbers of REAL and FAKE rows.

    Args:
        table: a manifest or a bare table with the columns video, label and family (or original);
            part, frame, face and path are used if present. The order of its rows has no effect.

    Raises:
        NotEnoughRows: a class has fewer rows than `options.per_class`.
        TableError: the table has no rows or only one class, no number of rows can be reached
            in both classes, or (pairs) no crop has a partner.
    """
    rows = sort_by_clip(table, label_codes(table), family_column(table))
    position = np.empty_like(rows.index)
    position[rows.index] = np.arange(len(position))
    candidates = match_pairs(table, rows, options.seed) if options.strategy == "pairs" else rows
    if options.frames_per_clip is not None:
        sampled = sample_frames(candidates.clip, candidates.frame, options.frames_per_clip)
        candidates = candidates.select(sampled)
    classes = [_order_clips(candidates, label, options) for label in range(len(LABELS))]
    wanted, limiting_label = _target_rows(classes, options.per_class)
    per_class = largest_common_sum(tuple(each.size for each in classes), wanted)
    if not per_class:
        raise TableError(
            f"expected whole clips that give the same number of crops, at most {wanted:,}, in "
            f"both classes, found none; give --frames-per-clip 1"
        )
    is_chosen = np.zeros((int(candidates.clip.max()) + 1, len(classes)), bool)
    for label, clips in enumerate(classes):
        is_chosen[clips.clip[choose_clips(clips.size, per_class)], label] = True
    chosen = candidates.select(is_chosen[candidates.clip, candidates.label])
    chosen = chosen.select(np.argsort(position[chosen.index]))
    known = clips_known(table)
    balanced = table.take(chosen.index)
    fakes = count_families(balanced, chosen.clip)
    # Families of the fakes of which it is known what they were made from.
    related = chosen.label == LABELS.index(FAKE)
    if fakes.unknown:
        related &= ~unknown_fakes(balanced)
    originals = int(np.count_nonzero(np.bincount(chosen.family[related])))
    return Balance(
        balanced,
        wanted,
        per_class,
        dict(zip(LABELS, is_chosen.sum(axis=0).tolist(), strict=True)) if known else None,
        originals if known else None,
        limiting_label,
        fakes,
    )


class _ClassClips(NamedTuple):
    """The clips of one label in order of preference."""

    clip: Codes
    size: Codes  # rows


def first_rows(clip: Codes) -> tuple[Codes, Codes]:
    """Return the first row and the number of rows of each clip, int64 [clips], of sorted rows."""
    first = np.flatnonzero(np.diff(clip, prepend=-1))
    return first, np.diff(first, append=len(clip))


def _order_clips(rows: ClipRows, label: int, options: BalanceOptions) -> _ClassClips:
    of_label = np.flatnonzero(rows.label == label)
    clip = rows.clip[of_label]
    first, size = first_rows(clip)
    order = np.random.RandomState(options.seed).permutation(len(first))
    if options.strategy == "spread" and LABELS[label] == FAKE:
        # The first clip of every family, then every second one, and so on.
        family = rows.family[of_label[first]][order]
        by_family, rank = np.argsort(family, kind="stable"), np.empty(len(family), np.int64)
        rank[by_family] = position_in_run(family[by_family])
        order = order[np.argsort(rank, kind="stable")]
    return _ClassClips(clip[first][order], size[order])


def _target_rows(classes: list[_ClassClips], per_class: int | None) -> tuple[int, str | None]:
    """Return the rows of each label to choose, and the label that limits the default."""
    available = {name: int(each.size.sum()) for name, each in zip(LABELS, classes, strict=True)}
    smaller = min(available, key=lambda name: available[name])
    rows = available[smaller]
    if not rows:
        raise TableError(f"expected crops of both labels, found no {smaller} crops; extract some")
    if per_class is None:
        return min(DEFAULT_PER_CLASS, rows), smaller if rows < DEFAULT_PER_CLASS else None
    if rows < per_class:
        raise NotEnoughRows(
            f"expected {counted(per_class, f'{smaller} crop')}, found {rows:,}; "
            f"give --per-class {rows} or extract more"
        )
    return per_class, None


def match_pairs(table: pa.Table, rows: ClipRows, seed: int) -> ClipRows:
    """Keep only pairs: in every family, the original and one fake chosen at random.

    Returns as many REAL as FAKE rows, sorted by (family, frame, face). Their `clip` is the family,
    so that both crops of a pair are chosen together.

    Raises:
        TableError: no crop has a partner, or the table lacks frames and faces.
    """
    known = rows.select((rows.frame >= 0) & (rows.face >= 0))
    # One code for each distinct family, frame, face and box, int64 [rows].
    key = pair_codes(pair_codes(known.family, known.frame), known.face)
    box = ("crop_x", "crop_y", "crop_size")
    for name in (name for name in box if name in table.column_names):
        edge = table[name].take(pa.array(known.index)).fill_null(0).to_numpy()
        key = pair_codes(key, np.unique(edge, return_inverse=True)[1].astype(np.int64))

    # FAKE rows whose key also occurs in a REAL row, of one fake clip per family.
    real = known.label == LABELS.index(REAL)
    key_has_real = np.zeros(int(key.max(initial=-1)) + 1, bool)
    key_has_real[key[real]] = True
    fake = np.flatnonzero(~real & key_has_real[key])
    clip, first = np.unique(known.clip[fake], return_index=True)
    shuffled = np.random.RandomState(seed).permutation(len(clip))
    family = known.family[fake][first][shuffled]
    one_of_each = clip[shuffled[np.unique(family, return_index=True)[1]]]
    fake = fake[np.isin(known.clip[fake], one_of_each)]
    paired, first_fake = np.unique(key[fake], return_index=True)
    if not len(paired):
        raise TableError(
            "expected crops of the same frame and box of an original and its fake, found none; "
            "extract both with shared boxes, or choose another --strategy"
        )

    # The first REAL and the first FAKE row of each key form the pair.
    of_real, first_real = np.unique(key[real], return_index=True)
    originals = np.flatnonzero(real)[first_real[np.isin(of_real, paired)]]
    both = known.select(np.concatenate([originals, fake[first_fake]]))
    both = both.select(np.lexsort((both.label, both.face, both.frame, both.family)))
    return replace(both, clip=both.family)


# Subset sum: filling a class to an exact number of rows with whole clips. The set of reachable sums
# is stored as the bits of one Python integer: bit n is set if some of the clips have n rows in
# total. Adding a clip of s rows is `sums | sums << s`.


def reachable_sums(sizes: Codes, limit: int) -> int:
    """Return all numbers of rows up to `limit` that clips of these sizes can have, as a bit set."""
    sums = 1
    for size, count in _count_sizes(sizes):
        sums = _add_clips(sums, size, count, limit)
    return sums


def largest_common_sum(classes: tuple[Codes, ...], limit: int) -> int:
    """Return the largest sum up to `limit` that every class, the sizes of its clips, can reach."""
    common = -1
    for sizes in classes:
        common &= reachable_sums(sizes, limit)
    return common.bit_length() - 1


def choose_clips(sizes: Codes, rows: int) -> Mask:
    """Choose clips with exactly `rows` rows in total, preferring the first ones.

    If a prefix of the clips, int64 [clips] in order of preference, leaves a gap, as few of its last
    clips as necessary are dropped and the gap is filled from the remaining clips. `rows` is one of
    their `reachable_sums`.
    """
    ends = np.concatenate([[0], np.cumsum(sizes)])
    prefix = int(np.searchsorted(ends, rows, "right")) - 1
    dropped = 0
    while True:
        kept = max(prefix - dropped, 0)
        gap = rows - int(ends[kept])
        if reachable_sums(sizes[kept:], gap) >> gap & 1:
            break
        dropped = 2 * dropped or 1
    chosen = np.zeros(len(sizes), bool)
    chosen[:kept] = True
    chosen[kept:] = _choose_exactly(sizes[kept:], gap)
    return chosen


def _choose_exactly(sizes: Codes, rows: int) -> Mask:
    """Choose clips with `rows` rows in total, bool [clips]; of each size the first ones."""
    size_counts, sums = _count_sizes(sizes), [1]
    for size, count in size_counts:
        sums.append(_add_clips(sums[-1], size, count, rows))
    # Walk back through the sizes: take the fewest clips of each that leave a reachable rest.
    chosen = np.zeros(len(sizes), bool)
    for (size, count), reachable in zip(reversed(size_counts), reversed(sums[:-1]), strict=True):
        number = next(
            k for k in range(count + 1) if k * size <= rows and reachable >> rows - k * size & 1
        )
        chosen[np.flatnonzero(sizes == size)[:number]] = True
        rows -= number * size
    return chosen


def _count_sizes(sizes: Codes) -> list[tuple[int, int]]:
    """Return each distinct size and the number of clips that have it."""
    distinct, counts = np.unique(sizes, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


def _add_clips(sums: int, size: int, count: int, limit: int) -> int:
    """Return the sums reachable with up to `count` further clips of `size` rows."""
    mask = (1 << limit + 1) - 1
    bundle = 1  # clips added at a time, doubled: the number of shifts is logarithmic in `count`
    while count > 0 and size * min(bundle, count) <= limit:
        sums |= sums << size * min(bundle, count) & mask
        count -= bundle
        bundle *= 2
    return sums
