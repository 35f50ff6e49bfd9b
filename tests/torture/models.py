"""Mutants of the files that training reads and writes: checkpoints, history, JSON files, shards."""

import io
import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from click import Command

from dfdc_prep.writing.writer import write_sums
from tests.torture import bench, mutate
from tests.torture.bench import End
from tests.torture.scene import SMALL, Scene
from tests.torture.trial import Trial

#: Kinds of files, and how many of a hundred mutants are one.
KINDS = {"checkpoint": 40, "run": 30, "training shards": 30}


def trials(scene: Scene, draw: random.Random, count: int) -> Iterator[Trial]:
    """Yield `count` mutants, in one process that has loaded TensorFlow."""
    assert scene.trained.is_dir()
    tries = {"checkpoint": checkpoint, "run": run_files, "training shards": shards}
    kinds = draw.choices(list(KINDS), list(KINDS.values()), k=count)
    jobs = [(f"mutant {kind}", tries[kind], f"{draw.random()}") for kind in kinds]
    yield from bench.trials(scene, jobs, workers=1)


def _fit() -> Command:
    """`training.fit` with a backbone that trains in seconds."""
    import keras

    from tests.training.conftest import smallest
    from training.fit import main

    keras.applications.EfficientNetB7 = smallest
    return main


def _again(scene: Scene, run: Path) -> list[str]:
    return [str(scene.root / "shards"), *SMALL, "--out", str(run)]


def rezipped(data: bytes, draw: random.Random) -> bytes:
    """A .keras archive that is a valid archive with one member changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(members))
    if name.endswith(".json"):
        members[name] = mutate.json_text(json.loads(members[name]), draw)
    elif draw.random() < 0.3:
        members[draw.choice(("../../evil.txt", "/tmp/evil.txt", name))] = members.pop(name)
    else:
        members[name] = mutate.any_bytes(members[name], draw)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return made.getvalue()


def _harm_archive(path: Path, draw: random.Random) -> None:
    change = rezipped if draw.random() < 0.7 else mutate.any_bytes
    path.write_bytes(change(path.read_bytes(), draw))


def checkpoint(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage a checkpoint, then resume; or model.keras, then evaluate or predict."""
    from training.evaluate import main as evaluate
    from training.predict import main as predict

    run = Path(shutil.copytree(scene.root / "run", folder / "run"))
    if draw.random() < 0.5:
        _harm_archive(draw.choice(sorted((run / "checkpoints").iterdir())), draw)
        return bench.invoke(_fit(), _again(scene, run), folder, [run])
    _harm_archive(run / "model.keras", draw)
    crop = next((scene.root / "set" / "images").rglob("*.png"))
    if draw.random() < 0.5:
        return bench.invoke(predict, [str(run), str(crop)], folder, [run])
    return bench.invoke(evaluate, [str(run)], folder, [run])


def run_files(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage config.json, metrics.json or history.csv, then run a command that reads it."""
    from training.evaluate import main as evaluate

    run = Path(shutil.copytree(scene.root / "run", folder / "run"))
    path = run / draw.choice(("config.json", "metrics.json", "history.csv"))
    if path.suffix == ".json":
        path.write_bytes(mutate.json_text(json.loads(path.read_text()), draw))
    else:
        path.write_bytes(mutate.csv_text(path.read_text(), draw))
    if draw.random() < 0.5:
        return bench.invoke(_fit(), _again(scene, run), folder, [run])
    return bench.invoke(evaluate, [str(run)], folder, [run])


def shards(scene: Scene, folder: Path, draw: random.Random) -> End:
    """Damage one file of the shards that a run is trained or evaluated on."""
    from training.evaluate import main as evaluate

    copy = Path(shutil.copytree(scene.root / "shards", folder / "shards"))
    files = [path for path in copy.iterdir() if path.name not in ("SHA256SUMS", "croissant.json")]
    path = draw.choice(sorted(files))
    if path.suffix == ".json":
        path.write_bytes(mutate.json_text(json.loads(path.read_text()), draw))
    elif path.suffix == ".parquet":
        mutate.parquet(path, draw)
    else:
        path.write_bytes(mutate.any_bytes(path.read_bytes(), draw))
    write_sums(copy, {})
    run = folder / "run"
    if draw.random() < 0.5:
        words = [str(copy), *SMALL, "--epochs", "1", "--steps-per-epoch", "1", "--out", str(run)]
        return bench.invoke(_fit(), words, folder, [run])
    shutil.copytree(scene.root / "run", run)
    return bench.invoke(evaluate, [str(run), str(copy)], folder, [run])
