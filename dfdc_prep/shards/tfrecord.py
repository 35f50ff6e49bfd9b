"""TFRecord files without TensorFlow: their framing, and the `tf.train.Example` inside.

A record is its length (uint64, little-endian), the masked CRC-32C of those eight bytes,
the data, and the masked CRC-32C of the data. The layout and the mask are TensorFlow's
(tensorflow/core/lib/io/record_writer.h, tensorflow/core/lib/hash/crc32c.h).
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import google_crc32c

from dfdc_prep.errors import ShardError

Feature = list[bytes] | list[int] | list[float]

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
#: Bytes a record takes beside its data.
FRAMING = _HEADER.size + _FOOTER.size
#: Wire types of protocol buffers, and the bytes a number of fixed size takes.
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
#: The field of a Feature says what its list holds; bytes, floats or int64.
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def masked_crc(data: bytes) -> int:
    """The CRC-32C of `data`, rotated and shifted as TensorFlow stores it."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """One record as it stands in the file, the bytes `tf.io.TFRecordWriter` writes."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc(length)), data, struct.pack("<I", masked_crc(data)))
    )


def records(path: Path) -> Iterator[bytes]:
    """The data of every record of a file, in order; reads one record at a time.

    Raises:
        ShardError: a checksum does not fit or the file ends inside a record; it names
            the file and the record, counted from 0.
    """
    with path.open("rb") as file:
        for index, (data, fault) in enumerate(scan(file, path.stat().st_size)):
            if fault:
                raise ShardError(
                    f"expected whole records in {path}, found that record {index} {fault}; "
                    "write the shards again with dfdc-prep shard --overwrite"
                )
            yield data


class Readable(Protocol):
    """What records are read from: a file, or something that reads one."""

    def read(self, size: int, /) -> bytes: ...


def scan(file: Readable, size: int) -> Iterator[tuple[bytes, str]]:
    """The data of every record in `size` bytes and what is wrong with it, "" where nothing is.

    Goes on after a record whose data are damaged; ends after one whose length is, since
    nothing then tells where the next one starts.
    """
    while size:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            yield b"", "is cut off"
            return
        length, crc = _HEADER.unpack(header)
        if crc != masked_crc(header[:8]):
            yield b"", "has a wrong checksum of its length"
            return
        size -= length + FRAMING
        if size < 0:
            yield b"", "is cut off"
            return
        data = file.read(length)
        (crc,) = _FOOTER.unpack(file.read(_FOOTER.size))
        yield data, "" if crc == masked_crc(data) else "has a wrong checksum of its data"


def encode(features: Mapping[str, bytes | int]) -> bytes:
    """A serialized `tf.train.Example` with one value a feature, int64 or bytes.

    The bytes are those of TensorFlow's `SerializeToString(deterministic=True)`: features
    sorted by name, numbers packed. (Where one name begins another TensorFlow has its own order.)
    """
    entries = []
    for name in sorted(features):
        value = features[name]
        if isinstance(value, bytes):
            feature = _field(_BYTES_LIST, _field(1, value))
        else:
            feature = _field(_INT64_LIST, _field(1, _to_varint(value % (1 << 64))))
        entries.append(_field(1, _field(1, name.encode()) + _field(2, feature)))
    return _field(1, b"".join(entries))


def _field(number: int, data: bytes) -> bytes:
    """A field of a protocol buffer message that holds bytes or another message."""
    return b"".join((bytes([number << 3 | _BYTES]), _to_varint(len(data)), data))


def _to_varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def example(record: bytes) -> dict[str, Feature]:
    """The features of a serialized `tf.train.Example`, by name; an unset one is an empty list.

    Raises:
        ShardError: the bytes are no Example.
    """
    try:
        return dict(
            _feature(_message(entry))
            for _, features in _fields(memoryview(record))
            for _, entry in _fields(_message(features))
        )
    except (IndexError, ValueError, KeyError, struct.error) as error:
        raise ShardError(
            f"expected a tf.train.Example, found {len(record)} bytes that are none ({error}); "
            "write the shards again with dfdc-prep shard --overwrite"
        ) from error


def _feature(entry: memoryview) -> tuple[str, Feature]:
    """One entry of the map of features: field 1 is its name, field 2 the Feature."""
    fields = dict(_fields(entry))
    name = bytes(_message(fields[1])).decode()
    for kind, values in _fields(_message(fields[2])):
        return name, _values(kind, _message(values))
    return name, []


def _values(kind: int, data: memoryview) -> Feature:
    """What a BytesList, FloatList or Int64List holds, packed or not."""
    found = [value for _, value in _fields(data)]
    if kind == _BYTES_LIST:
        return [bytes(_message(value)) for value in found]
    if kind == _FLOAT_LIST:
        return [
            number for value in found for (number,) in struct.iter_unpack("<f", _message(value))
        ]
    whole = (_varints(value) if isinstance(value, memoryview) else (value,) for value in found)
    return [(number ^ 1 << 63) - (1 << 63) for numbers in whole for number in numbers]


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return value


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of up to 64 bits in groups of seven, lowest first, and where the next thing is."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of a protocol buffer message as (number, value), in the order they stand."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        else:
            length = _FIXED[wire]
        if at + length > len(data):
            raise ValueError("an end inside a field")
        yield key >> 3, data[at : at + length]
        at += length
