"""Mutants of metadata.json, tables, crops, shards, run.json and the journal."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cli import main
from dfdc_prep.writing.writer import write_sums
from tests.torture import bench, mutate
from tests.torture.bench import End
from tests.torture.scene import CLIPS, DETECTOR, Scene
from tests.torture.trial import Trial

#: The tables of a faces folder.
FACES_TABLES = ("manifest", "balanced", "split", "clips")
#: Kinds of files, and how many of a hundred mutants are one.
KINDS = {"metadata": 28, "manifest": 22, "bare": 15, "crop": 12, "shards": 20, "notes": 3}


def trials(scene: Scene, draw: random.Random, count: int) -> Iterator[Trial]:
    """Yield `count` mutants; their sources are made first."""
    assert scene.shards.is_dir()
    tries = {
        "metadata": metadata, "manifest": manifest, "bare": bare,
        "crop": crop, "shards": shards, "notes": notes,
    }  # fmt: skip
    kinds = draw.choices(list(KINDS), list(KINDS.values()), k=count)
    jobs = [(f"mutant {kind}", tries[kind], f"{draw.random()}") for kind in kinds]
    yield from bench.trials(scene, jobs)


def metadata(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage metadata.json; there are no clips, so no worker is started."""
    entries = json.loads((CLIPS / "metadata.json").read_text())
    return extract(folder, mutate.json_text(entries, draw))


def extract(folder: Path, entries: bytes) -> End:
    """Extract a part that consists of its metadata.json; resume if it was begun."""
    part = folder / "dfdc" / "dfdc_train_part_1"
    part.mkdir(parents=True, exist_ok=True)
    (part / "metadata.json").write_bytes(entries)
    out = folder / "out"
    words = ["extract", str(folder / "dfdc"), str(out), *DETECTOR]
    return bench.invoke(main, words, folder, [out])


def linked(scene: Scene, folder: Path) -> Path:
    """A copy of the imported faces folder, with links to its crops and copies of its tables."""
    faces = folder / "faces"
    shutil.copytree(scene.root / "imported", faces, copy_function=os.link)
    for name in ("manifest", "balanced", "split", "clips"):
        path = faces / f"{name}.parquet"
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    return faces


def manifest(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage one of the four tables of a faces folder, and run every command that reads it."""
    faces, out = linked(scene, folder), folder / "out"
    name = draw.choice(FACES_TABLES)
    mutate.parquet(faces / f"{name}.parquet", draw)
    return read_faces(name, faces, out)


def read_faces(name: str, faces: Path, out: Path) -> End:
    """Run every command that reads the table `name` of a faces folder."""
    calls = {
        "manifest": (
            ["summary", str(faces)],
            ["balance", str(faces)],
            ["split", str(faces / "manifest.parquet"), "--out", str(faces / "again.parquet")],
        ),
        "balanced": (["split", str(faces)], ["shard", str(faces), str(out)]),
        "split": (["audit", str(faces)],),
        "clips": (["summary", str(faces), "--json"],),
    }[name]
    return bench.all_of(bench.invoke(main, words, out.parent, [out, faces]) for words in calls)


def bare(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage a bare table, CSV or Parquet."""
    whole = (scene.root / "set" / "crops.csv").read_text()
    if draw.random() < 0.3:
        whole = whole.replace("\n", ",part_a\n").replace("original,part_a", "original,part", 1)
    if draw.random() < 0.7:
        path = folder / "bare.csv"
        path.write_bytes(mutate.csv_text(whole, draw))
    else:
        path = folder / "bare.parquet"
        pq.write_table(wide(whole), path)
        mutate.parquet(path, draw)
    return read_bare(scene, path, folder / "out")


def read_bare(scene: Scene, path: Path, out: Path) -> End:
    """Run every command that reads a bare table."""
    out.mkdir()
    images = str(scene.root / "set" / "images")
    calls = (
        ["summary", str(path)],
        ["balance", str(path), "--out", str(out / "balanced.csv")],
        ["split", str(path), "--out", str(out / "split.parquet")],
        ["split", str(path), "--group-by", "camera", "--out", str(out / "split.csv")],
        ["audit", str(path)],
        ["import", images, str(path), str(out / "faces")],
    )
    return bench.all_of(bench.invoke(main, words, out.parent, [out]) for words in calls)


def wide(text: str) -> pa.Table:
    """The rows of a CSV with every column that some command reads, and one more."""
    names, *rows = (line.split(",") for line in text.splitlines())
    columns = zip(*rows, strict=True)
    table = pa.table([pa.array(column) for column in columns], names=names)
    further = {
        "frame": 0, "face": 0, "w": 90, "h": 80, "crop_size": 99, "original_width": 90,
        "original_height": 80, "score": 0.9, "time_s": 0.0, "camera": "left",
    }  # fmt: skip
    for name, value in further.items():
        table = table.append_column(name, pa.array([value] * table.num_rows))
    halves = pa.array(["train", "test"] * (table.num_rows // 2))
    return table.append_column("split", halves)


def crop(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage a crop; half of the time, update its hash in the manifest."""
    faces, out = linked(scene, folder), folder / "out"
    balanced = pq.read_table(faces / "balanced.parquet")
    at = draw.randrange(balanced.num_rows)
    path = faces / balanced["path"][at].as_py()
    data = mutate.any_bytes(path.read_bytes(), draw)
    path.unlink()
    path.write_bytes(data)
    if draw.random() < 0.5:
        hashes = balanced["sha256"].to_pylist()
        hashes[at] = hashlib.sha256(data).hexdigest()
        place = balanced.column_names.index("sha256")
        balanced = balanced.set_column(place, balanced.schema.field(place), pa.array(hashes))
        pq.write_table(balanced, faces / "balanced.parquet")
    form = draw.choice(("as-is", "jpeg"))
    calls = (
        ["shard", str(faces), str(out), "--image-format", form],
        ["audit", str(faces)],
        ["import", str(faces / "crops"), str(faces / "split.parquet"), str(folder / "again")],
    )
    kept = [out, folder / "again"]
    return bench.all_of(bench.invoke(main, words, folder, kept) for words in calls)


def shards(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage one file of a shards folder; half of the time, update SHA256SUMS."""
    copy = folder / "shards"
    shutil.copytree(scene.root / "shards", copy)
    path = draw.choice(sorted(copy.iterdir()))
    if path.suffix == ".json":
        path.write_bytes(mutate.json_text(json.loads(path.read_text()), draw))
    elif path.suffix == ".parquet":
        mutate.parquet(path, draw)
    else:
        path.write_bytes(mutate.any_bytes(path.read_bytes(), draw))
    if draw.random() < 0.5 and path.name != "SHA256SUMS":
        write_sums(copy, {})
    return read_shards(copy)


def read_shards(copy: Path) -> End:
    """Run every command that reads a shards folder and writes nothing."""
    calls = (["verify", str(copy)], ["audit", str(copy)])
    return bench.all_of(bench.invoke(main, words, copy.parent, []) for words in calls)


def notes(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage run.json or the journal of a finished extraction, then resume it."""
    entries, out = (CLIPS / "metadata.json").read_bytes(), folder / "out"
    first = extract(folder, entries)
    path = out / draw.choice(("run.json", "journal.jsonl"))
    if path.suffix == ".json":
        path.write_bytes(mutate.json_text(json.loads(path.read_text()), draw))
    else:
        lines = path.read_bytes().splitlines()
        at = draw.randrange(len(lines))
        lines[at] = mutate.json_text(json.loads(lines[at]), draw)
        path.write_bytes(b"\n".join(lines) + b"\n")
    return first if first[0] != "survived" else extract(folder, entries)
