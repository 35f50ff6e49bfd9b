"""One call of `training.fit`: check everything that can fail early, train, test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from manifests.io.locks import folder_lock
from training import recipes
from training.data import shard_info
from training.evaluation import evaluator, text_report
from training.models import devices, pretrained
from training.runs import trainer
from training.runs.folder import Run

LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Session:
    """The options of `python -m training.fit`."""

    shards: Path
    recipe: str
    overrides: Mapping[str, Any]
    out: Path
    weights: str = "imagenet"
    steps_per_epoch: int | None = None
    seed: int = 42
    precision: str = "float32"
    require_gpu: bool = False
    fresh: bool = False


def fit(session: Session, say: Callable[[str], object]) -> str:
    """Train, evaluate, write the run folder; go on where an earlier call was stopped.

    Args:
        say: takes the lines to show while it runs.

    Returns:
        What became of it, as text.

    Raises:
        TrainingError: before anything long, where weights, shards, device or folder will not do.
    """
    found = devices.find(require_gpu=session.require_gpu)
    say(found.text())
    described = shard_info.describe(session.shards)
    recipe = recipes.choose(session.recipe, session.overrides)
    weights_file = pretrained.resolve(session.weights, recipe.backbone)
    totals = {split: sum(counts.values()) for split, counts in described["counts"].items()}
    differences = recipes.differences(recipe, totals)
    for line in differences:
        say(f"not as published: {line}")
    run = Run(session.out)
    config = _config(session, recipe, described, differences, found.text())
    plan = trainer.Plan(
        session.shards,
        recipe,
        weights_file,
        session.precision,
        session.seed,
        session.steps_per_epoch,
        found,
    )
    with folder_lock(run.folder):
        run.begin(config, fresh=session.fresh)
        trainer.train(plan, run, say)
        said = evaluator.evaluate(run, session.shards, "test", run.folder, plan.batch)
    text = text_report.text(said)
    return f"{text}\nthe run lies in {run.folder}: model.keras, report.txt, README.md"


def _config(
    session: Session,
    recipe: recipes.Recipe,
    described: dict[str, Any],
    differences: list[str],
    device: str,
) -> dict[str, Any]:
    return {
        "recipe": recipe.values(),
        "options": {
            "weights": session.weights,
            "steps_per_epoch": session.steps_per_epoch,
            "precision": session.precision,
            "seed": session.seed,
        },
        "data": described,
        "shards": str(session.shards.resolve()),
        "differences": differences,
        "device": device,
        "versions": {name: version(name) for name in LIBRARIES},
    }
