"""Cost of writing, reading and verifying shards compared with other tools; prints ratios.

python -m benchmarks.shards                  32,000 crops, about ten minutes, 12 GB of disk
python -m benchmarks.shards --crops 2000     while developing
python -m benchmarks.shards --parts write,flips --work DIR     keeps the crops for next time
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.natural import make_faces
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords, parse_example, read_records
from dfdc_prep.writing.verify import verify_shards
from dfdc_prep.writing.writer import write_crops
from manifests.labels import LABELS
from manifests.splitting.split import SplitPlan
from manifests.tables.parquet import read_manifest

PLAN = SplitPlan.parse("56/24/20")
FLIPS, FLIPPED_CROPS, FEW = 500, 60, 4000
JPEG = b"\xff\xd8"
KINDS = ("bare", "ours", "tfds", "keras")
COMPARED = (
    ("bare", "a bare parallel decode from memory", 0.9),
    ("keras", "keras.utils.image_dataset_from_directory", 1.2),
    ("tfds", "TFDS's own reader", 1.0),
)
Row = tuple[str, str, str, bool]


class Bench:
    """The folders of one run: crops, shards as they are, shards as JPEG."""

    def __init__(self, work: Path, crops: int, rounds: int) -> None:
        self.work, self.crops, self.rounds = work, crops, rounds
        self.faces = self._faces("faces", crops)

    def _faces(self, name: str, crops: int) -> Path:
        folder = self.work / f"{name}-{crops}"
        if not (folder / "balanced.parquet").exists():
            shutil.rmtree(folder, ignore_errors=True)
            say(f"making {crops:,} crops")
            make_faces(folder, crops)
            os.sync()
        return folder

    def shards(self, name: str, faces: Path, image_format: str = "as-is") -> Path:
        """Write the shards unless they exist."""
        folder = self.work / f"{name}-{self.crops}"
        say(f"shards {folder.name}")
        write_crops(faces, folder, TFRecords(image_format=image_format), CropSelection(PLAN))
        return folder

    def png(self) -> Path:
        return self.shards("png", self.faces)

    def jpeg(self) -> Path:
        return self.shards("jpeg", self.faces, image_format="jpeg")

    def few(self) -> Path:
        return self.shards("few", self._faces("few", min(FEW, self.crops // 8)))


def say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def on_cores(cores: int, *arguments: str) -> dict[str, float]:
    """Run benchmarks.streams in a separate process on a number of cores."""
    say(f"streams {' '.join(arguments)} on {cores}")
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    command = ["taskset", "-c", chosen, sys.executable, "-m", "benchmarks.streams", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(figure: str, value: float, limit: float, *, most: bool, detail: str = "") -> Row:
    good = value <= limit if most else value >= limit
    return (
        figure + (f" ({detail})" if detail else ""),
        f"{value:.2f}",
        f"{'<=' if most else '>='} {limit}",
        good,
    )


def write(bench: Bench) -> Iterator[Row]:
    """Compare writing shards with copying the files; both end when the data are on the disk."""
    files = [
        bench.faces / path
        for path in read_manifest(bench.faces / "balanced.parquet")["path"].to_pylist()
    ]
    target, options = bench.work / "written", (TFRecords(), CropSelection(PLAN))
    copied = written = synced = float("inf")
    for turn in range(bench.rounds):
        say(f"write and copy, round {turn}")
        for step in ("copy", "write") if turn % 2 else ("write", "copy"):
            shutil.rmtree(target, ignore_errors=True)
            os.sync()
            start = time.perf_counter()
            if step == "write":
                write_crops(bench.faces, target, *options)
                written = min(written, time.perf_counter() - start)
                continue
            target.mkdir()
            for index, file in enumerate(files):
                shutil.copyfile(file, target / f"{index}.png")
            copied = min(copied, time.perf_counter() - start)
            os.sync()
            synced = min(synced, time.perf_counter() - start)
    shutil.rmtree(target)
    times = f"{written:.1f} s, copying {copied:.1f} s, {synced:.1f} s with sync"
    yield row("write / copying the crops", written / copied, 2.0, most=True, detail=times)


def stream(bench: Bench) -> Iterator[Row]:
    """Compare the stream with a bare decode, TFDS and Keras's folder reader."""
    for name, shards, images in (("PNG", bench.png(), 4096), ("JPEG", bench.jpeg(), 16384)):
        by_label(shards)
        arguments = ["--images", str(min(images, bench.crops)), "--rounds", str(2 * bench.rounds)]
        found = on_cores(2, str(shards), "--kinds", ",".join(KINDS), *arguments)
        rates = ", ".join(f"{kind} {found[kind]:,.0f}/s" for kind in KINDS)
        for kind, what, limit in COMPARED:
            ratio = found["ours"] / found[kind]
            detail = f"{name}: {rates}" if kind == "bare" else name
            yield row(f"stream / {what}", ratio, limit, most=False, detail=detail)
        cold = on_cores(2, str(shards), "--kinds", "ours,keras", "--cold", *arguments)
        ratio = cold["ours"] / cold["keras"]
        detail = f"{name}: {cold['ours']:,.0f}/s and {cold['keras']:,.0f}/s"
        yield row("stream / Keras's, read from the disk", ratio, 1.2, most=False, detail=detail)


def by_label(shards: Path) -> None:
    """Write the training images as files in REAL/ and FAKE/, the layout Keras expects."""
    folder = shards.parent / f"{shards.name}-by-label"
    if folder.exists():
        return
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for file in sorted(shards.glob("*-train.tfrecord-*")):
        for index, record in enumerate(read_records(file)):
            face = parse_example(record)
            label, image = LABELS[int(face["label"][0])], face["image"][0]
            name = f"{file.name[-14:-9]}-{index}.{'jpg' if image[:2] == JPEG else 'png'}"
            (folder / label / name).write_bytes(image)
    os.sync()


def cores(bench: Bench) -> Iterator[Row]:
    """Compare the stream on two cores and on one, in alternation."""
    shards, best = bench.png(), {1: 0.0, 2: 0.0}
    arguments = ["--kinds", "ours", "--images", "4096", "--rounds", "2"]
    for _ in range(bench.rounds):
        for count in best:
            best[count] = max(best[count], on_cores(count, str(shards), *arguments)["ours"])
    detail = f"{best[2]:,.0f}/s and {best[1]:,.0f}/s"
    yield row("stream, two cores / one", best[2] / best[1], 1.7, most=False, detail=detail)


def memory(bench: Bench) -> Iterator[Row]:
    """Measure the peak memory of a process that streams one epoch of the training split."""
    many = on_cores(2, str(bench.png()), "--epoch")["peak_mb"]
    few = on_cores(2, str(bench.few()), "--epoch")["peak_mb"]
    detail = f"{many:.0f} MB and {few:.0f} MB"
    yield row("memory, all crops / an eighth", many / few, 1.1, most=True, detail=detail)


def check(bench: Bench) -> Iterator[Row]:
    """Compare verify with reading and decoding everything with TensorFlow."""
    for name, shards in (("PNG", bench.png()), ("JPEG", bench.jpeg())):
        plain = verified = float("inf")
        for turn in range(bench.rounds):
            say(f"verify {name}, round {turn}")
            start = time.perf_counter()
            if verify_shards(shards).faults:
                raise SystemExit(f"{shards} has faults")
            verified = min(verified, time.perf_counter() - start)
            plain = min(plain, on_cores(2, str(shards), "--all", "--rounds", "1")["all"])
        detail = f"{verified:.1f} s and {plain:.1f} s"
        yield row(
            f"verify / reading with decode, {name}", verified / plain, 1.3, most=True, detail=detail
        )


def flips(bench: Bench) -> Iterator[Row]:
    """Flip one byte at a time, half of them drawn by byte and half by file; verify each."""
    shards = bench.work / "flipped"
    shutil.rmtree(shards, ignore_errors=True)
    faces = bench._faces("flipped-faces", FLIPPED_CROPS)
    write_crops(faces, shards, TFRecords(4), CropSelection(PLAN))
    files = sorted(shards.iterdir())
    sizes = [file.stat().st_size for file in files]
    draw, found = random.Random(42), 0
    say(f"{FLIPS} flips")
    for turn in range(FLIPS):
        file = draw.choices(files, sizes)[0] if turn % 2 else draw.choice(files)
        found += flip(file, draw, lambda: bool(verify_shards(shards).faults))
    detail = f"folder of {FLIPPED_CROPS} crops, {len(files)} files"
    yield row("flipped bytes found", found, FLIPS, most=False, detail=detail)


def flip(file: Path, draw: random.Random, found: Callable[[], bool]) -> bool:
    """Change one byte, verify, and change it back."""
    with file.open("r+b") as opened:
        place = draw.randrange(file.stat().st_size)
        opened.seek(place)
        (byte,) = opened.read(1)
        for value, ask in ((byte ^ draw.randrange(1, 256), True), (byte, False)):
            opened.seek(place)
            opened.write(bytes([value]))
            opened.flush()
            if ask:
                answer = found()
    return answer


def hashes(bench: Bench) -> Iterator[Row]:
    """Write on one core and on two, in separate processes."""
    sums = []
    for count in (1, 2):
        say(f"write on {count}")
        target = bench.work / "hashed"
        shutil.rmtree(target, ignore_errors=True)
        chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))
        command = [sys.executable, "cli.py", "shard", str(bench.faces), str(target)]
        subprocess.run(["taskset", "-c", chosen, *command], check=True, stdout=subprocess.DEVNULL)
        sums.append((target / "SHA256SUMS").read_bytes())
    shutil.rmtree(target)
    detail = f"{len(sums[0].splitlines())} files"
    yield row(
        "shard hashes equal, one core and two", sums[0] == sums[1], 1, most=False, detail=detail
    )


PARTS = {part.__name__: part for part in (write, stream, cores, memory, check, flips, hashes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, default=32_000)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep crops and shards here for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(work, options.crops, options.rounds)
        rows = [row for part in options.parts.split(",") for row in PARTS[part](bench)]
    print(f"{options.crops:,} crops, best of the rounds")
    for figure, value, limit, good in rows:
        print(f"{value:>8}  {limit:>8}  {'yes' if good else 'NO ':3}  {figure}")


if __name__ == "__main__":
    main()
