"""Measures the engines: overhead of a call, memory of the driver, Ray against local workers.

    python -m benchmarks.engines dfdc --model face_detection_yunet_2026may.onnx
    python -m benchmarks.engines dfdc --model ... --only calls --calls 120000

It starts a cluster of two nodes of one core, and ends it. The cluster runs as that of the tests:
in a network namespace where that is permitted. `dfdc` is any folder with clips below it.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import click
import psutil

ROOT = Path(__file__).resolve().parents[1]
_ROWS = 10


def nothing() -> None:
    """Prepare no worker; do no work."""


def result_of(number: int) -> Any:
    """A result as that of a clip of ten crops, without the work."""
    from dfdc_prep.extraction.clip import ClipResult

    row = {f"column {n}": f"value {n} of clip {number}" for n in range(28)}
    return ClipResult("ok", None, _ROWS, _ROWS, 1.0, None, (row,) * _ROWS)  # type: ignore[arg-type]


def _call_all(workers: Any, calls: int) -> Iterator[int]:
    """Run that many calls, two per worker under way; yield how many are done."""
    running: set[Future[Any]] = set()
    submitted = done = 0
    while done < calls:
        while submitted < calls and len(running) < 2 * workers.count:
            running.add(workers.submit(result_of, submitted))
            submitted += 1
        for future in workers.wait(running):
            running.discard(future)
            assert future.result().status == "ok"
            done += 1
            yield done


def drive(engine: str, address: str, calls: int) -> None:
    """Run inside the cluster: measure the calls, print JSON."""
    from dfdc_prep.parallel.engine import Engine, connected, running_workers

    chosen = Engine(engine, address) if engine == "ray" else Engine()
    stack = ExitStack()
    stack.enter_context(connected(chosen))
    workers = stack.enter_context(running_workers(chosen, 2, calls, 120.0, (nothing, ())))
    for _ in _call_all(workers, 200):  # the workers have started
        pass
    began, cpu, memory = time.perf_counter(), time.process_time(), {}
    for done in _call_all(workers, calls):
        if done % max(1, calls // 6) == 0:
            memory[done] = _resident()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    stack.close()
    figures = {"ms a call": 1e3 * wall / calls, "CPU ms": 1e3 * cpu / calls, "MB": memory}
    sys.stdout.write(json.dumps(figures))


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return round(int(file.read().split()[1]) * resource.getpagesize() / 1e6, 1)


def _linked(folder: Path, clips: int, real: list[Path]) -> Path:
    """A part of that many links to real clips, each its own family."""
    part = folder / "dfdc" / "part_0"
    part.mkdir(parents=True)
    names = [f"clip{n:06d}.mp4" for n in range(clips)]
    for n, name in enumerate(names):
        (part / name).symlink_to(real[n % len(real)])
    (part / "metadata.json").write_text(json.dumps({name: {"label": "REAL"} for name in names}))
    return part.parent


def _extraction(cluster: Any, folder: Path, source: Path, frames: int, pairs: int) -> None:
    common = (str(source), str(folder / "out"), "--frames", str(frames))
    words = {
        "local": ("-m", "cli", "extract", *common, "--workers", "2"),
        "ray": cluster.extract_words(*common),
    }
    taken: dict[str, list[float]] = {"local": [], "ray": []}
    cpu: dict[str, list[float]] = {"local": [], "ray": []}
    for number in range(pairs):
        for name in sorted(words, reverse=bool(number % 2)):
            shutil.rmtree(folder / "out", ignore_errors=True)
            began = time.perf_counter()
            with _CpuSeconds() as used:
                done = cluster.run(*words[name])
            assert done.returncode == 0, done.stderr
            taken[name].append(time.perf_counter() - began)
            cpu[name].append(used.total)
            click.echo(f"{name} {taken[name][-1]:.1f} s, CPU {cpu[name][-1]:.1f} s")
    for what, values in (("wall", taken), ("CPU", cpu)):
        ratios = [ray / local for local, ray in zip(values["local"], values["ray"], strict=True)]
        said = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        click.echo(f"ray / local of each pair, {what}: {said}")


class _CpuSeconds:
    """CPU seconds of all processes below this one while a block runs, looked at often."""

    def __enter__(self) -> "_CpuSeconds":
        self._used: dict[psutil.Process, float] = {}
        self._look()
        self._before = sum(self._used.values())
        self._ended = Event()
        self._thread = Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.total = sum(self._used.values()) - self._before

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self._look()

    def _look(self) -> None:
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                self._used[each] = sum(each.cpu_times()[:2])


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--only", type=click.Choice(["calls", "extract"]))
@click.option("--calls", default=10_000, show_default=True)
@click.option("--clips", default=200, show_default=True)
@click.option("--frames", default=10, show_default=True)
@click.option("--pairs", default=3, show_default=True)
def main(
    source: Path, model: Path, only: str | None, calls: int, clips: int, frames: int, pairs: int
) -> None:
    """Measure the engines on a cluster of two nodes of one core."""
    from tests.cluster.ray_cluster import ray_cluster

    os.environ["DFDC_PREP_YUNET"] = str(model.resolve())
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        ray_cluster(Path(folder)) as cluster,
    ):
        drive_words = ("-c", "import sys; from benchmarks.engines import drive; drive(sys.argv[1], "
                       "sys.argv[2], int(sys.argv[3]))")  # fmt: skip
        for engine in ("ray", "local") if only != "extract" else ():
            done = cluster.run(*drive_words, engine, cluster.address, str(calls), patience=3600.0)
            click.echo(f"{engine}: {done.stdout or done.stderr}")
        if only in (None, "extract"):
            real = [path.resolve() for path in sorted(source.rglob("*.mp4"))]
            linked = _linked(Path(folder), clips, real)
            _extraction(cluster, Path(folder), linked, frames, pairs)


if __name__ == "__main__":
    main()
