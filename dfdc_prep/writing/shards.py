"""TFRecord shards, which TensorFlow Datasets opens without this package, and their description.

The required keys of features.json and dataset_info.json were found by experiment with
tensorflow-datasets 4.9.10: unknown keys fail, missing splits silently load as an empty data set,
an image feature without a shape fails.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from dfdc_prep.writing.croissant import VERSION, About, about, croissant_metadata
from dfdc_prep.writing.sharding import Record, ShardFormat, iter_shards
from dfdc_prep.writing.tfrecord import FRAMING, encode_example, frame_record
from dfdc_prep.writing.writer import Written
from manifests.columns import CROP_SIZE
from manifests.folders import ShardsFolder
from manifests.labels import LABELS

#: Columns stored as bytes features, and those stored as int64 features, -1 if unknown.
TEXTS = ("video", "part", "family", "path")
NUMBERS = ("frame", "face")
#: Columns needed to write or check a record.
COLUMNS = (*TEXTS, *NUMBERS, "label", "sha256", "mask", "mask_sha256")
#: Feature of the records that have a mask: a grey PNG of the crop's size. `features.json` does not
#: list it, so that readers who do not ask for it never see it.
MASK = "mask"
_CLASSES = "tensorflow_datasets.core.features"


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
