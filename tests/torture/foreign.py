"""Hostile model files, opened while strace watches: nothing else is opened, written or started.

Mutants of small files of Keras 3, of Keras 2 and of ONNX: their bytes, the members of an archive,
the configuration, the groups of HDF5, the nodes of a graph.
"""

import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.torture import media, mutate
from tests.torture.models import rezipped
from tests.torture.scene import Scene
from tests.torture.trial import SKIPPED, SURVIVED, Trial

#: Seconds a file may take.
PATIENCE = 60
SIDE = 16
_CODE = {"class_name": "__lambda__", "config": {"code": "4wA=", "defaults": None, "closure": None}}
#: What a configuration shall not name, as (module, class, settings).
_OBJECTS = (
    ("keras.layers", "Lambda", {"function": _CODE}), (None, "Lambda", {"function": _CODE}),
    ("keras", "layers.Lambda", {"function": _CODE}),
    ("keras.layers", "TFSMLayer", {"filepath": "/etc"}), ("os", "system", {"command": "touch x"}),
    ("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}), ("builtins", "eval", {}),
    ("keras.layers", "TextVectorization", {"vocabulary": "/etc/passwd"}),
    ("keras.layers", "TorchModuleWrapper", {"module": "gASVAA=="}), ("subprocess", "Popen", {}),
    ("keras.utils", "get_file", {"fname": "x", "origin": "file:///etc/passwd"}),
    ("keras.saving", "load_model", {"filepath": "/tmp/x.keras"}),
    ("keras.layers", "TimeDistributed", {"layer": {"class_name": "Lambda", "config": {}}}),
    ("keras.src.saving.saving_lib", "DiskIOStore", {"root_path": "/tmp/x"}),
    ("keras.src.layers.core.lambda_layer", "Lambda", {"function": _CODE}),
    ("keras.callbacks", "CSVLogger", {"filename": "/tmp/x"}),
)  # fmt: skip
#: Settings that ask for much, or for something else.
_VALUES = (10**12, -1, 0, 1.5, None, "/etc/passwd", "http://127.0.0.1:9/", [10**6] * 4, True)
_LINKS = (h5py.SoftLink("/"), h5py.ExternalLink("/etc/passwd", "/"), h5py.ExternalLink("x.h5", "/"))
_OPERATIONS = ("Loop", "If", "Scan", "Tile", "Resize", "Range", "PyOp", "StringNormalizer", "Relu")


def lay_bases(folder: Path) -> None:
    """Write a small network as each format."""
    import keras

    image = keras.Input((SIDE, SIDE, 3))
    scaled = keras.layers.Normalization(name="scale")(image)
    convolved = keras.layers.Conv2D(2, 3, activation="relu", name="conv")(scaled)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooling")(convolved)
    model = keras.Model(image, keras.layers.Dense(1, "sigmoid", name="p_fake")(pooled))
    model.compile("sgd", "binary_crossentropy")
    folder.mkdir()
    model.save(folder / "a.keras")
    model.save(folder / "a.h5")
    (folder / "a.keras2.h5").write_bytes(_legacy())
    (folder / "a.onnx").write_bytes(_graph())


def _legacy() -> bytes:
    layers: list[tuple[str, dict[str, Any]]] = [
        ("Conv2D", {"name": "conv", "filters": 2, "kernel_size": [3, 3]}),
        ("GlobalAveragePooling2D", {"name": "pooling"}),
        ("Dense", {"name": "head", "units": 1, "activation": "sigmoid"}),
    ]
    layers[0][1]["batch_input_shape"] = [None, SIDE, SIDE, 3]
    config = {"name": "s", "layers": [{"class_name": k, "config": c} for k, c in layers]}
    made = io.BytesIO()
    weights = {"conv": ((3, 3, 3, 2), (2,)), "head": ((2, 1), (1,))}
    with h5py.File(made, "w") as file:
        file.attrs["keras_version"] = "2.11.0"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, shapes in weights.items():
            names = [f"{name}/kernel:0", f"{name}/bias:0"]
            group.create_group(name).attrs["weight_names"] = [each.encode() for each in names]
            for each, shape in zip(names, shapes, strict=True):
                group[name][each] = np.ones(shape, np.float32)
    return made.getvalue()


def _graph() -> bytes:
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["out"]),
    ]
    values = {"kernel": np.ones((2, 3, 3, 3), np.float32), "w": np.ones((2, 1), np.float32)}
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1])
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", [image], [out], tensors)
    sets = [helper.make_opsetid("", 18)]
    made: bytes = helper.make_model(graph, opset_imports=sets, ir_version=9).SerializeToString()
    return made


def config_text(text: str | bytes, draw: random.Random) -> bytes:
    """A configuration with a hostile object or value somewhere in it."""
    config = json.loads(text)
    for _ in range(draw.randint(1, 2)):
        where = draw.choice(list(_places(config)))
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        if draw.random() < 0.6:
            module, kind, settings = copy.deepcopy(draw.choice(_OBJECTS))
            made: Any = {"class_name": kind, "config": {"name": "x", **settings}}
            registered = draw.choice((None, kind, f"keras>{kind}"))
            made |= {"registered_name": registered, "module": module}
            if draw.random() < 0.3:
                made |= {"class_name": "function", "config": kind}
        else:
            made = draw.choice(_VALUES)
        where[draw.choice(keys)] = made
    return json.dumps(config).encode()


def _places(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list) and value:
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _places(each)


def _archive(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.4:
        return rezipped(data, draw)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if draw.random() < 0.8:
        members["config.json"] = config_text(members["config.json"], draw)
    else:
        members["model.weights.h5"] = _hdf5(members["model.weights.h5"], draw)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def _hdf5(data: bytes, draw: random.Random) -> bytes:
    made = io.BytesIO(data)
    with h5py.File(made, "a") as file:
        if "model_config" in file.attrs and draw.random() < 0.6:
            file.attrs["model_config"] = config_text(file.attrs["model_config"], draw).decode()
            return _bytes(file, made)
        names: list[str] = []
        file.visit(names.append)
        name = draw.choice(names)
        kept = file[name]
        del file[name]
        choice = draw.randrange(5)
        if choice < len(_LINKS):
            file[name] = _LINKS[choice]
        elif choice == 3:
            file.create_dataset(name, (draw.choice((10**3, 10**9, 10**12)),), "f4", chunks=(64,))
        elif isinstance(kept, h5py.Dataset):
            place = ("/etc/passwd", 0, h5py.h5f.UNLIMITED)
            file.create_dataset(name, kept.shape or (1,), "f4", external=[place])
        return _bytes(file, made)


def _bytes(file: h5py.File, made: io.BytesIO) -> bytes:
    file.close()
    return made.getvalue()


def _nodes(data: bytes, draw: random.Random) -> bytes:
    model = onnx.load_model_from_string(data)
    for _ in range(draw.randint(1, 2)):
        node, tensor = draw.choice(model.graph.node), draw.choice(model.graph.initializer)
        choice = draw.randrange(6)
        if choice == 0:
            node.op_type = draw.choice(_OPERATIONS)
        elif choice == 1:
            node.domain = draw.choice(("com.microsoft", "evil", "ai.onnx.ml"))
        elif choice == 2:
            node.input.append(draw.choice(("image", "kernel", "x", "")))
        elif choice == 3:
            tensor.data_location = TensorProto.EXTERNAL
            place = draw.choice(("/etc/passwd", "../dear.txt", "dear.txt"))
            tensor.external_data.add(key="location", value=place)
        elif choice == 4:
            tensor.dims[0] = draw.choice((0, -1, 10**6, 2**62))
        else:
            node.attribute.append(helper.make_attribute("axis", draw.choice((9, -9, 10**9))))
    made: bytes = model.SerializeToString()
    return made


#: How a format is changed without ceasing to be one.
_CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "keras": _archive, "h5": _hdf5, "keras2.h5": _hdf5, "onnx": _nodes,
}  # fmt: skip


def lay(folder: Path, draw: random.Random, count: int) -> list[Path]:
    """Write so many mutants; return them in the order in which they are opened."""
    made, whole = [], folder / "whole"
    known = {path.name.partition(".")[2]: path.read_bytes() for path in sorted(whole.iterdir())}
    for number in range(count):
        form = draw.choice(sorted(known))
        change = _CHANGES[form] if draw.random() < 0.7 else mutate.any_bytes
        name = change.__name__.strip("_")
        made.append(folder / f"{number:05}-{name}.{form}")
        made[-1].write_bytes(change(known[form], draw))
    return made


def trials(scene: Scene, draw: random.Random, count: int) -> Iterator[Trial]:
    """Open `count` mutants under strace."""
    strace = shutil.which("strace")
    if strace is None:
        yield Trial("foreign", "all", SKIPPED, "needs strace")
        return
    folder = scene.place("foreign")
    lay_bases(folder / "whole")
    left = lay(folder, draw, count)
    while left:
        before = len(left)
        for trial in media.watched_run([strace, __name__], folder, left, _kind):
            # Models are opened in the process of the command itself, which shall not die of one.
            died = trial.end == SURVIVED and trial.why.startswith("exit code")
            yield replace(trial, end="lost") if died else trial
        assert len(left) < before, "no file was opened"


def _kind(path: Path) -> str:
    return f"foreign .{path.name.partition('.')[2]}"


def open_all(files: list[Path]) -> None:
    """Open each file by every door of the project, and say how it ended; a child's main."""
    from manifests.errors import TrainingError, out_of_memory
    from training.models.model_file import open_model
    from training.models.settings import InputSettings
    from training.runs.checkpoints import load_classifier

    images = np.full((2, SIDE, SIDE, 3), 99, np.uint8)

    def attempt(path: Path) -> str:
        try:
            opened = path.suffix == ".keras" and load_classifier(path, compile=True) is not None
            open_model(path, InputSettings()).predict_on_batch(images)
        except TrainingError as error:
            if len(str(error)) > 1000 or "\n" in str(error):
                return f"traceback: no one sentence, {str(error)[:300]!a}"
            return f"refused {'by open_model alone' * opened}"
        except Exception as error:
            if out_of_memory(error):
                return "no memory"
            return f"traceback: {type(error).__name__}: {str(error)[:300]!a}"
        return "scored"

    for path in sorted(files[0].parent.joinpath("whole").iterdir()):
        assert attempt(path) == "scored", path  # what is imported late is imported now
    with suppress(FileNotFoundError):
        os.close(os.open(media.MARK, os.O_RDONLY))
    for path in files:
        signal.alarm(PATIENCE)
        click.echo(f"{path.name}\t{attempt(path)}")
        click.echo(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}")
    signal.alarm(0)


if __name__ == "__main__":
    open_all([Path(line) for line in sys.stdin.read().splitlines()])
