"""Compare extraction and training from a bucket with the same from a disk.

    python -m benchmarks.bucket extract dfdc [--clips 200] [--rounds 3]
    python -m benchmarks.bucket train [--rounds 3]
    python -m benchmarks.bucket faults dfdc [--runs 20]

The bucket is moto's S3 server on 127.0.0.1, which uses the same cores; what it takes of them is
printed. `dfdc` is a DFDC tree of real clips; YuNet's weights are those of DFDC_PREP_YUNET.
"""

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import psutil

import dfdc_prep
from dfdc_prep.errors import DfdcPrepError
from tests.storage.server import S3Server, running_server
from tests.storage.test_extract import on_disk, sums

#: The argument with the real clips.
SOURCE = click.argument("real", type=click.Path(path_type=Path, exists=True))


def source_of(real: Path, clips: int, folder: Path) -> Path:
    """A source with copies of real clips, each of its own family."""
    found = sorted(real.rglob("*.mp4"))
    part = folder / "dfdc" / "part"
    part.mkdir(parents=True)
    listed = {}
    for number in range(clips):
        name = f"{number:04d}.mp4"
        shutil.copyfile(found[number % len(found)], part / name)
        listed[name] = {"label": "REAL"}
    (part / "metadata.json").write_text(json.dumps(listed))
    return part.parent


def extract(source: object, out: object, frames: int) -> float:
    """Run an extraction; return its seconds."""
    started = time.perf_counter()
    dfdc_prep.extract(str(source), str(out), frames=frames, detector="yunet")
    return time.perf_counter() - started


def server_seconds(server: psutil.Process) -> float:
    """The processor seconds of the server until now."""
    used = server.cpu_times()
    return float(used.user + used.system)


@click.group()
def main() -> None:
    """Compare a bucket with a disk."""


def in_bucket(work: Callable[[S3Server, psutil.Process, Path], None]) -> None:
    """Call a function with a running server, its process and a scratch folder."""
    with running_server() as s3, tempfile.TemporaryDirectory(prefix="bucket-") as scratch:
        os.environ.update(s3.environment)
        (server,) = psutil.Process().children()
        work(s3, server, Path(scratch))


@main.command("extract")
@SOURCE
@click.option("--clips", default=200, show_default=True)
@click.option("--frames", default=1, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def compare_extraction(real: Path, clips: int, frames: int, rounds: int) -> None:
    """Wall time from a bucket and to it, by that of the disk; requests and bytes a clip."""

    def work(s3: S3Server, server: psutil.Process, scratch: Path) -> None:
        source = source_of(real, clips, scratch)
        s3.upload(source, "clips", "dfdc")
        ways = {
            "disk": (source, scratch / "disk"),
            "s3 source": ("s3://clips/dfdc", scratch / "from"),
            "s3 to s3": ("s3://clips/dfdc", "s3://clips/faces"),
        }
        walls: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, (where, out) in ways.items():
                s3.counts()
                before, moto = time.perf_counter(), server_seconds(server)
                walls[name].append(extract(where, f"{out}{number}", frames))
                moto = server_seconds(server) - moto
                click.echo(
                    f"{name:10} {time.perf_counter() - before:6.1f} s, server {moto:5.1f} s of "
                    f"a core, {s3.counts()}"
                )
        disk = statistics.median(walls["disk"])
        for name, found in walls.items():
            ratios = [one / base for one, base in zip(found, walls["disk"], strict=True)]
            click.echo(
                f"{name}: median {statistics.median(found):.1f} s, "
                f"{statistics.median(found) / disk:.2f} of the disk ({min(ratios):.2f} to "
                f"{max(ratios):.2f})"
            )

    in_bucket(work)


@main.command("train")
@click.option("--rounds", default=3, show_default=True)
@click.option("--families", default=800, show_default=True)
def compare_training(rounds: int, families: int) -> None:
    """Seconds of the second pass over the training batches, bucket by disk."""

    def work(s3: S3Server, server: psutil.Process, scratch: Path) -> None:
        from dfdc_prep.storage.urls import Url
        from dfdc_prep.writing.sources import CropSelection
        from dfdc_prep.writing.tfrecord import TFRecords
        from dfdc_prep.writing.writer import write_crops
        from manifests.splitting.split import SplitPlan
        from tests.training.conftest import make_faces
        from training.data.input_pipeline import make_dataset
        from training.data.shards import Shards, open_shards

        os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
        faces = make_faces(scratch / "faces", families, frames=4)
        plan = SplitPlan.parse("56/24/20", "original", 42)
        write_crops(faces, scratch / "shards", TFRecords(16), CropSelection(plan))
        s3.upload(scratch / "shards", "training", "shards")

        def epoch(folder: Shards) -> float:
            started = time.perf_counter()
            for _ in make_dataset(folder, "train", 16, seed=1):
                pass
            return time.perf_counter() - started

        local = Shards(scratch / "shards")
        with open_shards(Url("s3://training/shards")) as cache:
            epoch(local)
            s3.counts()
            click.echo(f"first epoch from the bucket {epoch(cache):.2f} s, {s3.counts()}")
            ratios = []
            for number in range(rounds):
                # Each goes first in every other round.
                order = [local, cache][:: 1 if number % 2 else -1]
                seconds = {folder: epoch(folder) for folder in order}
                disk, bucket = seconds[local], seconds[cache]
                ratios.append(bucket / disk)
                click.echo(f"disk {disk:.2f} s, bucket {bucket:.2f} s, {bucket / disk:.3f}")
            click.echo(f"median {statistics.median(ratios):.3f}, {s3.counts()}")

    in_bucket(work)


@main.command("faults")
@SOURCE
@click.option("--runs", default=20, show_default=True)
@click.option("--share", default=0.05, show_default=True)
def run_with_faults(real: Path, runs: int, share: float) -> None:
    """Extract the 14 real clips again and again with bad answers; compare every byte."""

    def work(s3: S3Server, server: psutil.Process, scratch: Path) -> None:
        s3.upload(real, "clips", "dfdc")
        extract(real, scratch / "disk", 2)
        wanted = sums(on_disk(scratch / "disk"))
        for number in range(runs):
            s3.counts()
            s3.faults(f"share={share}&seed={number}")
            ended, tries = "", 0
            while ended != "done" and tries < 5:
                tries += 1
                try:
                    extract("s3://clips/dfdc", f"s3://clips/faces{number}", 2)
                    ended = "done"
                except DfdcPrepError as error:
                    ended = str(error)
                    click.echo(f"run {number}: {ended}")
            s3.faults()
            counts = {name: n for name, n in s3.counts().items() if name.startswith("fault")}
            same = sums(s3.files("clips", f"faces{number}")) == wanted
            click.echo(f"run {number}: {ended}, tries {tries}, same bytes {same}, {counts}")

    in_bucket(work)


if __name__ == "__main__":
    main()
