"""The devices a training runs on: all GPUs of the machine, or the CPU.

With several GPUs, each batch is divided among them: on the TensorFlow backend by
`tf.distribute.MirroredStrategy`, on JAX by `keras.distribution.DataParallel`. Batch statistics
are those of the whole batch, so the result is that of one GPU up to rounding.
"""

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import keras
import pooch

from manifests.errors import TrainingError
from manifests.wording import counted


@dataclass(frozen=True)
class Devices:
    """The GPUs of a run by Keras name ("gpu:0"); empty for the CPU."""

    gpus: tuple[str, ...]
    backend: str

    def description(self) -> str:
        """One line on the devices and the backend, also recorded in config.json."""
        if not self.gpus:
            cores = counted(os.cpu_count() or 1, "core")
            return f"device: CPU ({cores}), Keras on {self.backend}; found no GPU"
        shared = ", each batch shared among them" if self.shares_batches else ""
        return f"device: {', '.join(self.gpus)}, Keras on {self.backend}{shared}"

    @property
    def shares_batches(self) -> bool:
        """Whether each batch is divided among several GPUs."""
        return len(self.gpus) > 1 and self.backend in ("tensorflow", "jax")

    @property
    def mirrored(self) -> bool:
        """Whether TensorFlow's `MirroredStrategy` divides the batches."""
        return self.shares_batches and self.backend == "tensorflow"

    def unused_card(self) -> str | None:
        """What is wrong where a card is there that Keras cannot use, and how to mend it."""
        if self.gpus or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
            return None
        if not (cards := installed_cards()):
            return None
        extra = "jax" if self.backend == "jax" else "gpu"
        return (
            f"{cards[0]} is in this machine, and Keras on {self.backend} cannot use it: NVIDIA's "
            f"libraries are missing, or do not fit the driver; install them by scripts/install "
            f"{extra}, or pip install 'dfdc-prep[{extra}]'"
        )

    def check_batch_size(self, batch_size: int) -> None:
        """Raise a `TrainingError` if a training batch cannot be divided evenly."""
        if self.shares_batches and batch_size % len(self.gpus):
            raise TrainingError(
                f"expected a batch size that {len(self.gpus)} GPUs can share evenly, found "
                f"{batch_size}; give a multiple of {len(self.gpus)} as --batch-size, or hide GPUs "
                "with CUDA_VISIBLE_DEVICES"
            )

    def validation_batch_size(self, batch_size: int, images: int) -> int:
        """The batch size to validate a split of `images` with.

        It is that of training, a multiple of the number of GPUs, or one that no GPU has to share:
        Keras on JAX lays out all batches like the first one, so if the last batch cannot be
        divided evenly, no batch may be; then each GPU computes every batch.
        """
        if self.backend != "jax" or not self.shares_batches or images % len(self.gpus) == 0:
            return batch_size
        return batch_size + 1

    @cached_property
    def _distribution(self) -> Any:
        """Cached for the whole run: Keras rejects a model built in the scope of another one."""
        if self.backend == "jax":
            return _EvenDataParallel(devices=list(self.gpus), auto_shard_dataset=False)
        import tensorflow as tf

        # Not collective operations: those of synchronized layers and of the gradients can meet
        # in a different order on each device, which aborts the step.
        return tf.distribute.MirroredStrategy(
            list(self.gpus), cross_device_ops=tf.distribute.HierarchicalCopyAllReduce()
        )

    def scope(self) -> AbstractContextManager[Any]:
        """Context in which a model must be built, loaded, compiled and trained."""
        if not self.shares_batches:
            return nullcontext()
        return cast(AbstractContextManager[Any], self._distribution.scope())

    @contextmanager
    def whole_batch_statistics(self, model: Any) -> Iterator[None]:
        """Make BatchNormalization use the statistics of the whole batch while training.

        JAX does so by itself; MirroredStrategy would use those of each GPU's share. Layers are
        changed only within this context, because Keras on other backends cannot load a model
        with synchronized layers.
        """
        kind = keras.layers.BatchNormalization
        layers = [layer for layer in model.layers if isinstance(layer, kind)]
        for layer in layers:
            layer.synchronized = self.mirrored
        try:
            yield
        finally:
            for layer in layers:
                layer.synchronized = False


class _EvenDataParallel(keras.distribution.DataParallel):  # type: ignore[misc]
    """Divides the batches that can be divided evenly; each device gets all of the others."""

    def get_data_layout(self, data_shape: tuple[int, ...]) -> Any:
        if data_shape[0] % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def find_devices(*, require_gpu: bool = False) -> Devices:
    """Find the devices of this machine; a `TrainingError` if a GPU is required and none found."""
    backend = keras.backend.backend()
    gpus = tuple(name for name in keras.distribution.list_devices() if not name.startswith("cpu"))
    found = Devices(gpus, backend)
    if require_gpu and not gpus:
        why = found.unused_card() or f"expected a GPU for Keras on {backend}, found none"
        raise TrainingError(f"{why}; check the driver, or leave out --require-gpu")
    return found


def keep_compiled() -> None:
    """Keep what JAX compiles for a GPU, for the next run; to be called before it compiles."""
    chosen = "JAX_COMPILATION_CACHE_DIR" in os.environ
    if keras.backend.backend() == "jax" and find_devices().gpus and not chosen:
        jax: Any = importlib.import_module("jax")
        folder = Path(pooch.os_cache("dfdc-prep")) / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def installed_cards() -> list[str]:
    """The names of the NVIDIA cards that the driver knows; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    with suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if answer.returncode == 0:
            return answer.stdout.splitlines()
    return []
