"""Training throughput on a GPU: ours beside a PyTorch library, on random tensors and on crops.

    python -m benchmarks.gpu --png shards_png --jpg shards_jpg --faces faces

Every case runs in a process of its own, so that its peak memory is its own, and prints a line:
images per second, the share of the step spent waiting for input (1 - random / stream), peak
device memory and the GPU's power where `nvidia-smi` can read it. The last lines are the ratios.

Ours is Keras on the backend of KERAS_BACKEND. The peer is EfficientNet-B4 of timm, channels
last, autocast and `torch.compile`; without PyTorch and timm its lines are left out.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import click

from benchmarks.gpu.power import PowerMeter

ROOT = Path(__file__).resolve().parents[2]
PRECISIONS = ("float32", "tf32", "mixed_bfloat16", "mixed_float16")
#: The peer is measured where it is installed.
LIBRARIES = ("keras", "torch") if find_spec("torch") and find_spec("timm") else ("keras",)


@dataclass(frozen=True)
class Case:
    """One measurement: the library, its precision and batch size, and where the images are.

    `fused`: steps that Keras runs in one call (steps_per_execution).
    """

    library: str
    precision: str
    batch: int
    source: str
    path: Path | None = None
    cache: str = "none"
    fused: int = 1


@dataclass(frozen=True)
class Figures:
    """What a case printed. `first` and `later`: images per second of the first and last epoch."""

    first: float
    later: float
    peak_mb: float | None
    watts: float | None


def measure(case: Case, backbone: str, steps: int, epochs: int) -> Figures | None:
    """Run a case in a process of its own; None if it failed, for example for lack of memory."""
    command = [sys.executable, "-m", f"benchmarks.gpu.{case.library}_steps"]
    values = {
        "backbone": backbone,
        "precision": case.precision,
        "batch": case.batch,
        "steps": steps,
        "epochs": epochs,
        "path": str(case.path or ""),
        "cache": case.cache,
        "fused": case.fused,
    }
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with PowerMeter() as power:
        done = subprocess.run(
            [*command, json.dumps(values)], env=environment, capture_output=True, text=True
        )
    if done.returncode:
        click.echo((done.stderr.strip().splitlines() or ["no message"])[-1][:200], err=True)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    return Figures(found["first"], found["later"], found["peak_mb"], power.mean())


@click.command()
@click.option("--png", type=click.Path(path_type=Path), help="Shards of PNG crops.")
@click.option("--jpg", type=click.Path(path_type=Path), help="Shards of JPEG crops.")
@click.option("--faces", type=click.Path(path_type=Path), help="The crops, for the peer's loader.")
@click.option("--batch", "batches", type=int, multiple=True, default=(16, 64, 256))
@click.option("--precision", "precisions", multiple=True, default=PRECISIONS)
@click.option("--library", "libraries", multiple=True, default=LIBRARIES, show_default=True)
@click.option("--cache", "caches", multiple=True, default=("none", "memory", "disk"))
@click.option("--fused", default=8, show_default=True, help="Steps per call, beside one; 1: none.")
@click.option("--backbone", default="EfficientNetB4", show_default=True)
@click.option("--steps", default=50, show_default=True, help="Steps per epoch.")
@click.option("--epochs", default=3, show_default=True)
def main(
    png: Path | None,
    jpg: Path | None,
    faces: Path | None,
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    libraries: tuple[str, ...],
    caches: tuple[str, ...],
    fused: int,
    backbone: str,
    steps: int,
    epochs: int,
) -> None:
    """Print a line per case, then the ratios."""
    sources: dict[str, list[tuple[str, Path | None, str, int]]] = {
        "keras": [
            ("random", None, "none", 1),
            *([(f"random, {fused} steps a call", None, "none", fused)] if fused > 1 else []),
            *(
                (f"{name}, cache {cache}", path, cache, 1)
                for (name, path), cache in product((("png", png), ("jpg", jpg)), caches)
                if path
            ),
        ],
        "torch": [
            ("random", None, "none", 1),
            *([("loader", faces, "none", 1)] if faces else []),
        ],
    }
    click.echo(f"{'case':<52}{'first':>9}{'later':>9}{'waiting':>9}{'peak MB':>9}{'watts':>7}")
    later: dict[tuple[str, str, int, str], float] = {}
    for precision, batch, library in product(precisions, batches, libraries):
        for source, path, cache, together in sources[library]:
            case = Case(library, precision, batch, source, path, cache, together)
            found = measure(case, backbone, steps, epochs)
            name = f"{library} {precision} {batch} {source}"
            if found is None:
                click.echo(f"{name:<52}{'failed':>9}")
                continue
            later[library, precision, batch, source] = found.later
            random = later.get((library, precision, batch, "random"))
            waiting = f"{max(0.0, 1 - found.later / random):.1%}" if random else ""
            peak, watts = (f"{v:.0f}" if v else "" for v in (found.peak_mb, found.watts))
            click.echo(
                f"{name:<52}{found.first:>9.0f}{found.later:>9.0f}{waiting:>9}{peak:>9}{watts:>7}"
            )
    for (library, precision, batch, source), rate in later.items():
        if library == "keras" and source != "random":
            random = later.get(("keras", precision, batch, "random"))
            if random:
                click.echo(f"{source} / random, {precision}, batch {batch}: {rate / random:.3f}")
        peer = later.get(("torch", precision, batch, "random"))
        if library == "keras" and source == "random" and peer:
            click.echo(f"ours / timm, random, {precision}, batch {batch}: {rate / peer:.3f}")


if __name__ == "__main__":
    main()
