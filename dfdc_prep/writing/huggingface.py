"""Hugging Face `datasets`: parquet files that hold the images, and a card with the features.

`load_dataset` opens the folder by its card, README.md. The features are also in the parquet
files, under the key that the library uses, so that a single file opens with decoded images too.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfdc_prep.writing.sharding import Record, ShardFormat, iter_shards
from dfdc_prep.writing.writer import Written
from manifests.labels import LABELS
from manifests.tables.codes import dataset_column

CARD = "README.md"
#: Rows of a row group: enough to read fast, few enough to seek and stream.
_ROW_GROUP = 100
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFace(ShardFormat):
    """The format `huggingface`."""

    name = "huggingface"
    overhead = 400

    @staticmethod
    def file_name(split: str, index: int, count: int) -> str:
        """The file name of a shard, as the library itself names them."""
        return f"{split}-{index:05d}-of-{count:05d}.parquet"

    def write_shard(self, path: Path, records: Iterator[Record], manifest: pa.Table) -> None:
        schema = self._schema(manifest)
        file = path.absolute()  # a relative path with a colon would be taken for a URL
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while rows := [_row(record, schema) for record in islice(records, _ROW_GROUP)]:
                writer.write_table(pa.Table.from_pylist(rows, schema))

    def descriptions(self, written: Written, folder: Path) -> dict[str, Any]:
        crops, sizes = Counter[str](), Counter[str]()
        for shard in iter_shards(written.manifest):
            crops[shard.split] += shard.rows.num_rows
            sizes[shard.split] += (folder / shard.name).stat().st_size
        datasets = pc.unique(dataset_column(written.manifest).drop_null()).to_pylist()
        kinds = _kinds(self._schema(written.manifest))
        return {CARD: _front_matter(kinds, crops, sizes) + _card(sorted(datasets), crops)}

    def _schema(self, manifest: pa.Table) -> pa.Schema:
        """The schema of the parquet files, with the features in its metadata."""
        fields = [("image", _IMAGE), ("label", pa.int64())]
        fields += [(name, manifest.schema.field(name).type) for name in self.columns(manifest)]
        if manifest["mask"].null_count < manifest.num_rows:
            fields.append(("mask", _IMAGE))
        schema = pa.schema(fields)
        # Features as the library writes them.
        special: dict[str, dict[str, Any]] = {"image": {"_type": "Image"}}
        special["label"] = {"names": list(LABELS), "_type": "ClassLabel"}
        features = {
            name: special.get(kind, {"dtype": kind, "_type": "Value"})
            for name, kind in _kinds(schema).items()
        }
        return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _kinds(schema: pa.Schema) -> dict[str, str]:
    """The feature of each column: image, label, or the name of its type."""
    names = {"double": "float64", "float": "float32"}
    kinds = {field.name: names.get(str(field.type), str(field.type)) for field in schema}
    kinds |= {name: "image" for name in ("image", "mask") if name in kinds}
    return kinds | {"label": "label"}


def _row(record: Record, schema: pa.Schema) -> dict[str, Any]:
    image = {"bytes": record.image, "path": f"{record.key}.{record.suffix}"}
    mask = record.mask and {"bytes": record.mask, "path": f"{record.key}.mask.png"}
    made = {"image": image, "label": LABELS.index(record.row["label"]), "mask": mask}
    return {name: made[name] if name in made else record.row[name] for name in schema.names}


def _front_matter(
    kinds: Mapping[str, str], crops: Mapping[str, int], sizes: Mapping[str, int]
) -> str:
    """The YAML that `load_dataset` reads, of the features and of each split's crops and bytes."""
    lines = ["---", "pretty_name: Face crops", "license: other", "task_categories:"]
    lines += ["- image-classification", "dataset_info:", "  features:"]
    for name, kind in kinds.items():
        if kind == "label":
            lines += [f"  - name: {name}", "    dtype:", "      class_label:", "        names:"]
            lines += [f"          '{index}': {label}" for index, label in enumerate(LABELS)]
        else:
            lines += [f"  - name: {name}", f"    dtype: {kind}"]
    lines.append("  splits:")
    for split in crops:
        lines += [f"  - name: {split}", f"    num_bytes: {sizes[split]}"]
        lines.append(f"    num_examples: {crops[split]}")
    lines += [f"  {what}_size: {sum(sizes.values())}" for what in ("download", "dataset")]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in crops:
        lines += [f"  - split: {split}", f"    path: {split}-*.parquet"]
    return "\n".join([*lines, "---", ""])


def _card(datasets: list[str], crops: Mapping[str, int]) -> str:
    """The text below the YAML; the names of the data sets are text from elsewhere."""
    names = (f"`{' '.join(name.replace('`', ' ').split())}`" for name in datasets)
    origin = f"\nData sets: {', '.join(names)}.\n" if datasets else ""
    rows = "".join(f"| {split} | {count:,} |\n" for split, count in crops.items())
    return f"""
# Face crops

Square face crops, with the label of their clip and the family it belongs to. \
metadata.json says how they were split.
{origin}
| split | crops |
|---|---|
{rows}"""
