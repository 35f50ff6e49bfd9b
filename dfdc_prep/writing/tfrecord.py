"""TFRecord shards, which TensorFlow Datasets opens without this package, and their description.

A record consists of its length (uint64, little-endian), the masked CRC-32C of the length,
the data, and the masked CRC-32C of the data. Sources of the layout and the mask in TensorFlow:
tensorflow/core/lib/io/record_writer.h and tensorflow/core/lib/hash/crc32c.h.

The required keys of features.json and dataset_info.json were found by experiment with
tensorflow-datasets 4.9.10: unknown keys fail, missing splits silently load as an empty data set,
an image feature without a shape fails.

croissant.json is MLCommons Croissant 1.1. Its record set `faces` reads manifest.parquet, because
no Croissant library reads TFRecords; the shard files are listed with their hashes.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import google_crc32c
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.errors import ShardError
from dfdc_prep.writing.sharding import Record, ShardFormat, iter_shards
from dfdc_prep.writing.writer import Written
from manifests.columns import CROP_SIZE
from manifests.folders import ShardsFolder
from manifests.labels import LABELS
from manifests.tables.codes import dataset_column

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
#: Columns stored as bytes features, and those stored as int64 features, -1 if unknown.
TEXTS = ("video", "part", "family", "path")
NUMBERS = ("frame", "face")
#: Columns needed to write or check a record.
COLUMNS = (*TEXTS, *NUMBERS, "label", "sha256", "mask", "mask_sha256")
#: Feature of the records that have a mask: a grey PNG of the crop's size. `features.json` does not
#: list it, so that readers who do not ask for it never see it.
MASK = "mask"
_CLASSES = "tensorflow_datasets.core.features"
LICENSE = "The terms of the clips that the crops were cut from."
VERSION = "1.0.0"
_DFDC = "dfdc"
_DFDC_CITATION = """\
@article{dolhansky2020dfdc,
  title={The DeepFake Detection Challenge (DFDC) Dataset},
  author={Dolhansky, Brian and Bitton, Joanna and Pflaum, Ben and Lu, Jikuo and
          Howes, Russ and Wang, Menglin and Ferrer, Cristian Canton},
  journal={arXiv preprint arXiv:2006.07397},
  year={2020}
}"""
#: The terms of the JSON-LD context, in the order of the specification; those not in `_MEANINGS`
#: are Croissant's own.
_TERMS = (
    "@language @vocab citeAs column conformsTo containedIn cr rai data dataType dct "
    "equivalentProperty examples extract field fileProperty fileObject fileSet format includes "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate sc separator source subField transform"
)
_MEANINGS: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
}


class About(NamedTuple):
    """What is said about the crops of a shards folder."""

    description: str
    citation: str
    splits: list[str]


class TFRecords(ShardFormat):
    """The format of `dfdc-prep shard`."""

    name = "tfrecord"
    kind, bar = "shards", "shard"
    folder = "a shards folder"
    command = "dfdc-prep shard"
    overhead: ClassVar[int] = FRAMING + 250
    crop_size = CROP_SIZE
    file_name = ShardsFolder.shard
    check_replaceable = ShardsFolder.check_replaceable

    def columns(self, manifest: pa.Table) -> tuple[str, ...]:
        return COLUMNS

    def metadata(self, source: dict[str, Any]) -> dict[str, Any]:
        first = ("source", "split", "group_by", "seed")
        return {name: source[name] for name in first} | self.options() | source

    def write_shard(self, path: Path, records: Iterator[Record], manifest: pa.Table) -> None:
        with path.open("wb") as file:
            for record in records:
                features = features_of(record.row) | {"image": record.image}
                if record.mask is not None:
                    features[MASK] = record.mask
                file.write(frame_record(encode_example(features)))

    def descriptions(self, written: Written, folder: Path) -> dict[str, Any]:
        manifest, contents = written.manifest, about(written.manifest)
        return {
            ShardsFolder.CROISSANT: croissant_metadata(manifest.schema, written.hashes, contents),
            ShardsFolder.LABEL_NAMES: "".join(f"{label}\n" for label in LABELS),
            ShardsFolder.FEATURES: feature_spec(),
            ShardsFolder.INFO: dataset_info(manifest, contents, folder),
        }


def features_of(row: Mapping[str, Any]) -> dict[str, bytes | int]:
    """The features of a record other than its image, of the `COLUMNS` of its manifest row.

    UTF-8 bytes or integers; `label` is 0 REAL, 1 FAKE.
    """
    texts: dict[str, bytes | int] = {name: row[name].encode() for name in TEXTS}
    numbers = {name: -1 if row[name] is None else row[name] for name in NUMBERS}
    return texts | numbers | {"label": LABELS.index(row["label"])}


def dataset_info(manifest: pa.Table, about: About, folder: Path) -> dict[str, Any]:
    """The content of dataset_info.json: of each split, its shards' records and its bytes."""
    lengths: dict[str, list[int]] = {split: [] for split in about.splits}
    sizes = dict.fromkeys(about.splits, 0)
    for name, rows in iter_shards(manifest):
        split = rows["split"][0].as_py()
        lengths[split].append(rows.num_rows)
        sizes[split] += (folder / name).stat().st_size - FRAMING * rows.num_rows
    return {
        "name": ShardsFolder.DATASET,
        "version": VERSION,
        "description": about.description,
        "citation": about.citation,
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": split,
                "shardLengths": [str(length) for length in lengths[split]],
                "numBytes": str(sizes[split]),
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split in about.splits
        ],
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}},
    }


def feature_spec() -> dict[str, Any]:
    """The content of features.json: name, type and shape of every feature of an Example."""
    side = str(CROP_SIZE)
    image = {"shape": {"dimensions": [side, side, "3"]}, "dtype": "uint8"}
    scalar = {"shape": {}, "dtype": "int64", "encoding": "none"}
    features = {
        "image": _feature("image_feature.Image", image=image),
        "label": _feature(
            "class_label_feature.ClassLabel", classLabel={"numClasses": str(len(LABELS))}
        ),
        **{name: _feature("text_feature.Text", text={}) for name in TEXTS},
        **{name: _feature("scalar.Scalar", tensor=scalar) for name in NUMBERS},
    }
    return _feature("features_dict.FeaturesDict", featuresDict={"features": features})


def _feature(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"pythonClassName": f"{_CLASSES}.{kind}", **parameters}


def about(manifest: pa.Table) -> About:
    """Describe the crops of a manifest by the data sets they are from; DFDC where none is named."""
    named = pc.unique(dataset_column(manifest, default=_DFDC)).to_pylist()
    clips = f"clips of {', '.join(' '.join(name.split()) for name in sorted(named))}"
    if set(named) <= {_DFDC}:
        clips = "Deepfake Detection Challenge clips"
    return About(
        f"Square face crops, 224x224 RGB, cut from {clips}, with the label of their clip and the "
        "family it belongs to.",
        _DFDC_CITATION if _DFDC in named or not named else "",
        pc.unique(manifest["split"]).to_pylist(),
    )


def croissant_metadata(schema: pa.Schema, hashes: dict[str, str], about: About) -> dict[str, Any]:
    """The content of croissant.json.

    Args:
        schema: of the manifest of the shards folder.
        hashes: SHA-256 of manifest.parquet and of every shard file, {name: hash}.
    """
    splits = {
        **_named("cr:RecordSet", "splits"),
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{**_named("cr:Field", "name", "splits/"), "dataType": "sc:Text"}],
        "data": [{"splits/name": split} for split in about.splits],
    }
    faces = {
        **_named("cr:RecordSet", "faces"),
        "description": "One record per crop, in the order of the records in the shards.",
        "field": [_field(field) for field in schema],
    }
    return {
        "@context": {term: _MEANINGS.get(term, f"cr:{term}") for term in _TERMS.split()},
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": ShardsFolder.DATASET,
        "description": about.description,
        "version": VERSION,
        "license": LICENSE,
        "citeAs": about.citation,
        "distribution": [_file(name, hashes[name]) for name in sorted(hashes)],
        "recordSet": [splits, faces],
    }


def _named(kind: str, name: str, parent: str = "") -> dict[str, Any]:
    return {"@type": kind, "@id": parent + name, "name": name}


def _file(name: str, sha256: str) -> dict[str, Any]:
    kind = "application/x-parquet" if name == ShardsFolder.MANIFEST else "application/octet-stream"
    found = _named("cr:FileObject", name)
    return {**found, "contentUrl": name, "encodingFormat": kind, "sha256": sha256}


def _field(field: pa.Field) -> dict[str, Any]:
    described = {
        **_named("cr:Field", field.name, "faces/"),
        "description": (field.metadata or {}).get(b"description", field.name.encode()).decode(),
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": ShardsFolder.MANIFEST}, "extract": {"column": field.name}},
    }
    if field.name == "split":
        described["references"] = {"field": {"@id": "splits/name"}}
    return described


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Boolean" if pa.types.is_boolean(kind) else "sc:Text"


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
            feature = _proto_field(_BYTES_LIST, _proto_field(1, value))
        else:
            feature = _proto_field(_INT64_LIST, _proto_field(1, _to_varint(value % (1 << 64))))
        entries.append(_proto_field(1, _proto_field(1, name.encode()) + _proto_field(2, feature)))
    return _proto_field(1, b"".join(entries))


def _proto_field(number: int, data: bytes) -> bytes:
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
            _parsed_feature(_message(entry))
            for _, features in _fields(memoryview(record))
            for _, entry in _fields(_message(features))
        )
    except (IndexError, ValueError, KeyError, struct.error) as error:
        raise ShardError(
            f"expected a tf.train.Example, found {len(record)} bytes of another format ({error}); "
            "write the shards again with dfdc-prep shard --overwrite"
        ) from error


def _parsed_feature(entry: memoryview) -> tuple[str, Feature]:
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
