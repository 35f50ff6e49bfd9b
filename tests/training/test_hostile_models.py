"""Model files made to do harm: each is refused with a sentence, before Keras sees what is in it."""

import copy
import io
import json
import struct
import zipfile

import h5py
import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from manifests.errors import TrainingError
from training.models.keras_files import load_weights
from training.models.keras_objects import CLASSES, UnknownLayer, known
from training.models.model_file import open_model
from training.models.settings import InputSettings
from training.runs.checkpoints import load_classifier

SIDE = 16


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """One network as `.keras` and as `.h5`."""
    folder = tmp_path_factory.mktemp("honest")
    image = keras.Input((SIDE, SIDE, 3))
    convolved = keras.layers.Conv2D(2, 3, kernel_regularizer="l2", name="conv")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooling")(convolved)
    model = keras.Model(image, keras.layers.Dense(1, "sigmoid", name="p_fake")(pooled))
    model.compile("sgd", "binary_crossentropy")
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    return folder


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, parts, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def carriers(honest, folder, change):
    """Both files with a configuration that `change` has changed."""
    parts = members(honest / "model.keras")
    config = json.loads(parts["config.json"])
    change(config["config"]["layers"], config)
    yield zipped(folder / "model.keras", parts | {"config.json": json.dumps(config)})
    (folder / "model.h5").write_bytes((honest / "model.h5").read_bytes())
    with h5py.File(folder / "model.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"], config)
        file.attrs["model_config"] = json.dumps(config)
    yield folder / "model.h5"


def found(kind, module="keras.layers", registered=None, **config):
    return {"module": module, "class_name": kind, "config": config, "registered_name": registered}


def function(name, module="builtins"):
    return found("function", module, name) | {"config": name}


LAMBDA = {"class_name": "__lambda__", "config": {"code": "", "defaults": None, "closure": None}}
CODE = {"name": "l", "function": LAMBDA}


def layer(made):
    """Put a layer before the second one."""

    def change(layers, _):
        given = copy.deepcopy(layers[1]["inbound_nodes"])
        layers.insert(1, made | {"name": "x", "inbound_nodes": given})

    return change


def setting(name, made, at=1):
    return lambda layers, _: layers[at]["config"].update({name: made})


def argument(layers, _):
    layers[1]["inbound_nodes"][0]["kwargs"] = {"training": found("Popen", "subprocess", args="x")}


def twice(layers, config):
    config["spec_name"], config["class_name"] = "x", "__typespec__"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (layer(found("Lambda", **CODE)), "Lambda"),
        (layer(found("layers.Lambda", "keras", **CODE)), "layers.Lambda"),
        (layer(found("layers.Lambda", "keras", "keras>Lambda", **CODE)), "layers.Lambda"),
        (layer(found("Dense", "keras.layers", "keras>Lambda", **CODE)), "keras>Lambda"),
        (layer(found("Lambda", "keras.src.layers.core.lambda_layer", **CODE)), "Lambda"),
        (layer(found("layers.TFSMLayer", "keras", filepath="x")), "layers.TFSMLayer"),
        (layer(found("TFSMLayer", filepath="x")), "TFSMLayer"),
        (layer(found("TorchModuleWrapper", module="x")), "TorchModuleWrapper"),
        (layer(found("JaxLayer", call_fn=function("print"))), "JaxLayer"),
        (layer(found("TimeDistributed", layer=found("Lambda", **CODE))), "Lambda"),
        (layer(found("Bidirectional", layer=found("RNN", cell=found("Lambda")))), "RNN"),
        (layer(found("StringLookup", vocabulary="/etc/passwd")), "StringLookup"),
        (layer(found("TextVectorization", vocabulary="/etc/passwd")), "TextVectorization"),
        (layer(found("get_file", "keras.utils", origin="file:///etc/passwd")), "get_file"),
        (layer(found("Attention9", "models.of.mine", "mine>Attention9")), "Attention9"),
        (setting("activation", function("eval")), "function eval"),
        (setting("activation", function("load_model", "keras.saving")), "function load_model"),
        (setting("activation", function("get", "keras.activations")), "function get"),
        (setting("kernel_initializer", found("system", "os", command="x")), "system"),
        (setting("bias_initializer", found("Constant", "builtins", value=1)), "Constant"),
        (setting("kernel_regularizer", found("Popen", "subprocess", args="x")), "Popen"),
        (setting("kernel_constraint", found("load_model", "keras.saving")), "load_model"),
        (setting("dtype", found("mkdir", "os", name="float32")), "mkdir"),
        (setting("anything", [{"deep": {"class_name": ["Dense"], "config": {}}}]), "class without"),
        (argument, "Popen"),
        (twice, "type specification"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_list_is_named(honest, tmp_path, change, name):
    for path in carriers(honest, tmp_path, change):
        with pytest.raises(TrainingError, match=f"found a? ?({name}).*, which is custom or runs"):
            open_model(path, InputSettings())
        assert path.suffix == ".h5" or load_classifier(path, compile=True) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (setting("units", 10**12, at=-1), "more than .* weights"),
        (setting("filters", 10**9), "more than .* weights"),
        (layer(found("ZeroPadding2D", padding=10**6)), "a feature map of"),
        (layer(found("UpSampling2D", size=[10**5, 10**5])), "a feature map of"),
        (setting("x", [found("Dense")] * 60_000), "more than 50,000 objects"),
    ],
)
def test_a_network_is_not_larger_than_its_file(honest, tmp_path, change, said):
    for path in carriers(honest, tmp_path, change):
        with pytest.raises(TrainingError, match=said):
            open_model(path, InputSettings())


def test_an_optimizer_of_somebody_is_not_built(honest, tmp_path):
    def change(_, config):
        config["compile_config"] = {"optimizer": found("system", "os", command="x")}

    keras_file, _ = carriers(honest, tmp_path, change)
    assert load_classifier(honest / "model.keras", compile=True).optimizer is not None
    assert load_classifier(keras_file, compile=True) is None


def numpy_weights(parts):
    made = io.BytesIO()
    np.savez(made, weights=np.array([{}], object))
    return parts.pop("model.weights.h5") and {**parts, "model.weights.npz": made.getvalue()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: parts | {"metadata.json": b" " * 50_000_000}, "metadata.json of 50,000,000"),
        (lambda parts: parts | {"config.json": b"[" * 30_000_000}, "a config.json of 30,000,000"),
        (lambda parts: parts | {"config.json": b"[" * 200_000}, "nesting too deep"),
        (lambda parts: parts | {"model.weights.h5": bytes(50_000_000)}, "weights.h5 of 50,000,000"),
        (lambda parts: parts | {f"{n}": b"" for n in range(200)}, "more than 100 members"),
        (numpy_weights, "no model.weights.h5, or several"),
    ],
)  # fmt: skip
def test_no_member_is_unpacked_that_is_too_large(honest, tmp_path, change, said):
    path = zipped(tmp_path / "model.keras", change(members(honest / "model.keras")))
    with pytest.raises(TrainingError, match=said):
        open_model(path, InputSettings())
    assert load_classifier(path, compile=False) is None


def test_other_compressions_and_a_second_configuration_are_refused(honest, tmp_path):
    parts = members(honest / "model.keras")
    path = zipped(tmp_path / "lzma.keras", parts, zipfile.ZIP_LZMA)
    with pytest.raises(TrainingError, match="unknown compression"):
        open_model(path, InputSettings())
    path = zipped(tmp_path / "two.keras", parts)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", parts["config.json"])
    with pytest.raises(TrainingError, match=r"no config\.json, or several"):
        open_model(path, InputSettings())


def test_members_that_would_lie_elsewhere_are_never_written(honest, tmp_path):
    parts = members(honest / "model.keras") | {"../../evil.txt": b"x", "assets/x": b"y"}
    path = zipped(tmp_path / "model.keras", parts)
    assert open_model(path, InputSettings()).settings.output == "logit"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.keras"]


def test_a_file_of_two_formats_is_read_as_the_one_that_was_checked(honest, tmp_path):
    """HDF5 in front, behind it an archive with a Lambda, named `.keras`."""
    parts = members(honest / "model.keras")
    config = json.loads(parts["config.json"])
    layer(found("Lambda", **CODE))(config["config"]["layers"], config)
    evil = zipped(tmp_path / "evil.keras", parts | {"config.json": json.dumps(config)})
    both = tmp_path / "both.keras"
    both.write_bytes((honest / "model.h5").read_bytes() + evil.read_bytes())
    assert zipfile.is_zipfile(both)
    assert open_model(both, InputSettings()).network.format.startswith("Keras 3 .h5")
    assert load_classifier(both, compile=False) is None


def outside(file, kind, elsewhere):
    group = file["model_weights/p_fake/p_fake"]
    shape = group["kernel"].shape
    del group["kernel"]
    if kind == "external":
        group["kernel"] = h5py.ExternalLink(elsewhere, "/model_weights")
    elif kind == "soft":
        group["kernel"] = h5py.SoftLink("/model_weights")
    elif kind == "cycle":
        group["kernel"] = file["model_weights"]
    elif kind == "raw":
        group.create_dataset("kernel", shape, "f4", external=[(str(elsewhere), 0, 100)])
    elif kind == "virtual":
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource(str(elsewhere), "x", shape)
        group.create_virtual_dataset("kernel", layout)
    elif kind == "huge":
        group.create_dataset("kernel", (10**12,), "f4", chunks=(1024,))
    elif kind == "gzip":
        group.create_dataset("kernel", data=np.zeros((1000, 1000), "f4"), compression="gzip")
    else:
        group.create_dataset("kernel", data=["text"] * 3)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("external", "no kernel in the file itself"),
        ("soft", "no kernel in the file itself"),
        ("cycle", "in two places"),
        ("raw", "in another file"),
        ("virtual", "in another file"),
        ("huge", "more values than the file has bytes for"),
        ("gzip", "compressed"),
        ("text", "of another kind than numbers"),
    ],
)
def test_the_weights_of_a_file_are_in_it(honest, tmp_path, kind, said):
    path = tmp_path / "model.h5"
    path.write_bytes((honest / "model.h5").read_bytes())
    with h5py.File(path, "a") as file:
        outside(file, kind, honest / "model.h5")
    with pytest.raises(TrainingError, match=said):
        open_model(path, InputSettings())
    with pytest.raises(ValueError, match=said):
        load_weights(keras.saving.load_model(honest / "model.keras"), path)


def reference(data, text):
    """What names a text of an attribute: its length, its heap, its number there."""
    at = data.index(text)
    heap = data.rindex(b"GCOL", 0, at)
    return struct.pack("<IQI", len(text), heap, int.from_bytes(data[at - 16 : at - 14], "little"))


def test_a_long_text_is_not_read_a_thousand_times(tmp_path):
    names = [f"name-{number:04}".encode() for number in range(1000)]
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["long"] = "x" * 1_000_000
        file.attrs["layer_names"] = names
    data = (tmp_path / "model.h5").read_bytes()
    long = reference(data, b"x" * 1_000_000)
    for name in names:
        data = data.replace(reference(data, name), long)
    (tmp_path / "model.h5").write_bytes(data)
    with pytest.raises(TrainingError, match=r"1,000,000 bytes that is named 1,001 times"):
        open_model(tmp_path / "model.h5", InputSettings())


def test_a_heap_that_hdf5_would_read_for_ever_is_refused(honest, tmp_path):
    data = bytearray((honest / "model.h5").read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 16 : heap + 4096] = bytes(4080)
    (tmp_path / "model.h5").write_bytes(data)
    with pytest.raises(TrainingError, match="a damaged heap of texts"):
        open_model(tmp_path / "model.h5", InputSettings())


def test_no_library_is_loaded_for_a_filter(honest, tmp_path):
    """HDF5 would look for it in folders of plug-ins, one of them in the working folder."""
    h5py.h5pl.append(str(tmp_path).encode())
    load_weights(load_classifier(honest / "model.keras", compile=False), honest / "model.h5")
    assert h5py.h5pl.size() == 0


def test_keras_finds_what_the_list_names():
    """Each name of the list is one class of Keras, and none of those that run code."""
    from keras.src.saving.serialization_lib import _retrieve_class_or_fn

    for module, names in CLASSES.items():
        for name in names:
            made = _retrieve_class_or_fn(name, None, module, "class", {"class_name": name})
            assert made.__name__ == name
            assert made.__module__.startswith("keras.src.")
    for name in ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Layer"):
        with pytest.raises(UnknownLayer):
            known({"class_name": name, "config": {}})


def write_onnx(path, node, constants=(), domain=""):
    """An operation on the image, then its mean."""
    values = {"axes": [1, 2, 3], "one": [1]} | dict(constants)
    tensors = [
        onnx.numpy_helper.from_array(np.array(value), name) for name, value in values.items()
    ]
    mean = onnx.helper.make_node("ReduceMean", ["y", "axes"], ["m"], keepdims=0)
    out = onnx.helper.make_node("Unsqueeze", ["m", "one"], ["out"])
    image = onnx.helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    found = onnx.helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([*node, mean, out], "g", [image], [found], tensors)
    sets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(domain or "x", 1)]
    model = onnx.helper.make_model(graph, opset_imports=sets, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def operation(kind, *inputs, **settings):
    return onnx.helper.make_node(kind, ["image", *inputs], ["y"], **settings)


def endless():
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "on": TensorProto.BOOL}
    values = [onnx.helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()]
    same = onnx.helper.make_node("Identity", ["go"], ["on"])
    body = onnx.helper.make_graph([same], "body", values[:2], values[2:])
    return [onnx.helper.make_node("Loop", ["trips", ""], [], body=body), operation("Relu")]


@pytest.mark.parametrize(
    ("nodes", "constants", "domain", "said"),
    [
        ([operation("Evil", domain="my.ops")], {}, "my.ops", "the operation my.ops.Evil"),
        ([operation("Gelu", domain="com.microsoft")], {}, "com.microsoft", "com.microsoft.Gelu"),
        (endless(), {"trips": 2**62}, "", "the operation Loop"),
        ([operation("Tile", "times")], {"times": [1, 1000, 1000, 1000]}, "", "a feature map of"),
        ([operation("Resize", "", "", "to")], {"to": [1, 3, 10**6, 10**6]}, "", "a feature map of"),
    ],
)
def test_an_onnx_file_has_operations_of_classifiers(tmp_path, nodes, constants, domain, said):
    with pytest.raises(TrainingError, match=said):
        open_model(write_onnx(tmp_path / "m.onnx", nodes, constants, domain), InputSettings())


def test_a_network_of_onnx_gets_no_more_memory_than_the_limit(tmp_path):
    """Its size is that of the brightest pixel, which nothing but the image tells."""
    nodes = [
        onnx.helper.make_node("ReduceMax", ["image", "axes"], ["most"], keepdims=0),
        onnx.helper.make_node("Cast", ["most"], ["whole"], to=TensorProto.INT64),
        onnx.helper.make_node("ReduceMax", ["whole"], ["side"], keepdims=1),
        onnx.helper.make_node("Concat", ["side"] * 4, ["shape"], axis=0),
        onnx.helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        onnx.helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        operation("Add", "sum"),
    ]
    with pytest.raises(TrainingError, match="Available memory of 4"):
        open_model(write_onnx(tmp_path / "m.onnx", nodes), InputSettings())


def test_the_weights_of_an_onnx_file_are_in_it(tmp_path):
    path = write_onnx(tmp_path / "m.onnx", [operation("Add", "w")], {"w": np.float32([1])})
    assert open_model(path, InputSettings()).settings.output == "logit"
    model = onnx.load(path)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(TrainingError, match="weights in another file"):
        open_model(path, InputSettings())
