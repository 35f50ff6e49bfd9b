"""The devices a training runs on: all GPUs of the machine, or the CPU.

With several GPUs on the TensorFlow backend, batches are split by
`tf.distribute.MirroredStrategy`, which has no counterpart in Keras's own interface.
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
    """The GPUs of a run by Keras name ("gpu:0"); empty for the CPU."""

    gpus: tuple[str, ...]
    backend: str

    def description(self) -> str:
        """One line on the devices and the backend, also recorded in config.json."""
        if not self.gpus:
            return f"device: CPU ({os.cpu_count()} cores), Keras on {self.backend}; found no GPU"
        shared = ", each batch shared among them" if self.mirrored else ""
        return f"device: {', '.join(self.gpus)}, Keras on {self.backend}{shared}"

    @property
    def mirrored(self) -> bool:
        """Whether each batch is split across several GPUs."""
        return len(self.gpus) > 1 and self.backend == "tensorflow"

    @cached_property
    def _strategy(self) -> Any:
        """Cached for the whole run: Keras rejects a model built in the scope of another one."""
        import tensorflow as tf

        return tf.distribute.MirroredStrategy()

    def scope(self) -> AbstractContextManager[Any]:
        """Context in which a model must be built, loaded and compiled."""
        if not self.mirrored:
            return nullcontext()
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope


def find_devices(*, require_gpu: bool = False) -> Devices:
    """Find the devices of this machine.

    Raises:
        TrainingError: a GPU is required and none is found.
    """
    backend = keras.backend.backend()
    gpus = tuple(name for name in keras.distribution.list_devices() if not name.startswith("cpu"))
    if require_gpu and not gpus:
        raise TrainingError(
            f"expected a GPU for Keras on {backend}, found none; check the driver and the CUDA "
            "libraries, or omit --require-gpu"
        )
    return Devices(gpus, backend)
