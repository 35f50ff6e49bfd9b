"""Hugging Face `datasets`: parquet files that hold the images, and a card with the features.

`load_dataset` opens the folder by its card, README.md. The features are also in the parquet
files, under the key that the library uses, so that a single file opens with decoded images too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfdc_prep.crops.files import CropReader
from dfdc_prep.writing.card import CARD, SplitSize, dataset_card
from dfdc_prep.writing.export import Written
from dfdc_prep.writing.layout import iter_shards
from dfdc_prep.writing.records import (
    Record,
    ShardSettings,
    known_columns,
    lay_out,
    write_shard_files,
)
from dfdc_prep.writing.sources import SplitCrops
from manifests.files import file_sha256, sync_file
from manifests.labels import LABELS
from manifests.tables.codes import dataset_column

#: Rows of a row group: enough to read fast, few enough to seek and stream.
_ROW_GROUP = 100
#: Approximate bytes of a record in addition to its image and mask.
_OVERHEAD = 400
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class HuggingFace:
    """The format `huggingface`."""

    settings: ShardSettings = field(default_factory=ShardSettings)
    name: str = "huggingface"

    def options(self) -> dict[str, Any]:
        """The options that determine the bytes, for metadata.json."""
        return self.settings.as_json()

    def write(self, crops: SplitCrops, folder: Path) -> Written:
        """Write the parquet files and the card into an empty folder."""
        settings = self.settings
        reader = CropReader(crops.folders, settings.image_format, settings.quality, size=None)
        sharded = lay_out(crops, reader, settings.shards, _OVERHEAD, parquet_file)
        schema = _schema(sharded)
        write = partial(_write_parquet, folder, schema)
        hashes = write_shard_files(sharded, reader, settings, write)
        sizes = _split_sizes(sharded, folder)
        datasets = sorted(pc.unique(dataset_column(sharded).drop_null()).to_pylist())
        card = dataset_card(_features(schema), sizes, datasets)
        (folder / CARD).write_text(card, encoding="utf-8")
        return Written(sharded, hashes)


def parquet_file(split: str, index: int, count: int) -> str:
    """File name of one shard, as the library itself names them."""
    return f"{split}-{index:05d}-of-{count:05d}.parquet"


def _schema(table: pa.Table) -> pa.Schema:
    """The schema of the parquet files, with the features in its metadata."""
    fields = [("image", _IMAGE), ("label", pa.int64())]
    fields += [(name, table.schema.field(name).type) for name in known_columns(table)]
    if table["mask"].null_count < table.num_rows:
        fields.append(("mask", _IMAGE))
    schema = pa.schema(fields)
    features = {name: _feature(kind) for name, kind in _features(schema).items()}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _features(schema: pa.Schema) -> dict[str, str]:
    """The feature of each column: image, label, or the name of its type."""
    names = {"double": "float64", "float": "float32"}
    kinds = {field.name: names.get(str(field.type), str(field.type)) for field in schema}
    kinds |= {name: "image" for name in ("image", "mask") if name in kinds}
    return kinds | {"label": "label"}


def _feature(kind: str) -> dict[str, Any]:
    """A feature as the library writes it into the metadata of a parquet file."""
    if kind == "image":
        return {"_type": "Image"}
    if kind == "label":
        return {"names": list(LABELS), "_type": "ClassLabel"}
    return {"dtype": kind, "_type": "Value"}


def _write_parquet(folder: Path, schema: pa.Schema, name: str, records: Iterator[Record]) -> str:
    """Write one parquet file; return its SHA-256."""
    path = (folder / name).absolute()  # a relative path with a colon would be taken for a URL
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := [_row(record, schema) for record in islice(records, _ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))
    sync_file(path)
    return file_sha256(path)


def _row(record: Record, schema: pa.Schema) -> dict[str, Any]:
    name = f"{record.split}-{record.number:08d}"
    row = {
        "image": {"bytes": record.image, "path": f"{name}.{record.suffix}"},
        "label": LABELS.index(record.label),
        **record.values,
    }
    if "mask" in schema.names:
        mask = record.mask
        row["mask"] = None if mask is None else {"bytes": mask, "path": f"{name}.mask.png"}
    return row


def _split_sizes(sharded: pa.Table, folder: Path) -> list[SplitSize]:
    """The number of crops and the bytes of each split, in output order."""
    found: dict[str, SplitSize] = {}
    for name, rows in iter_shards(sharded):
        split = rows["split"][0].as_py()
        crops, size = found.get(split, SplitSize(split, 0, 0))[1:]
        found[split] = SplitSize(
            split, crops + rows.num_rows, size + (folder / name).stat().st_size
        )
    return list(found.values())
