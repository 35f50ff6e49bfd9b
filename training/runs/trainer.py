"""The training loop: one call of `model.fit` per epoch, with a checkpoint after each.

The training data of an epoch depend only on the seed and the epoch's number, so a resumed run
sees the same batches as an uninterrupted one.
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
class TrainingPlan:
    """The inputs of a training, except its run folder.

    Attributes:
        weights_file: path from `training.models.pretrained.resolve_weights`.
        precision: one of `training.recipes.PRECISIONS`.
        steps_per_epoch: batches per epoch; None for one pass over the training split.
    """

    shards: Path
    recipe: Recipe
    weights_file: Path | None
    precision: str
    seed: int
    steps_per_epoch: int | None
    devices: Devices

    @property
    def batch_size(self) -> int:
        """The recipe's batch size, at most the size of the training split."""
        return min(self.recipe.batch_size, input_pipeline.count_records(self.shards, "train"))

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return (
            self.steps_per_epoch
            or input_pipeline.count_records(self.shards, "train") // self.batch_size
        )

    def epoch_data(self, epoch: int) -> Any:
        """The augmented batches of one epoch; epochs count from 1."""
        # An independent 32-bit seed for each epoch.
        seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        batches = input_pipeline.make_dataset(
            self.shards,
            "train",
            self.batch_size,
            training=True,
            seed=seed,
            repeat=self.steps_per_epoch is not None,
        )
        return augmentation.augment(batches, self.recipe.augmentation, seed)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """A tqdm progress bar for one epoch, with images per second, loss and accuracy."""

    def __init__(self, epoch: int, plan: TrainingPlan) -> None:
        super().__init__()
        self._description, self._plan = f"epoch {epoch}/{plan.recipe.epochs}", plan

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = tqdm(
            total=self._plan.steps * self._plan.batch_size,
            desc=self._description,
            unit="img",
            disable=None,
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.set_postfix(
            {name: f"{logs[name]:.4f}" for name in ("loss", "accuracy")}, refresh=False
        )
        self._bar.update(self._plan.batch_size)

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()


def train(
    plan: TrainingPlan, run: Run, log: Callable[[str], object]
) -> list[checkpoints.HistoryRow]:
    """Train all epochs of the recipe, resuming from the last intact checkpoint.

    Writes the checkpoint with the lowest validation loss to `model.keras`.

    Args:
        run: a run folder set up by `Run.prepare`.
        log: called with a message for each checkpoint that is skipped.

    Returns:
        The rows of history.csv.

    Raises:
        TrainingError: a loss or metric is not finite, the run folder was removed during
            training, or no checkpoint is intact.
    """
    with plan.devices.scope():
        keras.utils.set_random_seed(plan.seed)
        model, rows = checkpoints.restore(run, log)
        run.write_history(rows)
        if model is None:
            model = classifier.build_model(plan.recipe, plan.weights_file, plan.precision)
    validation_steps = -(
        -input_pipeline.count_records(plan.shards, "validation") // plan.batch_size
    )
    for epoch in range(len(rows) + 1, plan.recipe.epochs + 1):
        if checkpoints.should_stop(rows, plan.recipe.patience):
            break
        _compile_phase(model, plan, epoch)
        with input_pipeline.report_read_errors(plan.shards):
            logs = model.fit(
                plan.epoch_data(epoch),
                initial_epoch=epoch - 1,
                epochs=epoch,
                steps_per_epoch=plan.steps,
                validation_data=input_pipeline.make_dataset(
                    plan.shards, "validation", plan.batch_size
                ),
                validation_steps=validation_steps,
                shuffle=False,
                verbose=0,
                callbacks=[
                    ProgressBar(epoch, plan),
                    keras.callbacks.TensorBoard(run.logs, write_graph=False),
                ],
            ).history
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        row = {name: float(values[-1]) for name, values in logs.items()}
        _check_finite(row, epoch)
        rows.append({"epoch": epoch, **row, "learning_rate": rate})
        # The TensorBoard callback recreates a removed run folder, so check for its config.
        run.check_exists()
        checkpoints.save(run, model, rows)
        run.publish()
    _write_best_model(run, rows)
    return rows


def _check_finite(row: Mapping[str, float], epoch: int) -> None:
    for name, value in row.items():
        if not np.isfinite(value):
            raise TrainingError(
                f"expected a finite {name} in epoch {epoch}, found {value}; start over with "
                "--fresh and a smaller --learning-rate or another --precision"
            )


def _compile_phase(model: Any, plan: TrainingPlan, epoch: int) -> None:
    """Compile at the first epoch of a phase; a restored model is already compiled."""
    recipe = plan.recipe
    if epoch == 1 and recipe.head_epochs:
        head_steps = recipe.head_epochs * plan.steps
        with plan.devices.scope():
            classifier.compile_model(model, recipe, head_only=True, steps=head_steps)
    elif epoch == recipe.head_epochs + 1:
        steps = (recipe.epochs - recipe.head_epochs) * plan.steps
        with plan.devices.scope():
            classifier.compile_model(model, recipe, head_only=False, steps=steps)


def _write_best_model(run: Run, rows: list[checkpoints.HistoryRow]) -> None:
    best = checkpoints.best_epoch(rows)
    assert best is not None
    with atomic_file(run.model_file) as partial:
        shutil.copyfile(checkpoints.checkpoint_path(run, best), partial)
