"""A trial, and the table of many trials."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

SURVIVED, SKIPPED = "survived", "skipped"
#: What can be lost, in the order of the table's columns.
LOSSES = ("lost", "traceback", "hang", "outside")


@dataclass(frozen=True)
class Trial:
    """One fault injected into one command, and how it ended.

    Attributes:
        kind: the row of the table that counts it.
        name: what, where and when, enough to repeat it.
        end: survived, skipped, or one of LOSSES.
        why: what was lost, or why it was skipped.
    """

    kind: str
    name: str
    end: str = SURVIVED
    why: str = ""


class Table:
    """Counts trials, one row per kind."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}
        self.lost: list[Trial] = []
        self.skipped: list[Trial] = []

    def add(self, trial: Trial) -> None:
        self._counts.setdefault(trial.kind, Counter())[trial.end] += 1
        if trial.end in LOSSES:
            self.lost.append(trial)
        if trial.end == SKIPPED:
            self.skipped.append(trial)

    def text(self) -> str:
        """The rows, each loss and each skip by name, and the totals."""
        heads = ("trials", SURVIVED, *LOSSES)
        lines = ["".join([f"{'':26}", *(f"{head:>10}" for head in heads)])]
        lines += [self._line(kind, count, heads) for kind, count in self._counts.items()]
        lines += [f"skipped: {trial.kind}, {trial.name}: {trial.why}" for trial in self.skipped]
        lines += [f"{trial.end}: {trial.kind}, {trial.name}: {trial.why}" for trial in self.lost]
        total = sum(self._counts.values(), Counter())
        said = ", ".join(f"{total[loss]:,} {loss}" for loss in LOSSES)
        trials = sum(total.values()) - total[SKIPPED]
        return "\n".join([*lines, f"{trials:,} trials, {total[SURVIVED]:,} survived: {said}"])

    def _line(self, kind: str, count: Counter[str], heads: Iterable[str]) -> str:
        counted = Counter(count, trials=count.total() - count[SKIPPED])
        return "".join([f"{kind:26}", *(f"{counted[head]:>10,}" for head in heads)])
