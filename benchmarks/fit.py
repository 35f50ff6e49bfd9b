"""Cost of the input pipeline in a training step: the stream compared with one repeated batch.

    python benchmarks/fit.py shards/                                    B0 and B4 on a CPU
    python benchmarks/fit.py shards/ --case EfficientNetB4:16:float32   and so on

A case is BACKBONE:BATCH:PRECISION. Rounds alternate between the two inputs, so that what else
the machine does meets both; the figure is the median round. The last lines are the ratios.
"""

import time
from pathlib import Path
from statistics import median
from typing import Any

import click
import keras

from training.data import input_pipeline
from training.data.shards import Shards
from training.models import classifier, devices
from training.recipes import PRECISIONS, choose_recipe

#: NVIDIA's EfficientNet-B4 at 380 on one A100 (TensorFlow 2, training), images a second.
PEER = "peer: EfficientNet-B4 at 380 on an A100, 165 img/s in TF32 and 470 in mixed precision"


class Clock(keras.callbacks.Callback):
    """Seconds per step, from the end of the first step to the end of the epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = (time.perf_counter() - self._started) / (self.params["steps"] - 1)


def round_of(network: Any, batches: Any, steps: int) -> float:
    clock = Clock()
    network.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[clock])
    return clock.seconds


def measure(shards: Path, case: str, steps: int, rounds: int) -> tuple[float, float]:
    """Median seconds per step with the stream and with a constant batch."""
    backbone, batch, precision = case.split(":")
    recipe = choose_recipe("v1.3", {"backbone": backbone, "batch_size": int(batch)})
    found = devices.find_devices()
    with found.scope():
        network = classifier.build_model(recipe, precision=precision)
        classifier.compile_model(network, recipe, head_only=False, steps=1)
    streamed = input_pipeline.make_dataset(
        Shards(shards), "train", recipe.batch_size, seed=42, repeat=True
    )
    constant = streamed.take(1).cache().repeat()
    for batches in (streamed, constant):
        round_of(network, batches, 2)
    times = [[round_of(network, b, steps) for b in (streamed, constant)] for _ in range(rounds)]
    return median(pair[0] for pair in times), median(pair[1] for pair in times)


@click.command()
@click.argument("shards", type=click.Path(path_type=Path))
@click.option(
    "--case", "cases", multiple=True, default=("EfficientNetB0:16:float32",), show_default=True,
    help=f"BACKBONE:BATCH:PRECISION, precision one of {', '.join(PRECISIONS)}.",
)  # fmt: skip
@click.option("--steps", default=8, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(shards: Path, cases: tuple[str, ...], steps: int, rounds: int) -> None:
    """Print step times and the stream's share of them."""
    print(devices.find_devices().text())
    print(f"{'case':<40}{'stream s':>10}{'constant s':>12}{'img/s':>9}{'waiting':>9}")
    ratios = []
    for case in cases:
        streamed, constant = measure(shards, case, steps, rounds)
        batch = int(case.split(":")[1])
        waiting = max(0.0, 1 - constant / streamed)
        print(
            f"{case:<40}{streamed:>10.3f}{constant:>12.3f}{batch / streamed:>9.1f}{waiting:>9.1%}"
        )
        ratios.append((case, streamed / constant))
    print(PEER)
    for case, ratio in ratios:
        print(f"stream / constant, {case}: {ratio:.3f}")


if __name__ == "__main__":
    main()
