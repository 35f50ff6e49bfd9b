"""Reads models and weights from Keras's files. Every such file comes in here, of whomever it is.

A file is read into memory once, checked there and loaded from there, so what was checked is what is
loaded. Nothing is unpacked before its size is known, no code of the file is run, and no name in it
leads to another file. What Keras has of such checks by itself is not relied on. HDF5 can lead to
other files, repeat values and unpack a few bytes to a terabyte; what Keras writes does none of it.
"""

import io
import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras

from manifests.files import parse_json
from training.models.keras_objects import known

_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
#: How a heap of texts begins in HDF5, with the only version.
_HEAP = b"GCOL\x01"
#: Most groups and data sets of a file; an EfficientNetB7 with its optimizer has some 5,000.
_MOST_OBJECTS = 100_000
#: Bytes from which on a text counts as long, most texts in a list, which Keras cuts at 64 KB, and
#: most bytes that a long text may come to where it is named several times.
_LONG_TEXT, _MOST_TEXTS, _MOST_NAMED = 4096, 10_000, 20_000_000
#: Largest file, in bytes; an EfficientNetB7 with its optimizer has 0.5 GB.
_LARGEST = 2 << 30
#: Largest config.json and metadata.json, in bytes; EfficientNetB7's config.json has 0.6 MB.
_MAX_CONFIG, _MAX_METADATA = 20_000_000, 1_000_000
#: Most members of an archive.
_MOST_MEMBERS = 100
#: Most values of a feature map of one image; EfficientNetB7 has 17 million at 600x600.
LARGEST_MAP = 1 << 25
#: Height and width that feature maps of a free size are reckoned with.
FREE_SIDE = 224


class _NamedBytes(io.BytesIO):
    """A file in memory, with the name by which Keras tells its format."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


class Archive(NamedTuple):
    """A `.keras` file: its parsed config.json, its weights in HDF5, and the version of Keras."""

    config: Any
    weights: bytes
    version: str


def read_bytes(path: Path) -> bytes:
    """The bytes of a model file. Raises a ValueError if it is too large."""
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise ValueError(f"more than {_LARGEST >> 30} GB")
    return data


def is_hdf5(data: bytes) -> bool:
    """Whether it is read as HDF5; a file may be valid as several formats."""
    return data.startswith(_HDF5)


def is_archive(data: bytes) -> bool:
    """Whether it is read as a zip archive."""
    return data.startswith(_ZIP)


def _most_unpacked(data: bytes) -> int:
    """Most bytes that a file may hold when unpacked: Keras stores weights as they are."""
    return 2 * len(data) + (1 << 20)


@contextmanager
def open_hdf5(data: bytes) -> Iterator[h5py.File]:
    """Open an HDF5 file in memory that holds all it says, itself, and as it is.

    Raises:
        ValueError, OSError, RuntimeError, KeyError: it is damaged; or it has a link, values in
            another file, compressed ones, or more than the file can hold.
    """
    if not is_hdf5(data):
        raise ValueError("no HDF5 file")
    # For a filter that it does not know, HDF5 looks for a library to load, in HDF5_PLUGIN_PATH or
    # where it was built to: h5py's wheels in a folder `disable` of the working folder.
    while h5py.h5pl.size():
        h5py.h5pl.remove(0)
    _check_texts(data)
    with h5py.File(io.BytesIO(data), "r") as file:
        _check_objects(file, _most_unpacked(data))
        yield file


def _check_texts(data: bytes) -> None:
    """Check the heaps of texts of free lengths (HDF5 File Format Specification, III.E).

    HDF5 1.14 reads a heap whose free space has the size 0 for ever, and a long text that is named
    many times fills the memory.
    """
    # Addresses are of 8 bytes from the file's beginning, in every version of its header.
    size, base = {0: (13, 24), 1: (13, 28)}.get(data[8], (9, 12))
    if data[size] != 8 or any(data[base : base + 8]):
        raise ValueError("an unusual HDF5 header")
    heap = data.find(_HEAP)
    while heap >= 0:
        for number, length in _texts(data, heap):
            named = data.count(struct.pack("<QI", heap, number)) if length > _LONG_TEXT else 0
            if named * length > _MOST_NAMED:
                raise ValueError(f"a text of {length:,} bytes that is named {named:,} times")
        heap = data.find(_HEAP, heap + 4)


def _texts(data: bytes, heap: int) -> Iterator[tuple[int, int]]:
    """The number and length of each text of a heap; attributes name a text by heap and number."""
    at, end = heap + 16, heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
    while end - at >= 16:
        if end > len(data):
            raise ValueError("a heap of texts that is cut off")
        number, length = struct.unpack_from("<HxxxxxxQ", data, at)
        taken = 16 + (length + 7) // 8 * 8 if number else length
        if at + taken > end or (not number and at + taken < end):
            raise ValueError("a damaged heap of texts")
        if number:
            yield number, length
        at += taken


def _check_objects(file: h5py.File, budget: int) -> None:
    """Check every object before any is read."""
    waiting: list[Any] = [file["/"]]
    seen: set[Any] = set()
    while waiting:
        found = waiting.pop()
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:
            raise ValueError(f"{found.name} in two places")
        seen.add(address)
        budget -= sum(_attribute_size(found, name) for name in found.attrs)
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise ValueError(f"the values of {found.name} in another file")
            if found.dtype.hasobject or found.id.get_create_plist().get_nfilters():
                raise ValueError(f"{found.name} compressed, or of another kind than numbers")
            budget -= int(math.prod(found.shape or (1,)) * found.dtype.itemsize)
        elif not isinstance(found, h5py.Group):
            raise ValueError(f"a {type(found).__name__}")
        elif len(found) + len(seen) > _MOST_OBJECTS:
            raise ValueError(f"more than {_MOST_OBJECTS:,} objects")
        else:
            for name in found:
                if not isinstance(found.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"no {name} in the file itself")
                waiting.append(found[name])
        if budget < 0:
            raise ValueError("more values than the file has bytes for")


def _attribute_size(found: Any, name: str) -> int:
    """Bytes of an attribute, but for texts of free lengths, which lie elsewhere in the file."""
    attribute = found.attrs.get_id(name)
    count = attribute.get_space().get_simple_extent_npoints()
    if attribute.dtype.hasobject and count > _MOST_TEXTS:
        raise ValueError(f"a list of {count:,} texts, {name}")
    return int(count * attribute.get_type().get_size())


def read_archive(data: bytes) -> Archive:
    """Take a `.keras` file apart.

    Raises:
        ValueError, zipfile.BadZipFile, KeyError, zlib.error, RuntimeError: it is damaged, or a
            member is larger than the file can hold.
    """
    # Each entry of the list of members begins so. Counted before it is read: 10^6 take a GB.
    if data.count(b"PK\x01\x02") > _MOST_MEMBERS:
        raise ValueError(f"more than {_MOST_MEMBERS} members")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        config = _member(archive, "config.json", _MAX_CONFIG)
        metadata = _member(archive, "metadata.json", _MAX_METADATA)
        weights = _member(archive, "model.weights.h5", _most_unpacked(data))
    written = parse_json(metadata)
    version = written.get("keras_version", "") if isinstance(written, dict) else ""
    return Archive(parse_json(config), weights, str(version))


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    if archive.namelist().count(name) != 1:
        raise ValueError(f"no {name}, or several")
    member = archive.getinfo(name)
    if member.file_size > largest:
        raise ValueError(f"a {name} of {member.file_size:,} bytes")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"a {name} in an unknown compression")
    return archive.read(member)


@contextmanager
def limited(weights: int) -> Iterator[None]:
    """Let Keras build no network that is larger than what its file holds.

    Args:
        weights: most weights, the bytes of the file: each has at least two.

    Raises:
        ValueError: a layer wants more, or gives a feature map of `LARGEST_MAP` values.
    """
    add_weight, call = keras.layers.Layer.add_weight, keras.Operation.__call__
    left = weights

    def counted(layer: Any, shape: Any = None, *args: Any, **options: Any) -> Any:
        nonlocal left
        left -= math.prod(shape if isinstance(shape, (tuple, list)) else (shape or 1,))
        if left < 0:
            raise ValueError(f"a network of more than {weights:,} weights, the bytes of the file")
        return add_weight(layer, shape, *args, **options)

    def measured(operation: Any, *args: Any, **options: Any) -> Any:
        outputs = call(operation, *args, **options)
        for output in keras.tree.flatten(outputs):
            shape = getattr(output, "shape", None) or ()
            if math.prod(each or FREE_SIDE for each in shape[1:]) > LARGEST_MAP:
                raise ValueError(f"a feature map of {list(shape)}")
        return outputs

    keras.layers.Layer.add_weight, keras.Operation.__call__ = counted, measured
    try:
        yield
    finally:
        keras.layers.Layer.add_weight, keras.Operation.__call__ = add_weight, call


def build(config: Any, weights: int, *, compile: bool = False) -> Any:
    """Build the model of a configuration of Keras 3, with random weights.

    Args:
        weights: most weights that it may have.
        compile: also as it was compiled.

    Raises:
        UnknownLayer: an object is not one of `training.models.keras_objects`.
        Exception: what Keras raises depends on the layer and on the damage.
    """
    checked = known(config)
    settings = checked.pop("compile_config", None)
    with limited(weights):
        model = keras.saving.deserialize_keras_object(checked, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise ValueError(f"a {type(model).__name__} instead of a model")
    if compile and settings:
        model.compile_from_config(settings)
    return model


def model_of_archive(archive: Archive, *, compile: bool = False) -> Any:
    """The model of a `.keras` file. Raises as `build`."""
    with open_hdf5(archive.weights):
        model = build(archive.config, len(archive.weights), compile=compile)
    model.load_weights(_NamedBytes(archive.weights, "model.weights.h5"))
    return model


def load_archive(path: Path, *, compile: bool = False) -> Any:
    """Load a `.keras` file. Raises as `read_archive` and `build`."""
    return model_of_archive(read_archive(read_bytes(path)), compile=compile)


def load_weights(model: Any, path: Path) -> None:
    """Load the weights of an `.h5` or `.weights.h5` file. Raises as `open_hdf5` and Keras."""
    data = read_bytes(path)
    numbered = path.name.endswith(".weights.h5")
    with open_hdf5(data):
        load_hdf5_weights(model, data, "model.weights.h5" if numbered else "model.h5")


def load_hdf5_weights(model: Any, data: bytes, name: str = "model.h5") -> None:
    """Load the weights of a checked `.h5` file.

    Keras sets the statistics of a Normalization layer and does not use them until the layer is
    finalized, which it does for `.keras` files alone (keras-team/keras #20163).
    """
    model.load_weights(_NamedBytes(data, name))
    for layer in leaves(model):
        inner = getattr(layer, "layer", layer)  # of a wrapper
        if isinstance(inner, keras.layers.Normalization) and inner.weights:
            inner.finalize_state()


def leaves(layer: Any) -> Iterator[Any]:
    """The layers of nested models, and the layer itself if it is not a model."""
    if isinstance(layer, keras.Model):
        for inner in layer.layers:
            yield from leaves(inner)
    else:
        yield layer
