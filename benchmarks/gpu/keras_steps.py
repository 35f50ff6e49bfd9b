"""Images per second of our training step; run by `python -m benchmarks.gpu`.

The argument is a JSON object; prints one JSON line.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from manifests.schemas import CROP_SIZE
from training.data import input_pipeline
from training.data.shards import Shards
from training.models import classifier, devices
from training.recipes import choose_recipe
from training.runs.trainer import ProgressBar


def set_float32(precision: str) -> str:
    """Switch TF32 on for `tf32` and off for `float32`; return the Keras policy."""
    fast = precision == "tf32"
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if fast else "highest")
    else:
        tf.config.experimental.enable_tensor_float_32_execution(fast)
    return "float32" if precision in ("float32", "tf32") else precision


def batches(path: str, batch: int, cache: str) -> Any:
    """The stream of a shards folder, or one random batch again and again."""
    if not path:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (batch, CROP_SIZE, CROP_SIZE, 3), np.uint8)
        labels = rng.integers(0, 2, batch).astype(np.float32)
        return tf.data.Dataset.from_tensors((images, labels)).repeat()
    shards = Shards(Path(path))
    decoded = input_pipeline.decode_split(shards, "train", cache, Path.cwd())
    return input_pipeline.make_dataset(
        shards, "train", batch, seed=42, repeat=True, decoded=decoded
    )


def peak_mb() -> float | None:
    """Peak memory of the first GPU, MB; None without one."""
    if not devices.find_devices().gpus:
        return None
    if keras.backend.backend() == "jax":
        import jax

        return float(jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 1e6)
    return float(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6)


class EpochClock(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def main() -> None:
    given = json.loads(sys.argv[1])
    batch, fused = given["batch"], given["fused"]
    steps = -(-given["steps"] // fused) * fused  # Keras runs whole calls only
    recipe = choose_recipe("v1.3", {"backbone": given["backbone"], "batch_size": batch})
    model = classifier.build_model(recipe, precision=set_float32(given["precision"]))
    classifier.compile_model(model, recipe, head_only=False, steps=1)
    model.steps_per_execution = fused
    # The step is compiled before the clock starts.
    model.fit(batches("", batch, "none"), steps_per_epoch=2 * fused, verbose=0, shuffle=False)
    clock = EpochClock()
    model.fit(
        batches(given["path"], batch, given["cache"]),
        steps_per_epoch=steps,
        epochs=given["epochs"],
        verbose=0,
        shuffle=False,
        callbacks=[clock, ProgressBar("epoch", steps * batch * given["epochs"], batch)],
    )
    rates = [steps * batch / seconds for seconds in clock.seconds]
    found = {"first": rates[0], "later": max(rates[1:] or rates), "peak_mb": peak_mb()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
