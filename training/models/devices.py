"""What the training runs on: every GPU there is, or the CPU, said in one line.

The one place outside the input pipeline that speaks TensorFlow, and only where Keras runs
on it with several GPUs: `MirroredStrategy` has no counterpart in Keras's own interface.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from training.errors import TrainingError


@dataclass(frozen=True)
class Devices:
    """The GPUs a run uses, by Keras's names ("gpu:0"); none means the CPU."""

    gpus: tuple[str, ...]
    backend: str

    def text(self) -> str:
        if not self.gpus:
            return f"device: CPU ({os.cpu_count()} cores), Keras on {self.backend}; found no GPU"
        shared = ", each batch shared among them" if self.mirrored else ""
        return f"device: {', '.join(self.gpus)}, Keras on {self.backend}{shared}"

    @property
    def mirrored(self) -> bool:
        """Whether a batch is shared among several GPUs."""
        return len(self.gpus) > 1 and self.backend == "tensorflow"

    @cached_property
    def _strategy(self) -> Any:
        """One for the whole run: Keras refuses a model of another one's scope."""
        import tensorflow as tf

        return tf.distribute.MirroredStrategy()

    def scope(self) -> AbstractContextManager[Any]:
        """Where a model must be built, loaded and compiled."""
        if not self.mirrored:
            return nullcontext()
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope


def find(*, require_gpu: bool = False) -> Devices:
    """The devices of this machine.

    Raises:
        TrainingError: a GPU is required and there is none.
    """
    backend = keras.backend.backend()
    gpus = tuple(name for name in keras.distribution.list_devices() if not name.startswith("cpu"))
    if require_gpu and not gpus:
        raise TrainingError(
            f"expected a GPU for Keras on {backend}, found none; check the driver and the CUDA "
            "libraries, or leave --require-gpu out"
        )
    return Devices(gpus, backend)
