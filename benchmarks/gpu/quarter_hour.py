"""What is wanted from a machine with a GPU that is there for a quarter of an hour.

    python -m benchmarks.gpu.quarter_hour random family
    python -m benchmarks.gpu.quarter_hour random family --rehearse     a small network, on a CPU

`random` and `family` are the shards folders of `benchmarks.paper_splits`. The steps run in the
order of what is wanted most, each in a process group of its own that is killed when its time is
over; a step that fails does not stop the others. After each the table is written again, whole:
OUT/table.md, with a row for every step. What OUT/measured.json has already is not measured again,
so the same command on another day goes on. `--minutes` ends it in any case.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[2]
#: Seconds under which a step is not begun.
LEAST = 10
#: Compiled programs of TensorFlow are kept where this names a folder, on a GPU.
XLA_CACHE = "--tf_xla_persistent_cache_directory={}"


@dataclass(frozen=True)
class Step:
    """A measurement: a program that prints a JSON object as its last line.

    `needs`: modules without which it is not begun. `text`: the row of what it printed.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    text: Callable[[Mapping[str, Any]], str] = field(default=json.dumps)
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def run_step(step: Step, seconds: float, log: Path) -> dict[str, Any]:
    """Run a step; {"found": what it printed} or {"why": the reason that there is nothing}."""
    if missing := [name for name in step.needs if not find_spec(name)]:
        return {"why": f"{' and '.join(missing)} not installed"}
    limit = min(step.limit, seconds)
    if limit < LEAST and limit < step.limit:
        return {"why": "no time left"}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"STARTED": str(time.time()), **step.environment}
    with log.open("wb") as said, log.with_suffix(".out").open("wb+") as printed:
        process = subprocess.Popen(
            step.command, stdout=printed, stderr=said, env=environment, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return {"why": f"ran over {limit:.0f} s"}
        finally:
            # Whatever it started goes with it, also where it ended by itself.
            _end_group(process)
        printed.seek(0)
        lines = printed.read().decode(errors="replace").strip().splitlines()
    if code:
        errors = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        return {"why": f"failed: {errors[-1][:150]}"}
    try:
        return {"found": json.loads(lines[-1])}
    except (IndexError, ValueError):
        return {"why": "printed no figures"}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_steps(steps: Iterable[Step], out: Path, minutes: float, device: str) -> str:
    """Run the steps in order, write the table after each, and return it."""
    started, steps = time.monotonic(), list(steps)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "measured.json"
    earlier = json.loads(kept.read_text()) if kept.is_file() else {}
    # Figures of another machine, backend or version, or of a rehearsal, are measured again.
    results: dict[str, Any] = earlier["results"] if earlier.get("device") == device else {}
    results = {name: result for name, result in results.items() if "found" in result}
    for number, step in enumerate(steps):
        if step.name in results:
            continue
        left = 60 * minutes - (time.monotonic() - started)
        begun = time.monotonic()
        results[step.name] = run_step(step, left, out / f"step-{number:02d}.log")
        results[step.name]["seconds"] = round(time.monotonic() - begun, 1)
        replacement = kept.with_suffix(".partial")
        replacement.write_text(json.dumps({"device": device, "results": results}, indent=1))
        replacement.replace(kept)
        table = describe(steps, results, device)
        (out / "table.md").write_text(table)
        click.echo(f"{step.name}: {_row(step, results[step.name])}", err=True)
    return describe(steps, results, device)


def _row(step: Step, result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "not yet"
    return step.text(result["found"]) if "found" in result else f"not measured: {result['why']}"


def describe(steps: Iterable[Step], results: Mapping[str, Any], device: str) -> str:
    """The table as Markdown, a row for every step, and the ratios of ours to timm's."""
    lines = [f"{device}\n", "| step | figure | took, s |", "|---|---|---|"]
    for step in steps:
        result = results.get(step.name)
        seconds = result.get("seconds", "") if result else ""
        lines.append(f"| {step.name} | {_row(step, result)} | {seconds} |")
    for name, result in results.items():
        peer = results.get(name.replace("ours", "timm compiled"), {})
        if name.startswith("ours") and "found" in result and "found" in peer and peer is not result:
            ratio = result["found"]["later"] / peer["found"]["later"]
            lines.append(f"| {name} / timm compiled | {ratio:.2f} | |")
    return "\n".join(lines) + "\n"


def _rate(found: Mapping[str, Any]) -> str:
    memory = f", {found['peak_mb']:,.0f} MB" if found["peak_mb"] else ""
    return f"{found['later']:,.1f} images/s{memory}"


def steps_for(random: Path, family: Path, out: Path, *, rehearse: bool) -> list[Step]:
    """What is measured, most wanted first."""
    backbone = "EfficientNetB0" if rehearse else "EfficientNetB4"
    short = {"steps": 2, "epochs": 1} if rehearse else {"steps": 40, "epochs": 2}
    python = (sys.executable, "-m")

    def child(what: str, *further: str) -> tuple[str, ...]:
        return (*python, "benchmarks.gpu.quarter_hour_steps", what, str(random), backbone, *further)

    def rate(library: str, precision: str, batch: int, **more: Any) -> tuple[str, ...]:
        values = {"backbone": backbone, "precision": precision, "path": "", "cache": "none",
                  "batch": 2 if rehearse else batch, "fused": 1, **short, **more}  # fmt: skip
        return (*python, f"benchmarks.gpu.{library}_steps", json.dumps(values))

    def first(found: Mapping[str, Any]) -> str:
        return f"{found['seconds']:.1f} s, of which {found['imports']:.1f} s until Keras is there"

    peer: dict[str, Any] = {"text": _rate, "needs": ("torch", "timm")}
    half = "mixed_bfloat16"
    first_step = child("first", "2" if rehearse else "16", str(out))
    xla_cache = {"TF_XLA_FLAGS": XLA_CACHE.format(out / "xla")}
    paper = (*python, "benchmarks.paper_splits", str(random), str(family), "--seeds", "1", "--out")
    network = ("small", "--size", "16", "--epochs", "1") if rehearse else (
        "v1.3", "--precision", half, "--batch", "64", "--epochs", "47", "--minutes", "4"
    )  # fmt: skip
    steps = [
        Step("Enter to the first step, first time", first_step, 200, first),
        Step("Enter to the first step, second time", first_step, 120, first),
        Step("ours, batch 64, bfloat16", rate("keras", half, 64), 150, _rate),
        Step("timm compiled, batch 64, bfloat16", rate("torch", half, 64), 250, **peer),
        Step("ours, batch 256, bfloat16", rate("keras", half, 256), 150, _rate),
        Step("ours, batch 16, float32", rate("keras", "float32", 16), 150, _rate),
        Step("what the GPU waits for, batch 64", child("profile", "2" if rehearse else "64"), 120,
             lambda found: found["text"]),
        Step("ours, batch 64, bfloat16, 8 steps a call", rate("keras", half, 64, fused=8), 150,
             _rate),
        Step("the stream alone", child("stream", "1" if rehearse else "5"), 60,
             lambda found: f"{found['rate']:,.0f} images/s"),
        Step("timm eager, batch 64, bfloat16", rate("torch", half, 64, compile=False), 90, **peer),
        Step("the paper's split and the family-safe one", (*paper, str(out / "paper"), "--network",
             *network, "--json"), 300, lambda found: found["text"]),
        Step("timm compiled, batch 256, bfloat16", rate("torch", half, 256), 250, **peer),
        Step("timm eager, batch 256, bfloat16", rate("torch", half, 256, compile=False), 90,
             **peer),
        Step("timm compiled, batch 16, float32", rate("torch", "float32", 16), 250, **peer),
        Step("timm eager, batch 16, float32", rate("torch", "float32", 16, compile=False), 90,
             **peer),
    ]  # fmt: skip
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" and not rehearse:
        kept = "Enter to the first step, TensorFlow's compiled programs"
        steps += [
            Step(f"{kept} written", first_step, 200, first, environment=xla_cache),
            Step(f"{kept} read", first_step, 120, first, environment=xla_cache),
        ]
    return steps


def device_name() -> str:
    """The cards by `nvidia-smi`, or the CPU, and Keras's backend."""
    from training.models.devices import installed_cards

    cards = ", ".join(installed_cards()) or "no NVIDIA card"
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    versions = ", ".join(f"{name} {version(name)}" for name in ("dfdc-prep", "keras"))
    return f"{cards}; {os.cpu_count()} cores; Keras on {backend}; {versions}"


@click.command()
@click.argument("random", type=click.Path(exists=True, path_type=Path))
@click.argument("family", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="quarter_hour", show_default=True)
@click.option("--minutes", default=12.0, show_default=True, help="In all.")
@click.option("--rehearse", is_flag=True, help="A small network and two steps, on any machine.")
def main(random: Path, family: Path, out: Path, minutes: float, rehearse: bool) -> None:
    """Measure what there is time for; print the table."""
    steps = steps_for(random.resolve(), family.resolve(), out.resolve(), rehearse=rehearse)
    device = f"{device_name()}{'; a rehearsal' if rehearse else ''}"
    click.echo(run_steps(steps, out, minutes, device))


if __name__ == "__main__":
    main()
