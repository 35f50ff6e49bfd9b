"""Opens HDF5 files of anybody in memory: complete, without links, and no larger than they are.

HDF5 can lead to other files, repeat values and unpack a few bytes to a terabyte. What Keras writes
does none of it.
"""

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: How a heap of texts begins, with the only version.
_HEAP = b"GCOL\x01"
#: Most groups and data sets of a file; an EfficientNetB7 with its optimizer has some 5,000.
_MOST_OBJECTS = 100_000
#: Bytes from which on a text counts as long, most texts in a list, which Keras cuts at 64 KB, and
#: most bytes that a long text may come to where it is named several times.
_LONG_TEXT, _MOST_TEXTS, _MOST_NAMED = 4096, 10_000, 20_000_000


def most_unpacked(data: bytes) -> int:
    """Most bytes that a file may hold when unpacked: Keras stores weights as they are."""
    return 2 * len(data) + (1 << 20)


def is_hdf5(data: bytes) -> bool:
    """Whether it is read as HDF5; a file may be valid as several formats."""
    return data.startswith(_SIGNATURE)


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
        _check_hdf5(file, most_unpacked(data))
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
    """The number and length of each text of a heap, which an attribute names by both places."""
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


def _check_hdf5(file: h5py.File, budget: int) -> None:
    """Check every object before any is read."""
    waiting: list[Any] = [file["/"]]
    seen: set[Any] = set()
    while waiting:
        found = waiting.pop()
        where = h5py.h5o.get_info(found.id).addr
        if where in seen:
            raise ValueError(f"{found.name} in two places")
        seen.add(where)
        if len(seen) > _MOST_OBJECTS:
            raise ValueError(f"more than {_MOST_OBJECTS:,} objects")
        budget -= sum(_attribute_size(found, name) for name in found.attrs)
        if isinstance(found, h5py.Dataset):
            budget -= _stored_size(found)
        elif isinstance(found, h5py.Group):
            if len(found) > _MOST_OBJECTS:
                raise ValueError(f"more than {_MOST_OBJECTS:,} objects")
            waiting += [_inside(found, name) for name in found]
        else:
            raise ValueError(f"a {type(found).__name__}")
        if budget < 0:
            raise ValueError("more values than the file has bytes for")


def _inside(group: h5py.Group, name: str) -> Any:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"no {name} in the file itself")
    return group[name]


def _stored_size(found: h5py.Dataset) -> int:
    """Bytes of a data set in memory."""
    if found.external or found.is_virtual:
        raise ValueError(f"the values of {found.name} in another file")
    settings = found.id.get_create_plist()
    if found.dtype.hasobject or settings.get_nfilters():
        raise ValueError(f"{found.name} compressed, or of another kind than numbers")
    return int(math.prod(found.shape or (1,)) * found.dtype.itemsize)


def _attribute_size(found: Any, name: str) -> int:
    """Bytes of an attribute, but for texts of free lengths, which lie elsewhere in the file."""
    attribute = found.attrs.get_id(name)
    count = attribute.get_space().get_simple_extent_npoints()
    if attribute.dtype.hasobject and count > _MOST_TEXTS:
        raise ValueError(f"a list of {count:,} texts, {name}")
    return int(count * attribute.get_type().get_size())
