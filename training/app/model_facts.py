"""What the pages say about the model of a run."""

from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.runs.folder import Run


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
    with run.report_invalid_files():
        config, metrics = run.config(), run.metrics()
        image, recipe = metrics["image"], config["recipe"]
        trained = sum(config["data"]["counts"]["train"].values())
        rows = [
            ("Model", f"{recipe['backbone']}, recipe {recipe['name']}"),
            ("Trained on", f"{trained:,} face crops"),
            (f"Accuracy on its {metrics['split']} split", _with_interval(image, "accuracy")),
            ("ROC-AUC there", _with_interval(image, "auc")),
        ]
    if not run.model_file.is_file():
        raise TrainingError(
            f"expected a model.keras in {folder}, found none; give the folder of a finished run "
            "of python -m training.fit"
        )
    return ModelFacts(folder, tuple(rows))


def _with_interval(metrics: dict[str, object], name: str) -> str:
    value = metrics[name]
    if not isinstance(value, (int, float)):
        return "unknown"
    intervals = metrics["interval"]
    low, high = intervals[name] if isinstance(intervals, dict) else (None, None)
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} (95 %: {low:.3f} to {high:.3f})"
