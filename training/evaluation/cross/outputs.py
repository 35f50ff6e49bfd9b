"""Where the results of an evaluation go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.cross.sets import numbered
from training.evaluation.evaluator import default_output
from training.runs.folder import Run

#: Folder in the working folder for evaluations of model files, and in a run for those of the run.
EVALUATIONS = "evaluations"
#: Folder for the results of models that are evaluated beside another.
BESIDE = "beside"


@dataclass(frozen=True)
class OutputPlan:
    """The folders of an evaluation.

    Attributes:
        shards: what is evaluated.
        folders: the folder for the results on each.
        base: the folder for the table of all.
    """

    shards: tuple[Path, ...]
    folders: tuple[Path, ...]
    base: Path

    def beside(self, name: str) -> "OutputPlan":
        """The same for another model, whose own folder stays as it is."""
        base = self.base / BESIDE / name
        names = numbered([folder.name for folder in self.folders])
        return OutputPlan(self.shards, tuple(base / each for each in names), base)


def plan_for_run(run: Run, shards: Sequence[Path], split: str, out: Path | None) -> OutputPlan:
    """One set goes into a folder of its own, several into the run's and its `evaluations`.

    Args:
        shards: none for the run's training shards.
        out: in place of the default folder.
    """
    sources = tuple(shards) or (Path(run.config().shards),)
    if len(sources) == 1:
        base = out or default_output(run, sources[0], split)
        return OutputPlan(sources, (base,), base)
    inside = out or run.folder / EVALUATIONS
    folders = tuple(
        run.folder if not out and default_output(run, each, split) == run.folder else folder
        for each, folder in zip(sources, _folders(inside, sources, split), strict=True)
    )
    return OutputPlan(sources, folders, out or run.folder)


def plan_for_file(path: Path, shards: Sequence[Path], split: str, out: Path | None) -> OutputPlan:
    """A folder for each set, in `evaluations/NAME` of the working folder."""
    base = out or Path(EVALUATIONS) / path.resolve().stem
    return OutputPlan(tuple(shards), tuple(_folders(base, shards, split)), base)


def _folders(base: Path, shards: Sequence[Path], split: str) -> list[Path]:
    names = numbered([f"{each.resolve().name}-{split}" for each in shards])
    return [base / name for name in names]
