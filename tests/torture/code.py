"""Nothing that this toolkit reads may run code: every format gets files that would."""

import ast
import io
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.torture.command import MAIN, ROOT, run
from tests.torture.scene import FIT, SMALL, Scene
from tests.torture.trial import Trial

#: Calls that read pickles or run text.
_BANNED = ("pickle", "cPickle", "dill", "joblib", "shelve", "marshal")
_CALLS = ("eval", "exec", "enable_unsafe_deserialization")


class Bomb:
    """An object that creates a file when it is unpickled."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, (str(self.fuse),)


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    yield _source()
    folder = scene.place("code")
    fuse = folder / "went-off"
    for name, words in _laid(scene, folder, fuse, short):
        done = run(words, folder)
        if fuse.exists():
            yield Trial("code", name, "lost", "code was run")
            fuse.rmdir()
        else:
            yield Trial("code", name, *(done.fault((0, 1, 3)) or ("survived", f"{done.code}")))


def _source() -> Trial:
    """No module of ours imports an unpickler, calls eval, or disables Keras's safe mode."""
    for path in [
        ROOT / "cli.py",
        *(
            p
            for room in ("dfdc_prep", "manifests", "training")
            for p in (ROOT / room).rglob("*.py")
        ),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [
                alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)
            ]
            called = getattr(
                getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", "")
            )
            words = {k.arg: getattr(k.value, "value", None) for k in getattr(node, "keywords", [])}
            unsafe = words.get("allow_pickle") is True or words.get("safe_mode") is False
            if set(names) & set(_BANNED) or called in _CALLS or unsafe:
                return Trial("code", "the source", "lost", f"{path.name} line {node.lineno}")
    return Trial("code", "the source")


def _laid(scene: Scene, folder: Path, fuse: Path, short: bool) -> Iterator[tuple[str, list[str]]]:
    bomb = pickle.dumps(Bomb(fuse))
    yield from _tables(scene, folder, bomb)
    source = folder / "dfdc"
    source.mkdir()
    (source / "metadata.json").write_bytes(bomb)
    yield "metadata.json a pickle", [*MAIN, "extract", str(source), str(folder / "out")]
    model = folder / "model.onnx"
    model.write_bytes(bomb)
    words = ["extract", str(scene.source), str(folder / "out"), "--detector", "yunet"]
    yield "detector a pickle", [*MAIN, *words, "--detector-model", str(model)]
    if short:
        return
    for name, data in _weights(scene, fuse).items():
        (folder / name).write_bytes(data)
        out = ["--weights", str(folder / name), "--out", str(folder / "fit")]
        yield f"--weights {name}", ["-c", FIT, str(scene.shards), *SMALL, *out]
        run_folder = folder / f"run-{name}"
        shutil.copytree(scene.trained, run_folder)
        shutil.copyfile(folder / name, run_folder / "model.keras")
        yield f"model.keras of {name}", ["-m", "training.evaluate", str(run_folder)]
        shutil.copyfile(folder / name, run_folder / "checkpoints" / "epoch-0003.keras")
        yield (
            f"checkpoint of {name}",
            ["-c", FIT, str(scene.shards), *SMALL, "--out", str(run_folder)],
        )


def _tables(scene: Scene, folder: Path, bomb: bytes) -> Iterator[tuple[str, list[str]]]:
    """Put pickles where Parquet files store metadata that a reader may turn into objects."""
    table = pq.read_table(scene.imported / "manifest.parquet")
    marked = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": bomb,
    }
    field = pa.field("extra", pa.string(), metadata=marked)
    extra = table.append_column(field, table["video"])
    pq.write_table(extra, folder / "extension.parquet")
    yield "a pickled extension type", [*MAIN, "summary", str(folder / "extension.parquet")]
    (folder / "pickle.parquet").write_bytes(bomb)
    yield "a pickle called parquet", [*MAIN, "summary", str(folder / "pickle.parquet")]
    (folder / "pickle.csv").write_bytes(bomb)
    yield "a pickle called CSV", [*MAIN, "summary", str(folder / "pickle.csv")]


def _weights(scene: Scene, fuse: Path) -> dict[str, bytes]:
    """Models that would run code: pickles, a Lambda layer, a module's function."""
    made = {"pickle.keras": pickle.dumps(Bomb(fuse)), "pickle.h5": pickle.dumps(Bomb(fuse))}
    array = io.BytesIO()
    np.savez(array, weights=np.array([Bomb(fuse)], object))
    whole = (scene.trained / "model.keras").read_bytes()
    made["npz.keras"] = _with(whole, {"model.weights.npz": array.getvalue()}, ("model.weights.h5",))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        config = json.loads(archive.read("config.json"))
    call = {"module": "os", "class_name": "function", "config": "mkdir", "registered_name": "mkdir"}
    config["config"]["layers"][0] = {
        "module": "keras.layers", "class_name": "Lambda", "name": "bomb", "inbound_nodes": [],
        "registered_name": None, "config": {"name": "bomb", "function": call},
    }  # fmt: skip
    made["lambda.keras"] = _with(whole, {"config.json": json.dumps(config).encode()})
    direct = {"module": "os", "class_name": "mkdir", "config": {"path": str(fuse)}}
    made["module.keras"] = _with(whole, {"config.json": json.dumps(direct).encode()})
    return made


def _with(archive: bytes, changed: dict[str, bytes], without: tuple[str, ...] = ()) -> bytes:
    """A .keras archive with some members changed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            if name not in changed and name not in without:
                new.writestr(name, old.read(name))
        for name, data in changed.items():
            new.writestr(name, data)
    return made.getvalue()
