"""Overhead of a run: reading the catalog of each layout; scheduling, rows and journal per clip.

    python -m benchmarks.catalog

The clips are empty files, so that a worker gives each back at once as unreadable: what is
left is the run's own work, and opening a file that is no clip.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from dfdc_prep.catalog.clips import SourceOptions
from dfdc_prep.catalog.reader import read_catalog
from dfdc_prep.extraction.run import RunOptions, extract, prepare
from tests.crop_sets import crop_options


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


def _make_files(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def make_flat(root: Path, clips: int) -> None:
    """Make DFDC's test set."""
    names = [f"{number:010}.mp4" for number in range(clips)]
    _make_files(root, names)
    rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["filename,label", *rows]))


def make_preview(root: Path, clips: int) -> None:
    """Make DFDC's preview: one original in five clips."""
    entries = {}
    for number in range(clips // 5):
        person, clip = f"{number // 10:07}", f"A_{number % 10:03}"
        paths = [f"original_videos/{person}/{person}_{clip}.mp4"]
        paths += [
            f"method_{method}/{person}/{person}_A/{face:07}_{person}_{clip}.mp4"
            for method in "AB"
            for face in (9_000_001, 9_000_002)
        ]
        for path in paths:
            entries[path] = {"label": "fake" if path[0] == "m" else "real", "set": "train"}
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    (root / "dataset.json").write_text(json.dumps(entries))


def make_faceforensics(root: Path, clips: int) -> None:
    """Make FaceForensics++ with as many methods as it takes."""
    sequences = [f"{number:03}" for number in range(1000)]
    youtube = root / "original_sequences" / "youtube" / "c23" / "videos"
    _make_files(youtube, [f"{name}.mp4" for name in sequences])
    for method in range(clips // 1000 - 1):
        fakes = [f"{name}_{sequences[-1 - int(name)]}.mp4" for name in sequences]
        _make_files(root / "manipulated_sequences" / f"M{method}" / "c23" / "videos", fakes)
    for number, name in enumerate(("train", "val", "test")):
        pairs = [[a, sequences[-1 - int(a)]] for a in sequences[number:500:3]]
        (root / f"{name}.json").write_text(json.dumps(pairs))


def make_celeb_df(root: Path, clips: int) -> None:
    """Make Celeb-DF of 100 people, with twenty fakes of every original."""
    originals = [f"id{n % 100}_{n // 100:04}" for n in range(clips // 21)]
    fakes = [
        f"{person}_id{face}_{number}.mp4"
        for person, number in (name.split("_") for name in originals)
        for face in range(100, 120)
    ]
    _make_files(root / "Celeb-real", [f"{name}.mp4" for name in originals])
    _make_files(root / "Celeb-synthesis", fakes)
    tests = [f"0 Celeb-synthesis/{name}" for name in fakes[::10]]
    (root / "List_of_testing_videos.txt").write_text("\n".join(tests))


def make_fakeavceleb(root: Path, clips: int) -> None:
    """Make FakeAVCeleb of 500 people, without its table."""
    for number in range(500):
        person = f"African/men/id{number:05}"
        _make_files(root / "RealVideo-RealAudio" / person, ["00109.mp4"])
        fakes = [f"00109_{n}_id{n:05}_wavtolip.mp4" for n in range(clips // 500 - 1)]
        _make_files(root / "FakeVideo-FakeAudio" / person, fakes)


def make_folders(root: Path, clips: int) -> None:
    """Make real and fake, divided into splits."""
    for split in ("train", "val", "test"):
        for label in ("real", "fake"):
            names = [f"{split}_{label}_{number:06}.mp4" for number in range(clips // 6)]
            _make_files(root / split / label, names)


def make_table(root: Path, clips: int) -> None:
    """Make a table of clips in a thousand folders."""
    rows = ["path,label,original,identity,method,split"]
    for folder in range(1000):
        names = [f"{folder:03}_{number:05}.mp4" for number in range(clips // 1000)]
        _make_files(root / f"{folder:03}", names)
        rows.append(f"{folder:03}/{names[0]},REAL,,p{folder},,train")
        rows += [f"{folder:03}/{n},FAKE,{names[0]},p{folder},swap,train" for n in names[1:]]
    (root / "clips.csv").write_text("\n".join(rows))


LAYOUTS: dict[str, Callable[[Path, int], None]] = {
    "dfdc-flat": make_flat,
    "dfdc-preview": make_preview,
    "faceforensics": make_faceforensics,
    "celeb-df": make_celeb_df,
    "fakeavceleb": make_fakeavceleb,
    "folders": make_folders,
    "table": make_table,
}


def measure_layouts(root: Path, clips: int) -> None:
    """Print how long the catalog of each layout takes to read, the best of three."""
    for name, make in LAYOUTS.items():
        make(root / name, clips)
        csv = root / name / "clips.csv"
        options = SourceOptions(table=csv if csv.exists() else None)
        walls, cpus = [], []
        for _ in itertools.repeat(None, 3):
            started, cpu = time.perf_counter(), time.process_time()
            catalog = read_catalog(root / name, options=options)
            families = len(catalog.families())
            walls.append(time.perf_counter() - started)
            cpus.append(time.process_time() - cpu)
        assert catalog.options["layout"] == name
        print(
            f"{name} of {len(catalog.clips):,} clips, {families:,} families: {min(walls):.2f} s, "
            f"CPU {min(cpus):.2f} s"
        )


@click.command()
@click.option("--clips", type=int, multiple=True, default=[1_000, 10_000, 100_000])
@click.option("--catalog-clips", type=int, default=120_000)
@click.option("--layout-clips", type=int, default=100_000)
def main(clips: list[int], catalog_clips: int, layout_clips: int) -> None:
    """Measure the overhead and print it."""
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder) / "catalog", catalog_clips)
        started = time.perf_counter()
        families = len(read_catalog(tree).families())
        taken = time.perf_counter() - started
        measure_layouts(Path(folder) / "layouts", layout_clips)
        print(f"catalog of {catalog_clips:,} clips, {families:,} families: {taken:.2f} s")
        per_clip = []
        for count in clips:
            source = make_tree(Path(folder) / f"run{count}", count)
            started, cpu = time.perf_counter(), time.process_time()
            extract(
                prepare(source, Path(folder) / f"out{count}", crop_options(), RunOptions(), "hog")
            )
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
            per_clip.append(cpu / count)
            print(
                f"{count:9,} clips: {wall:7.1f} s, {1e3 * wall / count:6.2f} ms a clip, "
                f"of which the run's own process {1e3 * cpu / count:6.2f} ms"
            )
        print(f"own cost per clip, {clips[-1]:,} / {clips[0]:,}: {per_clip[-1] / per_clip[0]:.2f}")


if __name__ == "__main__":
    main()
