"""TFRecord shards, which TensorFlow Datasets opens without this package, and their description.

The required keys of features.json and dataset_info.json were found by experiment with
tensorflow-datasets 4.9.10: unknown keys fail, missing splits silently load as an empty data set,
an image feature without a shape fails.

croissant.json is MLCommons Croissant 1.1. Its record set `faces` reads manifest.parquet, because
no Croissant library reads TFRecords; the shard files are listed with their hashes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.writing.sharding import Record, ShardFormat, iter_shards
from dfdc_prep.writing.tfrecord import FRAMING, encode_example, frame_record
from dfdc_prep.writing.writer import Written
from manifests.columns import CROP_SIZE
from manifests.folders import ShardsFolder
from manifests.labels import LABELS
from manifests.tables.codes import dataset_column

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
