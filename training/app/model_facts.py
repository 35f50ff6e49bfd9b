"""What the pages say about the model of a run."""

from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.run_files import Interval, Undecided
from manifests.errors import TrainingError
from manifests.labels import FAKE, REAL
from manifests.wording import counted
from training.runs.folder import Run

#: What a score is called that does not tell REAL from FAKE.
UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a run.

    Attributes:
        run: the folder as it was given.
        rows: name and value of each fact.
        tested: on how many clips the model was tested.
        undecided: scores that the pages call neither REAL nor FAKE.
        remarks: what else the reader has to know, one sentence each.
    """

    run: Path
    rows: tuple[tuple[str, str], ...]
    tested: str
    undecided: Undecided
    remarks: tuple[str, ...] = ()

    def word(self, p_fake: float, threshold: float) -> str:
        """What a score is called at a threshold; `static/app.js` decides in the same way."""
        if p_fake >= threshold and p_fake > self.undecided.high:
            return FAKE
        if p_fake < threshold and p_fake < self.undecided.low:
            return REAL
        return UNDECIDED

    @property
    def decides(self) -> bool:
        """Whether any score is called REAL or FAKE."""
        return self.undecided.low > 0 or self.undecided.high < 1


def read_facts(folder: Path) -> ModelFacts:
    """Read the facts from config.json and metrics.json.

    Raises:
        TrainingError: the folder does not contain a finished run.
    """
    run = Run(folder)
    config, metrics = run.config(), run.metrics()
    recipe, image = config.recipe, metrics.image
    trained = sum(config.data.counts.get("train", {}).values())
    few = metrics.too_few
    tested = f"{counted(metrics.clips, 'clip')} of {counted(metrics.families, 'family')}"
    rows = (
        ("Model", f"{recipe.backbone}, recipe {recipe.name}"),
        ("Trained on", f"{trained:,} face crops"),
        ("Tested on", tested),
        ("Accuracy in the test", _with_interval(image.accuracy, image.interval.accuracy, few)),
        ("ROC-AUC in the test", _with_interval(image.auc, image.interval.auc, few)),
    )
    if not run.model_file.is_file():
        raise TrainingError(
            f"expected a model.keras in {folder}, found none; give the folder of a finished run "
            "of python -m training.fit"
        )
    return ModelFacts(folder, rows, tested, metrics.undecided, metrics.remarks)


def _with_interval(value: float | None, interval: Interval, few: str | None) -> str:
    """A figure with its interval; without one, why there is none, and no figure."""
    if value is None or interval.low is None or interval.high is None:
        return few or "unknown"
    return f"{value:.3f} (95 %: {interval.low:.3f} to {interval.high:.3f})"
