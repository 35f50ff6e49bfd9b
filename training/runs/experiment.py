"""One training: check the inputs, train, evaluate. TensorFlow is imported after the checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dfdc_prep.run_files import FitConfig, RunConfig, SplitMetrics
from dfdc_prep.storage.urls import Location
from manifests.files import folder_lock
from training import recipes, without_startup_notes
from training.data.shards import DEFAULT_GB, open_shards
from training.runs.folder import open_run


@dataclass(frozen=True)
class FitOptions:
    """The options of `dfdc-prep fit`."""

    shards: Location
    recipe: str
    overrides: Mapping[str, Any]  # values that replace fields of the recipe
    out: Location  # the run folder
    weights: str = "imagenet"  # or "none", or the path of a weights file
    steps_per_epoch: int | None = None  # None for one pass over the training split
    seed: int = 42
    precision: str = "float32"
    require_gpu: bool = False
    fresh: bool = False  # delete an existing run in `out` first
    profile: Path | None = None  # folder for a trace of a few steps
    cache: str = "none"  # where decoded crops are kept: none, memory or disk
    cache_gb: float = DEFAULT_GB  # size of the cache of shards in a bucket, 10**9 bytes


def fit(options: FitOptions, log: Callable[[str], object]) -> SplitMetrics:
    """Train and evaluate, or resume an interrupted run; write the run folder.

    Args:
        log: called with each progress message.

    Returns:
        The metrics on the test split.

    Raises:
        TrainingError: weights, shards, device or run folder cannot be used, or training fails.
        StorageError: a bucket cannot be reached or written.
    """
    with (
        open_shards(options.shards, options.cache_gb) as shards,
        open_run(options.out, writes=True) as run,
    ):
        data = shards.describe()
        recipe = recipes.choose_recipe(options.recipe, options.overrides)

        with without_startup_notes():
            from training.evaluation.evaluator import evaluate
            from training.models import classifier, devices
            from training.runs import trainer

        devices.keep_compiled()
        used_devices = devices.find_devices(require_gpu=options.require_gpu)
        log(used_devices.description())
        if unused := used_devices.unused_card():
            log(unused)
        weights_file = classifier.resolve_weights(options.weights, recipe.backbone)
        totals = {split: sum(counts.values()) for split, counts in data.counts.items()}
        differences = recipes.describe_differences(recipe, totals)
        for line in differences:
            log(f"differs from the published recipe: {line}")
        fitted = FitConfig(
            options.weights, options.steps_per_epoch, options.precision, options.seed
        )
        config = RunConfig(
            recipe,
            fitted,
            data,
            str(shards if shards.cache else shards.folder.resolve()),
            differences,
            used_devices.description(),
            # Of the module: the package may be tensorflow-cpu.
            {
                name: import_module(name.replace("scikit-learn", "sklearn")).__version__
                for name in ("keras", "tensorflow", "numpy", "scikit-learn")
            },
        )
        plan = trainer.TrainingPlan(
            shards, recipe, fitted, weights_file, used_devices, options.profile, options.cache
        )
        used_devices.check_batch_size(plan.batch_size)
        with folder_lock(run.folder):
            run.prepare(config, fresh=options.fresh)
            trainer.train(plan, run, log)
            return evaluate(run, shards, plan.batch_size)
