"""The training loop: one call of `model.fit` per epoch, with a checkpoint after each.

The training data of an epoch depend only on the seed and the epoch's number, so a resumed run
sees the same batches as an uninterrupted one.

No callback makes a step wait for the host: per batch they do nothing, or they run in Keras's
threads, which read the metrics of a batch while the next ones are computed.
"""

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import numpy.typing as npt

from dfdc_prep.hyperparameters import Recipe
from dfdc_prep.progress import Progress
from dfdc_prep.run_files import FitConfig
from manifests.errors import TrainingError
from manifests.files import atomic_file
from training.data import augmentation, input_pipeline
from training.data.shards import Shards
from training.models import classifier
from training.models.devices import Devices
from training.runs import checkpoints
from training.runs.folder import Run

#: The decoded crops of a split, None to read its shards.
Decoded = npt.NDArray[np.void] | None
#: Steps that are profiled: after those that compile the model and fill the input pipeline.
PROFILED_STEPS = range(10, 20)


@dataclass
class TrainingPlan:
    """The inputs of a training, except its run folder."""

    shards: Shards
    recipe: Recipe
    options: FitConfig
    weights_file: Path | None  # from `training.models.classifier.resolve_weights`
    devices: Devices
    profile: Path | None = None  # folder for a trace of a few steps of the first epoch trained
    cache: str = input_pipeline.NONE  # where decoded crops are kept: none, memory or disk
    batch_size: int = field(init=False)  # the recipe's, at most the size of the training split
    steps: int = field(init=False)  # batches per epoch

    def __post_init__(self) -> None:
        images = self.shards.count("train")
        self.batch_size = min(self.recipe.batch_size, images)
        self.steps = self.options.steps_per_epoch or images // self.batch_size

    def epoch_data(self, epoch: int, decoded: Decoded = None) -> Any:
        """The augmented batches of one epoch, from 1, of decoded crops or else of the shards."""
        # An independent 32-bit seed for each epoch.
        seed = int(np.random.SeedSequence([self.options.seed, epoch]).generate_state(1)[0])

        repeat = self.options.steps_per_epoch is not None

        def batches() -> Any:
            dataset = input_pipeline.make_dataset(
                self.shards, "train", self.batch_size, seed=seed, repeat=repeat, decoded=decoded
            )
            return augmentation.augment(dataset, self.recipe.augmentation, seed)

        return input_pipeline.in_same_order(batches) if self.devices.mirrored else batches()


def train(
    plan: TrainingPlan, run: Run, log: Callable[[str], object]
) -> list[checkpoints.HistoryRow]:
    """Train all epochs of the recipe, resuming from the last intact checkpoint.

    Writes the checkpoint with the lowest validation loss to `model.keras`; returns history.csv.

    Args:
        run: a run folder set up by `Run.prepare`.
        log: called with a message for each checkpoint that is skipped.

    Raises:
        TrainingError: a metric is not finite, the run folder was removed, or no checkpoint is
            intact.
    """
    with plan.devices.scope():
        keras.utils.set_random_seed(plan.options.seed)
        model, rows = checkpoints.restore(run, log)
        run.write_history(rows)
        recipe, head_epochs = plan.recipe, plan.recipe.head_epochs
        if model is None:
            model = classifier.build_model(recipe, plan.weights_file, plan.options.precision)
        decoded: dict[str, Decoded] = {}
        first = len(rows) + 1
        for epoch in range(first, recipe.epochs + 1):
            if checkpoints.should_stop(rows, recipe.patience):
                break
            # Only now: a finished run that is started again needs nothing decoded.
            decoded = decoded or {
                split: input_pipeline.decode_split(plan.shards, split, plan.cache, run.folder)
                for split in ("train", "validation")
            }
            if epoch in (1, head_epochs + 1):  # else a restored model, which is compiled
                head = epoch <= head_epochs
                steps = (head_epochs if head else recipe.epochs - head_epochs) * plan.steps
                classifier.compile_model(model, recipe, head_only=head, steps=steps)
            if epoch in (first, head_epochs + 1):
                click.echo("compiling the training step", err=True)
            callbacks = [EpochMetrics(run.logs, write_graph=False)]
            if plan.profile and epoch == first:
                callbacks.append(Profiler(plan.profile, plan.steps))
            rows.append(_fit_epoch(model, plan, decoded, epoch, callbacks))
            # The TensorBoard callback recreates a removed run folder, so check for its config.
            run.check_exists()
            checkpoints.save(run, model, rows)
            run.space.push()
    best = checkpoints.best_epoch(rows)
    assert best is not None
    with atomic_file(run.model_file) as partial:
        shutil.copyfile(checkpoints.checkpoint_path(run, best), partial)
    return rows


def _fit_epoch(
    model: Any,
    plan: TrainingPlan,
    decoded: Mapping[str, Decoded],
    epoch: int,
    callbacks: list[keras.callbacks.Callback],
) -> checkpoints.HistoryRow:
    """Train and validate one epoch; return its row of history.csv, all of it finite."""
    bar = ProgressBar(
        f"epoch {epoch}/{plan.recipe.epochs}", plan.steps * plan.batch_size, plan.batch_size
    )
    images = plan.shards.count("validation")
    validation_batch = plan.devices.validation_batch_size(plan.batch_size, images)
    with (
        input_pipeline.report_read_errors(plan.shards),
        plan.devices.whole_batch_statistics(model),
    ):
        history = model.fit(
            plan.epoch_data(epoch, decoded["train"]),
            initial_epoch=epoch - 1,
            epochs=epoch,
            steps_per_epoch=plan.steps,
            validation_data=input_pipeline.make_dataset(
                plan.shards, "validation", validation_batch, decoded=decoded["validation"]
            ),
            validation_steps=-(-images // validation_batch),
            shuffle=False,
            verbose=0,
            callbacks=[bar, *callbacks],
        ).history
    row = {name: float(values[-1]) for name, values in history.items()}
    for name, value in row.items():
        if not np.isfinite(value):
            raise TrainingError(
                f"expected a finite {name} in epoch {epoch}, found {value}; start over with "
                "--fresh and a smaller --learning-rate or another --precision"
            )
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    return {"epoch": epoch, **row, "learning_rate": rate}


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """The progress of one epoch, of a number of images: their rate, loss and accuracy."""

    async_safe = True  # Keras need not wait for the metrics of each batch

    def __init__(self, description: str, images: int, batch_size: int) -> None:
        super().__init__()
        self._batch_size, self._lock = batch_size, threading.Lock()
        self._new_bar = partial(Progress, images, "images", description)

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = self._new_bar()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        with self._lock:
            if not self._bar.disable:  # off a terminal, nobody waits for the values of a step
                values = {name: f"{logs[name]:.4f}" for name in ("loss", "accuracy")}
                self._bar.set_postfix(values, refresh=False)
            self._bar.update(self._batch_size)

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()


class EpochMetrics(keras.callbacks.TensorBoard):  # type: ignore[misc]
    """Writes the metrics of each epoch for TensorBoard, and nothing per batch."""

    async_safe = True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        pass

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


class Profiler(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes a trace of a few steps, for TensorBoard's profiler; of all if there are too few."""

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__()
        self._folder = folder
        self._first = PROFILED_STEPS.start if steps >= PROFILED_STEPS.stop else 0
        self._last = min(steps, PROFILED_STEPS.stop) - 1
        backend = keras.backend.backend()
        if backend == "tensorflow":
            from tensorflow.profiler import experimental as profiler

            self._start, self._stop = profiler.start, profiler.stop
        elif backend == "jax":
            import jax

            self._start, self._stop = jax.profiler.start_trace, jax.profiler.stop_trace
        else:
            raise TrainingError(
                f"expected Keras on tensorflow or jax for --profile, found {backend}; set "
                "KERAS_BACKEND, or leave out --profile"
            )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self._first:
            self._start(str(self._folder))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self._last:
            self._stop()
