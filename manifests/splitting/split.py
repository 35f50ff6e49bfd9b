"""Assigning every crop to a split: exact counts, no family in two splits, each kind in proportion.

Families with the same numbers of REAL and FAKE crops are interchangeable: `allocation` decides only
how many families of each of these few hundred kinds go to each split, and the seed which ones.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.arrow import SPLIT_SCHEMA
from manifests.auditing.kinds import Difference, compare_kinds, kind_lines
from manifests.auditing.leakage import Leak, RowSplits, leak_lines, leaks_by_key
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.pictures.thumbnails import Pictures
from manifests.relatives import FamilyCounts
from manifests.result import Result, TextTable, written_to
from manifests.splitting.allocation import Counts, allocate, largest_remainder
from manifests.splitting.groups import IDENTITY, Joins, group_rows
from manifests.tables import families
from manifests.tables.codes import Codes, factorize, factorize_sorted, label_codes
from manifests.tables.families import count_families
from manifests.wording import aligned, counted

__all__ = ["IDENTITY", "Assignment", "SplitPlan", "add_split_column", "assign_splits"]


#: Names of two or three splits given only as numbers.
DEFAULT_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}

#: Split names that tensorflow-datasets accepts; it reserves "all" for all splits together.
_NAME = re.compile(r"(?!all$)[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class SplitPlan:
    """The splits to make.

    `group_by` is what must not be in two splits: original (a family), identity (an estimated
    person), part, another column of the table (its values and the families together), or none.
    """

    fractions: tuple[tuple[str, float], ...]  # name of each split and its share; the sum is 1
    group_by: str = "original"
    seed: int = 42  # for choosing among families of the same kind

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the splits, in order."""
        return tuple(name for name, _ in self.fractions)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The fractions of the splits, float64 [splits]."""
        return np.array([weight for _, weight in self.fractions])

    @classmethod
    def parse(cls, text: str, group_by: str = "original", seed: int = 42) -> "SplitPlan":
        """Parse "56/24/20", "80/10/10" or "fit=70/dev=30".

        Two or three plain numbers are train/test and train/validation/test. The numbers are
        relative to their sum, so 8/1/1 equals 80/10/10. TableError for other text.
        """
        parts = [part.strip() for part in text.split("/")]
        named = [part.partition("=") for part in parts if "=" in part]
        if (named and len(named) < len(parts)) or (not named and len(parts) not in DEFAULT_NAMES):
            raise TableError(
                f"expected two or three numbers as in 56/24/20, or a name for each split as in "
                f"train=70/dev=20/test=10, found {text!r}; name every split"
            )
        names = tuple(name.strip() for name, _, _ in named) or DEFAULT_NAMES[len(parts)]
        for name in names:
            check_split_name(name, repr(text), names)
        numbers = []  # parsed exactly, so that the fractions add up to 1
        for part in parts:
            try:
                numbers.append(Fraction(part.rpartition("=")[2].strip()))
            except (ValueError, ZeroDivisionError):
                numbers.append(Fraction(0))
        if min(numbers) <= 0:
            raise TableError(
                f"expected positive numbers separated by slashes as in 56/24/20, "
                f"found {text!r}; give each split a positive number"
            )
        fractions = [float(number / sum(numbers)) for number in numbers]
        return cls(tuple(zip(names, fractions, strict=True)), group_by, seed)


def check_split_name(name: str, where: str, names: tuple[str, ...] = ()) -> None:
    """Raise TableError if a name cannot be that of a split, or is twice in `names`."""
    if not _NAME.fullmatch(name) or names.count(name) > 1:
        raise TableError(
            f"expected unique lower-case names for the splits, other than 'all', "
            f"found {name!r} in {where}; rename it"
        )


class People(NamedTuple):
    """The groups of a split by identity."""

    groups: int
    largest: int  # rows of the largest group
    estimated: bool  # False if the data set names all people

    @property
    def what(self) -> str:
        """What the groups are of, for messages."""
        return "estimated people" if self.estimated else "people"


@dataclass(frozen=True)
class Assignment(Result):
    """The split of every row, and how close it is to the plan."""

    names: pa.Array  # string [rows], the split of each row
    plan: SplitPlan
    wanted: Counts  # int64 [splits, labels], rows each split should have
    placed: Counts  # and has
    leaks: tuple[Leak, ...]  # what each pair of splits shares, by family
    fakes: FamilyCounts
    people: People | None = None  # the groups, if the split is by identity
    shared_people: tuple[Leak, ...] = ()  # the person filmed, if the split is official
    joins: Joins | None = None  # families joined because their crops are alike, if compared
    differences: tuple[Difference, ...] | None = None  # of the splits in kind, if compared
    out: Path | None = None  # the file of the table, where it was written
    notes: tuple[str, ...] = ()  # how the table was read, where it does not say it itself

    @property
    def shortfall(self) -> Counts:
        """Rows each split lacks, int64 [splits, labels]."""
        short: Counts = np.maximum(self.wanted - self.placed, 0)
        return short

    @property
    def leaking(self) -> bool:
        """Whether any known family is in two splits."""
        return any(leak.shared for leak in self.leaks)

    def text(self) -> str:
        """Describe the rows of each split, the shortfall and the leaks."""
        counts = self.cells()
        lines = [*self.notes, *aligned(counts.header, counts.rows)]
        lines += [] if self.differences is None else kind_lines(self.differences)
        if off := int(self.shortfall.sum()):
            lines.append(f"no family-safe split matches the counts; {counted(off, 'crop')} off")
        if self.people:
            lines.append(
                f"{counted(self.people.groups, 'group')} of {self.people.what} and families, the "
                f"largest with {counted(self.people.largest, 'crop')}; none is in two splits"
            )
        lines += self.joins.lines() if self.joins else ["pictures: not compared"]
        lines += leak_lines(self.shared_people, "identities")
        if self.leaking:
            lines += self.fakes.lines()
            lines += leak_lines(self.leaks, "families")
            lines.append("this split leaks; --group-by original avoids it")
        else:
            lines += self.fakes.apart_lines()
        return "\n".join([*lines, *written_to(self.out)])

    def cells(self) -> TextTable:
        counts = zip(self.plan.names, self.placed.tolist(), self.wanted.tolist(), strict=True)
        header = ["crops", *LABELS, *(f"{label} wanted" for label in LABELS)]
        return TextTable(header, ([name, *placed, *wanted] for name, placed, wanted in counts))


def assign_splits(table: pa.Table, plan: SplitPlan) -> Assignment:
    """Assign every row of a table to a split.

    Unless `group_by` is none, the split of a row does not depend on the order of the rows.

    Args:
        table: with the columns label and family (or video and original to derive the family
            from), and that of `plan.group_by`. A column `joined_family` joins families.

    Raises:
        TableError: the table has no rows, `group_by` is not a column or has empty cells, or a
            group of estimated people is larger than the smallest split.
    """
    label = label_codes(table)
    (family,), names = factorize_sorted(families.family_column(table))
    people = None
    if plan.group_by == "none":
        split = _split_rows(label, plan)
        wanted = count_rows(split, label, len(plan.names))
    else:
        group = group_rows(table, plan.group_by, family, names)
        available = np.bincount(label, minlength=len(LABELS)).tolist()
        divided = [largest_remainder(count, plan.weights) for count in available]
        wanted = np.stack(divided, axis=1)
        if plan.group_by == IDENTITY:
            people = _check_people(table, group, wanted)
        split = _split_groups(group, label, wanted, plan.seed)
    return Assignment(
        pa.array(plan.names).take(pa.array(split)),
        plan,
        wanted,
        count_rows(split, label, len(plan.names)),
        tuple(leaks_by_key(RowSplits(split, label, plan.names), family)),
        count_families(table),
        people,
    )


def with_kinds(
    assignment: Assignment, table: pa.Table, joins: Joins | None, pictures: Pictures | None
) -> Assignment:
    """Return the assignment with what was joined, and how the splits differ in kind."""
    (family,), _ = factorize(families.family_column(table))
    names = assignment.plan.names
    split = pc.index_in(assignment.names, pa.array(names)).to_numpy().astype(np.int64)
    found = compare_kinds(table, family, split, names, pictures)
    return replace(assignment, joins=joins, differences=tuple(found))


def add_split_column(table: pa.Table, assignment: Assignment) -> pa.Table:
    """Return the table with the column `split` at its end, instead of an earlier one."""
    kept = table.select([name for name in table.column_names if name != "split"])
    return kept.append_column(SPLIT_SCHEMA.field("split"), assignment.names)


def count_rows(group: Codes, label: Codes, groups: int) -> Counts:
    """Count the rows of each label in each group (or split), int64 [groups, labels]."""
    cells = np.bincount(group * len(LABELS) + label, minlength=groups * len(LABELS))
    return cells.reshape(groups, len(LABELS))


def _check_people(table: pa.Table, group: Codes, wanted: Counts) -> People:
    """Count the groups of people; TableError if the largest exceeds the smallest split."""
    rows = np.bincount(group)
    largest, smallest = int(rows.max()), int(wanted.sum(axis=1).min())
    estimated = True
    if "identity_source" in table.column_names:
        sources = pc.is_in(table["identity_source"], pa.array(["real", "uncertain"]))
        estimated = bool(pc.any(sources).as_py())
    people = People(int((rows > 0).sum()), largest, estimated)
    if largest > smallest:
        lower = "run dfdc-prep identify with a lower --threshold, or " if people.estimated else ""
        name = table[IDENTITY][int((group == rows.argmax()).argmax())].as_py()
        raise TableError(
            f"expected groups of {people.what} of at most {counted(smallest, 'crop')}, the "
            f"smallest split, found {largest:,} ({100 * largest / len(group):.1f} % of all) around "
            f"{name}; {lower}use --group-by part"
        )
    return people


def _split_groups(group: Codes, label: Codes, wanted: Counts, seed: int) -> Codes:
    """Assign every group to one split; return the split of each row, int64 [rows]."""
    # Kinds: the distinct pairs of REAL and FAKE rows that a group has.
    sizes = count_rows(group, label, int(group.max()) + 1)
    base = int(sizes.max()) + 1
    code, kind, counts = np.unique(
        sizes[:, 0] * base + sizes[:, 1], return_inverse=True, return_counts=True
    )
    kinds = np.stack(np.divmod(code, base), axis=1)
    allocation = allocate(kinds, counts, wanted, seed)

    # Shuffle the groups, sort them by kind, and give each split its number of each kind.
    shuffled = np.random.RandomState(seed).permutation(len(sizes))
    shuffled = shuffled[np.argsort(kind[shuffled], kind="stable")]
    split = np.empty(len(sizes), np.int64)
    split[shuffled] = np.repeat(np.tile(np.arange(len(wanted)), len(kinds)), allocation.ravel())
    return split[group]


def _split_rows(label: Codes, plan: SplitPlan) -> Codes:
    """Split as the paper does: single rows at random, stratified by label, ignoring families.

    The last split is separated first, then the one before it, each with the same seed.
    """
    # Imported here because it loads slowly, and other ways to split do without.
    from sklearn.model_selection import train_test_split

    rows, split = np.arange(len(label)), np.zeros(len(label), np.int64)
    names = np.array(LABELS)[label]
    for index in range(len(plan.names) - 1, 0, -1):
        fraction = float(plan.weights[index] / plan.weights[: index + 1].sum())
        try:
            rows, test = train_test_split(
                rows, test_size=round(fraction, 9), random_state=plan.seed, stratify=names[rows]
            )
        except ValueError as error:
            raise TableError(
                f"expected enough rows of each label for every split, found too few ({error}); "
                f"give more rows or fewer splits"
            ) from error
        split[test] = index
    return split
