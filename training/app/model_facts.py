"""What the pages say about the model of a run."""

from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.runs.folder import Run
from training.schemas import Interval


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a run.

    Attributes:
        run: the folder as it was given.
        rows: name and value of each fact.
    """

    run: Path
    rows: tuple[tuple[str, str], ...]


def read_facts(folder: Path) -> ModelFacts:
    """Read the facts from config.json and metrics.json.

    Raises:
        TrainingError: the folder does not contain a finished run.
    """
    run = Run(folder)
    config, metrics = run.config(), run.metrics()
    recipe, image = config.recipe, metrics.image
    trained = sum(config.data.counts.get("train", {}).values())
    rows = (
        ("Model", f"{recipe.backbone}, recipe {recipe.name}"),
        ("Trained on", f"{trained:,} face crops"),
        (
            f"Accuracy on its {metrics.split} split",
            _with_interval(image.accuracy, image.interval.accuracy),
        ),
        ("ROC-AUC on the same split", _with_interval(image.auc, image.interval.auc)),
    )
    if not run.model_file.is_file():
        raise TrainingError(
            f"expected a model.keras in {folder}, found none; give the folder of a finished run "
            "of python -m training.fit"
        )
    return ModelFacts(folder, rows)


def _with_interval(value: float | None, interval: Interval) -> str:
    if value is None:
        return "unknown"
    if interval.low is None or interval.high is None:
        return f"{value:.3f}"
    return f"{value:.3f} (95 %: {interval.low:.3f} to {interval.high:.3f})"
