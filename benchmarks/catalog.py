"""Overhead of a run: reading the catalog, and scheduling, rows and journal per clip.

    python -m benchmarks.catalog

The clips are empty files, so that a worker gives each back at once as unreadable: what is
left is the run's own work, and opening a file that is no clip.
"""

import json
import tempfile
import time
from pathlib import Path

import click

from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.extraction.clip import CropOptions
from dfdc_prep.extraction.run import RunOptions, extract


def make_tree(root: Path, clips: int, parts: int = 50) -> Path:
    """Make parts of empty clips in families of one original and four fakes."""
    for part in range(parts):
        folder = root / f"dfdc_train_part_{part}"
        folder.mkdir(parents=True)
        entries = {}
        for number in range(clips // parts):
            name, original = f"{part:02}{number:06}.mp4", f"{part:02}{number // 5 * 5:06}.mp4"
            fake = {"label": "FAKE", "split": "train", "original": original}
            entries[name] = {"label": "REAL", "split": "train"} if name == original else fake
            (folder / name).touch()
        (folder / "metadata.json").write_text(json.dumps(entries))
    return root


@click.command()
@click.option("--clips", type=int, multiple=True, default=[1_000, 10_000, 100_000])
@click.option("--catalog-clips", type=int, default=120_000)
def main(clips: list[int], catalog_clips: int) -> None:
    """Measure the overhead and print it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder) / "catalog", catalog_clips)
        started = time.perf_counter()
        families = len(read_catalog(tree).families())
        taken = time.perf_counter() - started
        print(f"catalog of {catalog_clips:,} clips, {families:,} families: {taken:.2f} s")
        per_clip = []
        for count in clips:
            source = make_tree(Path(folder) / f"run{count}", count)
            started, cpu = time.perf_counter(), time.process_time()
            extract(source, Path(folder) / f"out{count}", CropOptions(), RunOptions(), "hog")
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
            per_clip.append(cpu / count)
            print(
                f"{count:9,} clips: {wall:7.1f} s, {1e3 * wall / count:6.2f} ms a clip, "
                f"of which the run's own process {1e3 * cpu / count:6.2f} ms"
            )
        print(f"own cost per clip, {clips[-1]:,} / {clips[0]:,}: {per_clip[-1] / per_clip[0]:.2f}")


if __name__ == "__main__":
    main()
