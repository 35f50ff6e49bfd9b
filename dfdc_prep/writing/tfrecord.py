"""TFRecord shards, which TensorFlow Datasets opens without this package, and their description.

A record is its length (uint64, little-endian), the masked CRC-32C of the length, the data, and the
masked CRC-32C of the data; see tensorflow/core/lib/io/record_writer.h and
tensorflow/core/lib/hash/crc32c.h.

The required keys of features.json and dataset_info.json were found by experiment with
tensorflow-datasets 4.9.10: unknown keys fail, missing splits silently load as an empty data set,
an image feature without a shape fails.

croissant.json is MLCommons Croissant 1.1. Its record set `faces` reads manifest.parquet, because
no Croissant library reads TFRecords; the shard files are listed with their hashes.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import google_crc32c
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from dfdc_prep.errors import ShardError
from dfdc_prep.writing.card import RAI, about_fields, licence, rai_fields
from dfdc_prep.writing.sharding import Record, ShardFormat, iter_shards
from dfdc_prep.writing.writer import Written
from manifests.folders import ShardsFolder
from manifests.labels import LABELS
from manifests.schemas import CROP_SIZE
from manifests.tables.codes import dataset_column
from manifests.wording import counted

Feature = list[bytes] | list[int] | list[float]

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
#: Bytes of a record in addition to its data.
FRAMING = _HEADER.size + _FOOTER.size
#: Columns stored as bytes features, and those stored as int64 features, -1 if unknown.
TEXTS = ("video", "part", "family", "path")
NUMBERS = ("frame", "face")
#: Columns needed to write or check a record.
COLUMNS = (*TEXTS, *NUMBERS, "label", "sha256", "mask", "mask_sha256")
#: Feature of the records that have a mask: a grey PNG of the crop's size. `features.json` does not
#: list it, so that readers who do not ask for it never see it.
MASK = "mask"
_VERSION = "1.0.0"
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
#: `tf.train.Example`, as tensorflow/core/example/example.proto and feature.proto define it; its
#: own module would import TensorFlow.
_EXAMPLE = """
name: "example.proto" package: "tensorflow" syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 label: 3 type: TYPE_BYTES } }
message_type { name: "FloatList" field { name: "value" number: 1 label: 3 type: TYPE_FLOAT } }
message_type { name: "Int64List" field { name: "value" number: 1 label: 3 type: TYPE_INT64 } }
message_type {
  name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 label: 1 type_name: "BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 label: 1 type_name: "FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 label: 1 type_name: "Int64List" oneof_index: 0 }
}
message_type {
  name: "Features" field { name: "feature" number: 1 label: 3 type_name: "FeatureEntry" }
  nested_type {
    name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: 1 type: TYPE_STRING }
    field { name: "value" number: 2 label: 1 type_name: "Feature" }
  }
}
message_type { name: "Example" field { name: "features" number: 1 label: 1 type_name: "Features" } }
"""
_PROTO = text_format.Parse(_EXAMPLE, descriptor_pb2.FileDescriptorProto())
_POOL = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_PROTO.SerializeToString())
_Example: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("tensorflow.Example"))


class TFRecords(ShardFormat):
    """The format of `dfdc-prep shard`."""

    name = "tfrecord"
    kind, bar = "shards", "shard"
    folder = "a shards folder"
    command = "dfdc-prep shard"
    overhead: ClassVar[int] = FRAMING + 250
    crop_size = CROP_SIZE
    described_in = ShardsFolder.CROISSANT
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

    def descriptions(
        self, written: Written, folder: Path, metadata: dict[str, Any]
    ) -> dict[str, Any]:
        manifest = written.manifest
        splits = pc.unique(manifest["split"]).to_pylist()
        named = pc.unique(dataset_column(manifest, default=_DFDC)).to_pylist()
        clips = "Deepfake Detection Challenge clips"
        if named != [_DFDC]:
            clips = f"clips of {', '.join(' '.join(name.split()) for name in sorted(named))}"
        about = {
            "name": ShardsFolder.DATASET,
            "version": _VERSION,
            "description": f"Square face crops, 224x224 RGB, cut from {clips}, with the label of "
            "their clip and the family it belongs to.",
            "citation": "\n\n".join(
                [*([_DFDC_CITATION] * (_DFDC in named)), *self.card.get("citeAs", ())]
            ),
        }
        fields = {"license": licence(named, self.card), **about_fields(self.card)}
        known = rai_fields(manifest, metadata, self.card)
        fields |= {f"rai:{name}": value for name, value in known.items()}
        return {
            ShardsFolder.CROISSANT: _croissant(manifest.schema, splits, written.hashes, about)
            | fields,
            ShardsFolder.LABEL_NAMES: "".join(f"{label}\n" for label in LABELS),
            ShardsFolder.FEATURES: _features_json(),
            ShardsFolder.INFO: about | _dataset_info(manifest, splits, folder),
        }


def features_of(row: Mapping[str, Any]) -> dict[str, bytes | int]:
    """The features of a record other than its image, of the `COLUMNS` of its manifest row."""
    texts: dict[str, bytes | int] = {name: row[name].encode() for name in TEXTS}
    numbers = {name: -1 if row[name] is None else row[name] for name in NUMBERS}
    return texts | numbers | {"label": LABELS.index(row["label"])}


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """Serialize a `tf.train.Example` with one value per feature, int64 or bytes.

    The bytes equal those of TensorFlow's `SerializeToString(deterministic=True)`.
    """
    example = _Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        values = feature.bytes_list if isinstance(value, bytes) else feature.int64_list
        values.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))


def parse_example(record: bytes) -> dict[str, Feature]:
    """Parse a serialized `tf.train.Example` into {name: values}; an unset feature is [].

    Raises:
        ShardError: the bytes are not a valid Example.
    """
    try:
        example = _Example.FromString(record)
        if not example.HasField("features"):
            raise DecodeError("no features")
    except DecodeError as error:
        raise ShardError(
            f"expected a tf.train.Example, found {counted(len(record), 'byte')} of another "
            f"format ({error}); write the shards again with dfdc-prep shard --overwrite"
        ) from error
    return {
        name: [value for _, values in feature.ListFields() for value in values.value]
        for name, feature in example.features.feature.items()
    }


def frame_record(data: bytes) -> bytes:
    """One record in the file format, the same bytes as `tf.io.TFRecordWriter` writes."""
    length = struct.pack("<Q", len(data))
    header = _HEADER.pack(len(data), _masked_crc(length))
    return b"".join((header, data, _FOOTER.pack(_masked_crc(data))))


def _masked_crc(data: bytes) -> int:
    """The CRC-32C of `data`, masked as TensorFlow does: rotated right by 15, plus a constant."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the data of every record of a file in order, one record in memory at a time.

    Raises:
        ShardError: a checksum is wrong or the file ends inside a record; names file and record.
    """
    with path.open("rb") as file:
        for index, (data, fault) in enumerate(scan_records(file.read, path.stat().st_size)):
            if fault:
                raise ShardError(
                    f"expected complete records in {path}, found that record {index} {fault}; "
                    "write the shards again with dfdc-prep shard --overwrite"
                )
            yield data


def scan_records(read: Callable[[int], bytes], size: int) -> Iterator[tuple[bytes, str]]:
    """Yield the data of every record in `size` bytes and its fault, "" if it has none.

    Continues after a record with damaged data. Stops after a record with a damaged length,
    because the start of the next record is then unknown. `read` returns the next bytes.
    """
    while size:
        header = read(_HEADER.size)
        if len(header) < _HEADER.size:
            yield b"", "is truncated"
            return
        length, crc = _HEADER.unpack(header)
        if crc != _masked_crc(header[:8]):
            yield b"", "has a wrong length checksum"
            return
        size -= length + FRAMING
        if size < 0:
            yield b"", "is truncated"
            return
        data = read(length)
        (crc,) = _FOOTER.unpack(read(_FOOTER.size))
        yield data, "" if crc == _masked_crc(data) else "has a wrong data checksum"


def _dataset_info(manifest: pa.Table, splits: list[str], folder: Path) -> dict[str, Any]:
    """What dataset_info.json says of each split: its shards' records, and their bytes."""
    lengths: dict[str, list[str]] = {split: [] for split in splits}
    sizes = dict.fromkeys(splits, 0)
    for shard in iter_shards(manifest):
        records = shard.rows.num_rows
        lengths[shard.split].append(str(records))
        sizes[shard.split] += (folder / shard.name).stat().st_size - FRAMING * records
    return {
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": split,
                "shardLengths": lengths[split],
                "numBytes": str(sizes[split]),
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split in splits
        ],
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}},
    }


def _features_json() -> dict[str, Any]:
    """The content of features.json: name, type and shape of every feature of an Example."""

    def feature(kind: str, **parameters: Any) -> dict[str, Any]:
        return {"pythonClassName": f"tensorflow_datasets.core.features.{kind}", **parameters}

    side = str(CROP_SIZE)
    image = {"shape": {"dimensions": [side, side, "3"]}, "dtype": "uint8"}
    classes = {"numClasses": str(len(LABELS))}
    scalar = {"shape": {}, "dtype": "int64", "encoding": "none"}
    features = {
        "image": feature("image_feature.Image", image=image),
        "label": feature("class_label_feature.ClassLabel", classLabel=classes),
        **{name: feature("text_feature.Text", text={}) for name in TEXTS},
        **{name: feature("scalar.Scalar", tensor=scalar) for name in NUMBERS},
    }
    return feature("features_dict.FeaturesDict", featuresDict={"features": features})


def _croissant(
    schema: pa.Schema, splits: list[str], hashes: dict[str, str], about: dict[str, str]
) -> dict[str, Any]:
    """The content of croissant.json; `hashes` are those of the manifest and of every shard file."""
    files = []
    for name in sorted(hashes):
        kind = "x-parquet" if name == ShardsFolder.MANIFEST else "octet-stream"
        content = {"contentUrl": name, "encodingFormat": f"application/{kind}"}
        files.append({**_named("cr:FileObject", name), **content, "sha256": hashes[name]})
    return {
        "@context": {term: _MEANINGS.get(term, f"cr:{term}") for term in _TERMS.split()},
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", RAI],
        "name": about["name"],
        "description": about["description"],
        "version": about["version"],
        "citeAs": about["citation"],
        "distribution": files,
        "recordSet": [
            {
                **_named("cr:RecordSet", "splits"),
                "dataType": "cr:Split",
                "key": {"@id": "splits/name"},
                "field": [{**_named("cr:Field", "name", "splits/"), "dataType": "sc:Text"}],
                "data": [{"splits/name": split} for split in splits],
            },
            {
                **_named("cr:RecordSet", "faces"),
                "description": "One record per crop, in the order of the records in the shards.",
                "field": [_croissant_field(column) for column in schema],
            },
        ],
    }


def _named(kind: str, name: str, parent: str = "") -> dict[str, Any]:
    return {"@type": kind, "@id": parent + name, "name": name}


def _croissant_field(column: pa.Field) -> dict[str, Any]:
    types = {
        "sc:Integer": pa.types.is_integer,
        "sc:Float": pa.types.is_floating,
        "sc:Boolean": pa.types.is_boolean,
    }
    kinds = (kind for kind, matches in types.items() if matches(column.type))
    extract = {"column": column.name}
    described = {
        **_named("cr:Field", column.name, "faces/"),
        "description": (column.metadata or {}).get(b"description", column.name.encode()).decode(),
        "dataType": next(kinds, "sc:Text"),
        "source": {"fileObject": {"@id": ShardsFolder.MANIFEST}, "extract": extract},
    }
    if column.name == "split":
        described["references"] = {"field": {"@id": "splits/name"}}
    return described
