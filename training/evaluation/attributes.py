"""Measures by group of clips, of people or of families: for whom a model errs.

The groups are those of a table of the user's. Nothing is estimated here.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dfdc_prep.run_files import GROUP_MEASURES, GapRow, GroupRow
from manifests.errors import TableError
from manifests.wording import counted, listed
from training.measures.intervals import (
    MIN_FAMILIES,
    UPPER,
    FamilyIntervals,
    effective_number,
    families_by_label,
    too_few,
)
from training.measures.paired import Difference, Estimate, difference, estimates, holm
from training.measures.predictions import Level
from training.measures.scores import NAMES, Columns, find_clips, read_named, row_names

#: Most groups of an attribute; numbers with more values are cut at their quartiles.
MOST_GROUPS = 10
_KEYS = {"family": ("family", "original"), "person": ("person", "identity", "subject", "actor")}


class Attributes(NamedTuple):
    """The group of each clip of a split by attribute, and how the table was read, in words."""

    groups: dict[str, list[str | None]]
    notes: list[str]


def read_attributes(path: Path, columns: Columns, clips: pa.Table) -> Attributes:
    """Read a CSV or parquet file with a row per clip, family or person.

    Args:
        columns: the user's names of the columns clip, family or person.
        clips: those of the split, from `scores.clips_of_split`.

    Raises:
        TableError: it has none of these columns, two rows for one of them, or no other column.
    """
    kinds = ("clip", "part", *_KEYS)
    table, found = read_named(path, columns, kinds, {**NAMES, **_KEYS})
    key = next((kind for kind in ("clip", *_KEYS) if kind in found), None)
    if key is None:
        raise TableError(
            f"expected a column clip, family or person in {path}, found "
            f"{listed(table.column_names, 20)}; name it with --column clip=NAME"
        )
    if key == "clip":
        at = find_clips(row_names(table, found, path), clips, str(path)).tolist()
        keys: list[Any] = list(range(clips.num_rows))
    else:
        at = [None if v is None else str(v) for v in table[found[key]].to_pylist()]
        keys = clips["identity" if key == "person" else "family"].to_pylist()
    known = set(keys) - {None}
    if twice := [n for n, count in Counter(k for k in at if k in known).items() if count > 1]:
        name = clips["video"][twice[0]].as_py() if key == "clip" else twice[0]
        raise TableError(f"expected one row per {key} in {path}, found several of {name}")
    row_of = {k: row for row, k in enumerate(at)}
    rows = [row_of.get(k) if k in known else None for k in keys]
    unmatched = sum(k not in known for k in at)
    notes = [
        f"{path.name} has a row for {sum(row is not None for row in rows):,} of "
        f"{counted(len(rows), 'clip')}, by {key}; {counted(unmatched, 'row')} of it "
        f"{'is' if unmatched == 1 else 'are'} of no {key} of this split."
    ]
    groups: dict[str, list[str | None]] = {}
    for name in (name for name in table.column_names if name not in found.values()):
        names = _group_names(table[name].to_pylist())
        if len(set(names) - {None}) > MOST_GROUPS:
            notes.append(f"The column {name} has more than {MOST_GROUPS} values: left out.")
            continue
        groups[name] = [None if row is None else names[row] for row in rows]
    if not groups:
        raise TableError(f"expected a column with groups in {path}, found none beside its names")
    return Attributes(groups, notes)


def _group_names(values: Sequence[Any]) -> list[str | None]:
    """The group of each value: itself, or its quarter of many numbers."""
    known = [v for v in values if v is not None and v == v]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    if len(set(known)) <= MOST_GROUPS or not numeric:
        return [str(v) if v is not None and v == v and str(v).strip() else None for v in values]
    edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1])).tolist()
    ends = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]

    def name(value: float) -> str:
        return ends[min(max(int(np.searchsorted(edges, value, "left")) - 1, 0), len(ends) - 1)]

    return [name(v) if v is not None and v == v else None for v in values]


def _by_number(name: str) -> tuple[float, str]:
    """The order of groups: by the number that their names begin with, then by name."""
    first = name.split()[0]
    return float(first) if first.replace(".", "", 1).isdigit() else np.inf, name


class _Group(NamedTuple):
    """A measure of a group, and the clips that it is of."""

    name: str
    level: Level
    estimate: Estimate
    row: GroupRow


def attribute_rows(
    level: Level, attribute: str, names: Sequence[str | None], shared: dict[str, Any]
) -> tuple[list[GroupRow], list[GapRow]]:
    """The measures of the groups of an attribute, and for each measure the largest gap of two.

    Both groups of a gap are resampled together by family, whether they share families or not. Since
    the gap is chosen among all pairs, its interval holds for all of them together (Bonferroni). A
    group with too few families for an interval is in no gap.

    Args:
        names: the group of each clip; None for those of none.
        shared: the columns set, split and model of the rows.
    """
    groups, gaps = list[GroupRow](), list[GapRow]()
    given = np.array([name or "" for name in names], np.str_)
    shared = {**shared, "attribute": attribute}
    for measure in GROUP_MEASURES:
        found = list(_measured(level, measure, given, shared))
        groups += [group.row for group in found]
        pairs = list(combinations([group for group in found if not group.row.too_few], 2))
        upper = 1 - (1 - UPPER) / max(1, len(pairs))
        differences = [_gap(*pair, upper) for pair in pairs]
        adjusted = holm(each.p for each in differences)
        if pairs:
            at = int(np.argmax([abs(each.value) for each in differences]))
            (first, second), (value, (low, high), p) = pairs[at], differences[at]
            ends: Any = {"group": first.name, "other": second.name, "difference": value}
            number = len(np.intersect1d(first.level.families, second.level.families))
            tests: Any = {"p": p, "p_holm": adjusted[at], "shared": number}
            gaps.append(GapRow(**shared, measure=measure, **ends, low=low, high=high, **tests))
    return groups, gaps


def _gap(first: _Group, second: _Group, upper: float) -> Difference:
    fewest = min(first.level.families, second.level.families, key=effective_number)
    return difference(first.estimate, second.estimate, fewest, upper)


def _measured(level: Level, measure: str, given: Any, shared: dict[str, Any]) -> Iterator[_Group]:
    """A measure of each group that has clips for it."""
    label = {"right_real": 0, "right_fake": 1}.get(measure)
    for name in sorted(set(given.tolist()) - {""}, key=_by_number):
        part = level.where((given == name) & ((level.labels == label) | (label is None)))
        reals, fakes = np.bincount(part.labels, minlength=2).tolist()
        kind = "auc" if measure == "auc" else "accuracy"
        estimate = estimates(part, level.families, (kind,)).get(kind) if reals + fakes else None
        if estimate is None:
            continue
        numbers = families_by_label(part.labels, part.families)
        few = too_few(reals + fakes, {n: count for n, count in numbers.items() if count})
        intervals = FamilyIntervals(part.labels, part.families)
        found = intervals.resampled(estimate.value, estimate.resampled, ranked=kind == "auc")
        row = GroupRow(
            **shared,
            group=name,
            measure=measure,
            value=estimate.value,
            low=found.low,
            high=found.high,
            real=reals,
            fake=fakes,
            families=len(np.unique(part.families)),
            too_few=few,
        )
        yield _Group(name, part, estimate, row)


def warnings(rows: Sequence[GroupRow]) -> Iterator[str]:
    """A sentence on the groups of each attribute that have too few families."""
    for attribute in dict.fromkeys(row.attribute for row in rows):
        few = dict.fromkeys(r.group for r in rows if r.attribute == attribute and r.too_few)
        if few:
            yield (
                f"{attribute}: {listed(list(few))} too few to say, with fewer than {MIN_FAMILIES} "
                "families of a label; no gap is measured to them."
            )
