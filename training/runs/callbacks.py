"""Keras callbacks of a training: the progress bar, the epoch's metrics, the profiler.

None of them makes a step wait for the host: per batch they do nothing, or they run in Keras's
threads, which read the metrics of a batch while the next ones are computed.
"""

import threading
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from manifests.errors import TrainingError

#: Steps that are profiled: after those that compile the model and fill the input pipeline.
PROFILED_STEPS = range(10, 20)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
    """A tqdm progress bar for one epoch, with images per second, loss and accuracy.

    Args:
        images: images per epoch.
        batch_size: images per step.
    """

    async_safe = True  # Keras need not wait for the metrics of each batch

    def __init__(self, description: str, images: int, batch_size: int) -> None:
        super().__init__()
        self._description, self._images, self._batch_size = description, images, batch_size
        self._lock = threading.Lock()

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = tqdm(total=self._images, desc=self._description, unit="img", disable=None)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self._bar.disable:
            values = {name: f"{logs[name]:.4f}" for name in ("loss", "accuracy")}
            with self._lock:
                self._bar.set_postfix(values, refresh=False)
                self._bar.update(self._batch_size)

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()


class EpochMetrics(keras.callbacks.TensorBoard):  # type: ignore[misc]
    """Writes the metrics of each epoch for TensorBoard, and nothing per batch."""

    async_safe = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, write_graph=False)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        pass

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


class Profiler(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes a trace of a few steps, for TensorBoard's profiler; of all if there are too few.

    Raises:
        TrainingError: Keras's backend has no profiler.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__()
        self._folder = folder
        self._first = PROFILED_STEPS.start if steps >= PROFILED_STEPS.stop else 0
        self._last = min(steps, PROFILED_STEPS.stop) - 1
        backend = keras.backend.backend()
        if backend == "tensorflow":
            import tensorflow as tf

            profiler = tf.profiler.experimental
            self._start, self._stop = profiler.start, profiler.stop
        elif backend == "jax":
            import jax

            self._start, self._stop = jax.profiler.start_trace, jax.profiler.stop_trace
        else:
            raise TrainingError(
                f"expected Keras on tensorflow or jax for --profile, found {backend}; set "
                "KERAS_BACKEND, or omit --profile"
            )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self._first:
            self._start(str(self._folder))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self._last:
            self._stop()
