"""What a trial is, and the table of many."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

SURVIVED, SKIPPED = "survived", "skipped"
#: What can be lost, in the order of the table's columns.
LOSSES = ("lost", "traceback", "hang", "outside")


@dataclass(frozen=True)
class Trial:
    """One harm done to one command, and how it ended.

    Attributes:
        kind: the row of the table it counts in.
        name: enough to do it again: what, where, when.
        end: survived, skipped, or one of LOSSES.
        why: what was lost, or why it was skipped.
    """

    kind: str
    name: str
    end: str = SURVIVED
    why: str = ""


class Table:
    """Counts trials, a row a kind."""

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
        """The rows, every loss and every skip by name, and the line of totals."""
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
        told = Counter(count, trials=count.total() - count[SKIPPED])
        return "".join([f"{kind:26}", *(f"{told[head]:>10,}" for head in heads)])
