"""The training loop: epoch after epoch of `model.fit`, each one saved before the next.

What an epoch trains on depends on the seed and its number alone, so a run that was killed
and went on sees what one that was never killed would have seen.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from manifests.io.atomic import atomic_file
from training.data import augmentation, input_pipeline
from training.errors import TrainingError
from training.models import classifier
from training.models.devices import Devices
from training.recipes import Recipe
from training.runs import checkpoints
from training.runs.folder import Run


@dataclass(frozen=True)
class Plan:
    """All a training needs to know besides its folder.

    Attributes:
        weights_file: what `training.weights.resolve` gave.
        steps_per_epoch: batches an epoch; None for one pass over the training split.
    """

    shards: Path
    recipe: Recipe
    weights_file: Path | None
    precision: str
    seed: int
    steps_per_epoch: int | None
    devices: Devices

    @property
    def batch(self) -> int:
        """The recipe's batch, or all there is where the training split holds less."""
        return min(self.recipe.batch_size, input_pipeline.count(self.shards, "train"))

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self.steps_per_epoch or input_pipeline.count(self.shards, "train") // self.batch

    def epoch_data(self, epoch: int) -> Any:
        """The batches of one epoch (counted from 1), augmented."""
        seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        batches = input_pipeline.dataset(
            self.shards,
            "train",
            self.batch,
            training=True,
            seed=seed,
            repeat=self.steps_per_epoch is not None,
        )
        return augmentation.apply(batches, self.recipe.augmentation, seed)


class Bar(keras.callbacks.Callback):  # type: ignore[misc]
    """A tqdm bar over the steps of an epoch, with rate, loss and accuracy."""

    def __init__(self, epoch: int, plan: Plan) -> None:
        super().__init__()
        self._text, self._plan = f"epoch {epoch}/{plan.recipe.epochs}", plan

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = tqdm(
            total=self._plan.steps * self._plan.batch, desc=self._text, unit="img", disable=None
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.set_postfix(
            {name: f"{logs[name]:.4f}" for name in ("loss", "accuracy")}, refresh=False
        )
        self._bar.update(self._plan.batch)

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()


def train(plan: Plan, run: Run, say: Callable[[str], object]) -> list[checkpoints.Row]:
    """Train to the end of the recipe, or go on from the last good epoch, and keep the best.

    Args:
        run: a folder that `Run.begin` has begun.
        say: takes a line on each checkpoint that is passed over.

    Returns:
        The rows of history.csv. `model.keras` is the epoch of the lowest validation loss.

    Raises:
        TrainingError: the loss is no longer a number, somebody removed the run's folder, or
            broke every checkpoint in it.
    """
    with plan.devices.scope():
        keras.utils.set_random_seed(plan.seed)
        network, rows = checkpoints.restore(run, say)
        run.write_history(rows)
        if network is None:
            network = classifier.build(plan.recipe, plan.weights_file, plan.precision)
    validation_steps = -(-input_pipeline.count(plan.shards, "validation") // plan.batch)
    for epoch in range(len(rows) + 1, plan.recipe.epochs + 1):
        if checkpoints.stopped(rows, plan.recipe.patience):
            break
        _enter_phase(network, plan, epoch)
        with input_pipeline.readable(plan.shards):
            logs = network.fit(
                plan.epoch_data(epoch),
                initial_epoch=epoch - 1,
                epochs=epoch,
                steps_per_epoch=plan.steps,
                validation_data=input_pipeline.dataset(plan.shards, "validation", plan.batch),
                validation_steps=validation_steps,
                shuffle=False,
                verbose=0,
                callbacks=[
                    Bar(epoch, plan),
                    keras.callbacks.TensorBoard(run.logs, write_graph=False),
                ],
            ).history
        rate = float(keras.ops.convert_to_numpy(network.optimizer.learning_rate))
        row = {name: float(values[-1]) for name, values in logs.items()}
        _check_finite(row, epoch)
        rows.append({"epoch": epoch, **row, "learning_rate": rate})
        run.check_there()  # TensorBoard makes its folder anew, and with it the run's
        checkpoints.save(run, network, rows)
    _keep_best(run, rows)
    return rows


def _check_finite(row: Mapping[str, float], epoch: int) -> None:
    for name, value in row.items():
        if not np.isfinite(value):
            raise TrainingError(
                f"expected a finite {name} in epoch {epoch}, found {value}; give a smaller "
                "--learning-rate or another --precision, with --fresh"
            )


def _enter_phase(network: Any, plan: Plan, epoch: int) -> None:
    """Compile at the first epoch of a phase; a restored model is compiled already."""
    recipe = plan.recipe
    if epoch == 1 and recipe.head_epochs:
        head_steps = recipe.head_epochs * plan.steps
        with plan.devices.scope():
            classifier.compile_for(network, recipe, head_only=True, steps=head_steps)
    elif epoch == recipe.head_epochs + 1:
        steps = (recipe.epochs - recipe.head_epochs) * plan.steps
        with plan.devices.scope():
            classifier.compile_for(network, recipe, head_only=False, steps=steps)


def _keep_best(run: Run, rows: list[checkpoints.Row]) -> None:
    chosen = checkpoints.best(rows)
    assert chosen is not None
    with atomic_file(run.model_file) as half:
        shutil.copyfile(checkpoints.path_of(run, chosen), half)
