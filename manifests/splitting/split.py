"""Which split every crop goes to: exact counts, and no family in two splits.

Families with the same number of REAL and FAKE crops can stand for one another, so the
decision is taken for each such kind of family, a few hundred of them however many rows the
table has: how many go to each split. Largest first, each kind is dealt out in proportion
to the room left; where that does not come out even, an integer program looks for a better
deal. Which of the equal families goes where is the seed's choice.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sklearn.model_selection import train_test_split

from manifests.auditing.leakage import Leak, Splits, by_key
from manifests.errors import TableError
from manifests.labels import LABELS
from manifests.schema import SPLIT
from manifests.splitting.allocation import Counts, deal, quotas
from manifests.splitting.spec import SplitPlan
from manifests.tables import families
from manifests.tables.factorize import Codes, encode_sorted, labels, texts

__all__ = ["Assignment", "SplitPlan", "assign", "with_split"]


@dataclass(frozen=True)
class Assignment:
    """The split of every row, and how near it came to what was asked for.

    Attributes:
        names: string [rows], the split of each row, in the order of the rows.
        plan: what was asked for.
        wanted: int64 [splits, labels], how many rows each split should have.
        placed: int64 [splits, labels], how many it has.
        leaks: what each pair of splits shares, by family.
    """

    names: pa.Array
    plan: SplitPlan
    wanted: Counts
    placed: Counts
    leaks: tuple[Leak, ...]

    @property
    def shortfall(self) -> Counts:
        """How many rows each split lacks, int64 [splits, labels]."""
        short: Counts = np.maximum(self.wanted - self.placed, 0)
        return short

    @property
    def leaking(self) -> bool:
        """Whether any family stands in two splits."""
        return any(leak.shared for leak in self.leaks)

    def text(self) -> str:
        """What stands where, what falls short, what leaks: a few lines."""
        lines = [self._line(index) for index in range(len(self.plan.names))]
        if self.shortfall.any():
            lines.append(f"no family-safe split hits the counts; {self.shortfall.sum():,} rows off")
        if not self.leaking:
            return "\n".join([*lines, "no family stands in two splits"])
        lines += [leak.text("families") for leak in self.leaks if leak.shared]
        return "\n".join([*lines, "this split leaks; --group-by original avoids it"])

    def _line(self, index: int) -> str:
        cells = [
            f"{placed:,} {label}" + (f" ({placed - wanted:+,})" if placed != wanted else "")
            for label, placed, wanted in zip(
                LABELS, self.placed[index].tolist(), self.wanted[index].tolist(), strict=True
            )
        ]
        return f"{self.plan.names[index]}: {', '.join(cells)}"


def assign(table: pa.Table, plan: SplitPlan) -> Assignment:
    """Give every row of a table its split.

    Args:
        table: with the columns label and family (or video and original to tell the family
            from), and the one `plan.group_by` names.
        plan: the splits, what may not be torn apart, and the seed.

    Returns:
        The split of each row, in the order of the rows. Unless `group_by` is none the
        split of a row depends on the rows there are and not on their order.

    Raises:
        TableError: no row, no such column, or an empty cell in it.
    """
    label = labels(table)
    (family,), names = encode_sorted(families.of(table))
    if plan.group_by == "none":
        split = _at_random(label, plan)
        wanted = _tally(split, label, len(plan.names))
    else:
        group = _groups(table, plan.group_by, family, len(names))
        wanted = _wanted(label, plan)
        split = _by_group(group, label, wanted, plan.seed)
    return Assignment(
        pa.array(plan.names).take(pa.array(split)),
        plan,
        wanted,
        _tally(split, label, len(plan.names)),
        tuple(by_key(family, Splits(split, label, plan.names, LABELS))),
    )


def with_split(table: pa.Table, assignment: Assignment) -> pa.Table:
    """The table with its `split`; one it had before is replaced."""
    if "split" in table.column_names:
        table = table.drop_columns(["split"])
    return table.append_column(SPLIT.field("split"), assignment.names)


def _tally(split: Codes, label: Codes, splits: int) -> Counts:
    """How many rows of each label each split has, int64 [splits, labels]."""
    cells = np.bincount(split * len(LABELS) + label, minlength=splits * len(LABELS))
    return cells.reshape(splits, len(LABELS))


def _wanted(label: Codes, plan: SplitPlan) -> Counts:
    have = np.bincount(label, minlength=len(LABELS)).tolist()
    return np.stack([quotas(count, plan.weights) for count in have], axis=1)


def _groups(table: pa.Table, group_by: str, family: Codes, count: int) -> Codes:
    """What may not be torn apart: families, or families tied together by a column's values.

    Args:
        family: int64 [rows], each row's family, numbered by name.
        count: how many families there are.

    Returns:
        int64 [rows], numbered by name and not by the order of the rows.
    """
    if group_by in ("original", "family"):
        return family
    if group_by not in table.column_names:
        raise TableError(
            f"expected original, none or a column to group by, found {group_by!r}; "
            f"the columns are {', '.join(table.column_names)}"
        )
    (value,), values = encode_sorted(texts(table, group_by))
    if value.min() < 0:
        raise TableError(
            f"expected a {group_by} in every row, found {int((value < 0).sum()):,} rows without; "
            f"group by another column"
        )
    return families.tie(count + len(values), family, count + value)[family]


def _by_group(group: Codes, label: Codes, wanted: Counts, seed: int) -> Codes:
    """The split of each row, int64 [rows]: every group whole in one."""
    sizes = _tally(group, label, int(group.max()) + 1)
    most = int(sizes.max()) + 1
    code, kind, counts = np.unique(
        sizes[:, 0] * most + sizes[:, 1], return_inverse=True, return_counts=True
    )
    kinds = np.stack(np.divmod(code, most), axis=1)
    dealt = deal(kinds, counts, wanted)
    drawn = np.random.RandomState(seed).permutation(len(sizes))
    drawn = drawn[np.argsort(kind[drawn], kind="stable")]
    split = np.empty(len(sizes), np.int64)
    split[drawn] = np.repeat(np.tile(np.arange(len(wanted)), len(kinds)), dealt.ravel())
    return split[group]


def _at_random(label: Codes, plan: SplitPlan) -> Codes:
    """The paper's split: rows drawn one by one, stratified by label, relatives or not.

    The last split is cut off first, then the one before it from what is left, each by
    scikit-learn's train_test_split with the same seed.
    """
    rows, split = np.arange(len(label)), np.zeros(len(label), np.int64)
    by_name = np.array(LABELS)[label]
    for index in range(len(plan.names) - 1, 0, -1):
        rest = float(plan.weights[index] / plan.weights[: index + 1].sum())
        try:
            rows, cut = train_test_split(
                rows, test_size=round(rest, 9), random_state=plan.seed, stratify=by_name[rows]
            )
        except ValueError as error:
            raise TableError(
                f"expected enough rows of each label for every split, found too few ({error}); "
                f"give more rows or fewer splits"
            ) from error
        split[cut] = index
    return split
