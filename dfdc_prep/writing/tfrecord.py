"""Reads and writes TFRecord files and `tf.train.Example` messages without TensorFlow.

A record consists of its length (uint64, little-endian), the masked CRC-32C of the length,
the data, and the masked CRC-32C of the data. Sources of the layout and the mask in TensorFlow:
tensorflow/core/lib/io/record_writer.h and tensorflow/core/lib/hash/crc32c.h.
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
#: Bytes of a record in addition to its data.
FRAMING = _HEADER.size + _FOOTER.size
#: Wire types of protocol buffers; `_FIXED` maps those of fixed size to their bytes.
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
#: Field numbers of the three lists in the message Feature.
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def masked_crc(data: bytes) -> int:
    """The CRC-32C of `data`, masked as TensorFlow does: rotated right by 15, plus a constant."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """One record in the file format, the same bytes as `tf.io.TFRecordWriter` writes."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc(length)), data, struct.pack("<I", masked_crc(data)))
    )


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the data of every record of a file in order, one record in memory at a time.

    Raises:
        ShardError: a checksum is wrong or the file ends inside a record. The message names
            the file and the record, counted from 0.
    """
    with path.open("rb") as file:
        for index, (data, fault) in enumerate(scan_records(file, path.stat().st_size)):
            if fault:
                raise ShardError(
                    f"expected complete records in {path}, found that record {index} {fault}; "
                    "write the shards again with dfdc-prep shard --overwrite"
                )
            yield data


class Readable(Protocol):
    """A binary file, or a wrapper of one."""

    def read(self, size: int, /) -> bytes: ...


def scan_records(file: Readable, size: int) -> Iterator[tuple[bytes, str]]:
    """Yield the data of every record in `size` bytes and its fault, "" if it has none.

    Continues after a record with damaged data. Stops after a record with a damaged length,
    because the start of the next record is then unknown.
    """
    while size:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            yield b"", "is truncated"
            return
        length, crc = _HEADER.unpack(header)
        if crc != masked_crc(header[:8]):
            yield b"", "has a wrong length checksum"
            return
        size -= length + FRAMING
        if size < 0:
            yield b"", "is truncated"
            return
        data = file.read(length)
        (crc,) = _FOOTER.unpack(file.read(_FOOTER.size))
        yield data, "" if crc == masked_crc(data) else "has a wrong data checksum"


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """Serialize a `tf.train.Example` with one value per feature, int64 or bytes.

    The bytes equal those of TensorFlow's `SerializeToString(deterministic=True)`: features
    sorted by name, numbers packed. (TensorFlow's order differs if one feature name is a prefix
    of another.)
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
    """Encode a length-delimited field of a protocol buffer message: bytes or a message."""
    return b"".join((bytes([number << 3 | _BYTES]), _to_varint(len(data)), data))


def _to_varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def parse_example(record: bytes) -> dict[str, Feature]:
    """Parse a serialized `tf.train.Example` into {name: values}; an unset feature is [].

    Raises:
        ShardError: the bytes are not a valid Example.
    """
    try:
        return dict(
            _feature(_message(entry))
            for _, features in _fields(memoryview(record))
            for _, entry in _fields(_message(features))
        )
    except (IndexError, ValueError, KeyError, struct.error) as error:
        raise ShardError(
            f"expected a tf.train.Example, found {len(record)} bytes of another format ({error}); "
            "write the shards again with dfdc-prep shard --overwrite"
        ) from error


def _feature(entry: memoryview) -> tuple[str, Feature]:
    """Parse one entry of the feature map: field 1 is the name, field 2 the Feature."""
    fields = dict(_fields(entry))
    name = bytes(_message(fields[1])).decode()
    for kind, values in _fields(_message(fields[2])):
        return name, _values(kind, _message(values))
    return name, []


def _values(kind: int, data: memoryview) -> Feature:
    """The values of a BytesList, FloatList or Int64List, packed or not."""
    found = [value for _, value in _fields(data)]
    if kind == _BYTES_LIST:
        return [bytes(_message(value)) for value in found]
    if kind == _FLOAT_LIST:
        return [
            number for value in found for (number,) in struct.iter_unpack("<f", _message(value))
        ]
    # Varints are unsigned; convert to two's complement int64.
    unsigned = (_varints(value) if isinstance(value, memoryview) else (value,) for value in found)
    return [(number ^ 1 << 63) - (1 << 63) for numbers in unsigned for number in numbers]


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("expected a message, found a number")
    return value


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Decode a varint of up to 64 bits at offset `at`; return it and the offset after it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("expected a varint of at most 64 bits, found a longer one")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield the fields of a protocol buffer message as (number, value), in file order."""
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
            raise ValueError("the message ends inside a field")
        yield key >> 3, data[at : at + length]
        at += length
