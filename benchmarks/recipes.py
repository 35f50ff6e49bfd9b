"""Size of the recipe of a whole DFDC, time to write and to read it, memory.

119,154 clips of 10 crops, as many as the data set has; four of five clips are fakes, in 50 parts,
which share the boxes and landmarks of their original. Hashes are random bytes. Writing and reading
each run in a process, so that its peak memory, with Python, its libraries and the table, is its
own.

    python -m benchmarks.recipes
    python -m benchmarks.recipes --clips 11915
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.recipe.file import read_recipe, write_recipe
from manifests.arrow import RECIPE_SCHEMA

#: Crops of a clip, and clips of a family.
CROPS, FAMILY = 10, 5
HEADER: dict[str, Any] = {
    "format": 1,
    "kind": "faces",
    "source": {"layout": "dfdc", "dataset": "dfdc", "compression": None},
    "crops": {
        **{"frames": CROPS, "sampling": "even", "faces": "largest", "margin": 0.3, "size": 224},
        **{"format": "png", "share_boxes": True, "align": "none", "compare": False},
        "masks": False,
    },
    "detector": {"name": "yunet", "sha256": "0" * 64},
    **{name: {} for name in ("versions", "tables", "columns", "card", "files")},
    "counts": {"clips": 0, "crops": 0, "bytes": 0},
    "left_out": [],
    "manifest": None,
}


def make_table(clips: int, landmarks: bool, seed: int = 42) -> pa.Table:
    """The rows of so many clips."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), CROPS)
    rows, original = len(clip), clip // FAMILY * FAMILY
    real = pa.array(clip == original)
    letters = np.frombuffer(rng.bytes(10 * clips), np.uint8).reshape(clips, 10) % 26 + ord("a")
    known = pa.array([f"{row.tobytes().decode()}.mp4" for row in letters])
    video, family = known.take(pa.array(clip)), known.take(pa.array(original))
    # What an original and its fakes share, a value for each crop of the family.
    shared = original // FAMILY * CROPS + np.tile(np.arange(CROPS), clips)
    families = int(shared.max()) + 1

    def common(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, families)[shared]

    def random(size: int, of: np.ndarray | None = None) -> pa.Array:
        data = rng.bytes(size * (rows if of is None else clips))
        values = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(size), len(data) // size, [None, pa.py_buffer(data)]
        )
        return values if of is None else values.take(pa.array(of))

    text = dict[str, Any](
        part=pc.binary_join_element_wise(
            "dfdc_train_part", pa.array(original % 50).cast(pa.string()), "_"
        ),
        video=video,
        folder=pc.utf8_slice_codeunits(video, 0, -4),
        label=pc.if_else(real, "REAL", "FAKE"),
        original=pc.if_else(real, pa.scalar(None, pa.string()), family),
        family=family,
        family_source=pc.if_else(real, pa.scalar(None, pa.string()), "known"),
        status=pa.repeat("ok", rows),
        box_source=pc.if_else(real, "own", "original"),
        dataset=pa.repeat("dfdc", rows),
        official_split=pa.repeat("train", rows),
        split=pa.array(np.array(["train", "validation", "test"])[original % 3]),
    )
    start = rng.integers(0, 29, clips // FAMILY + 1)[original // FAMILY]
    whole = dict[str, np.ndarray](
        clip_bytes=rng.integers(1_000_000, 10_000_000, clips)[clip],
        clip_frames=np.full(rows, 300),
        frame=start + np.tile(np.arange(CROPS) * 29, clips),
        face=np.zeros(rows, int),
        width=np.full(rows, 1920),
        height=np.full(rows, 1080),
        **{name: common(0, 1500).astype(int) for name in "xy"},
        **{name: common(60, 400).astype(int) for name in "wh"},
    )
    columns = {
        **text,
        **whole,
        "clip_sha256": random(32, clip),
        "first_frame": random(8, clip),
        "first_frame_sketch": random(16, clip),
        "score": common(0.7, 1).astype(np.float32),
        "sha256": random(32),
        "pixels": random(3),
        "sketch": random(4),
        "balanced": pa.array(rng.random(rows) < 0.3),
    }
    if landmarks:
        points = rng.uniform(0, 1900, (families, 10)).round(2)[shared].astype(np.float32)
        columns["landmarks"] = pa.ListArray.from_arrays(
            pa.array(np.arange(rows + 1) * 10, pa.int32()), pa.array(points.ravel())
        )
    return pa.table(
        [
            pa.array(columns[field.name]).cast(field.type)
            if field.name in columns
            else pa.nulls(rows, field.type)
            for field in RECIPE_SCHEMA
        ],
        schema=RECIPE_SCHEMA,
    )


def measure(step: str, path: Path, clips: int, landmarks: bool) -> str:
    """CPU seconds of a step and the peak memory of this process, bytes."""
    table = make_table(clips, landmarks) if step == "write" else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.process_time()
    if table is None:
        read_recipe(path)
    else:
        write_recipe(path, HEADER, table)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = f"peak {before / 1e6:,.0f} MB before it, {peak / 1e6:,.0f} MB after"
    return f"{seconds:.1f} s of CPU, {memory}"


@click.command()
@click.option("--clips", default=119_154, show_default=True)
@click.option("--step", hidden=True)
@click.option("--landmarks", hidden=True, is_flag=True)
@click.option("--path", hidden=True)
def main(clips: int, step: str | None, landmarks: bool, path: str | None) -> None:
    """Print size, time and memory, without landmarks and with them."""
    if step and path:
        print(measure(step, Path(path), clips, landmarks))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.recipe")
        for name in ("without landmarks", "with landmarks"):
            own = [sys.executable, "-m", "benchmarks.recipes", "--clips", str(clips)]
            own += ["--path", str(file)] + ["--landmarks"] * (name == "with landmarks")
            for step in ("write", "read"):
                done = subprocess.run([*own, "--step", step], check=True, capture_output=True)
                print(f"{name}, {step}: {done.stdout.decode().strip()}", flush=True)
            print(f"{name}: {file.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
