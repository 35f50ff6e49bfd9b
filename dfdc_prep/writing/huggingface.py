"""Hugging Face `datasets`: parquet files that hold the images, and a card with the features.

`load_dataset` opens the folder by its card, README.md. The features are also in the parquet
files, under the key that the library uses, so that a single file opens with decoded images too.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfdc_prep.writing.card import Card, licence, quoted, rai_fields, sections
from dfdc_prep.writing.sharding import Record, ShardFormat, iter_shards
from dfdc_prep.writing.writer import Written
from manifests.labels import LABELS
from manifests.tables.codes import dataset_column
from manifests.wording import front_matter

CARD = "README.md"
#: Rows of a row group: enough to read fast, few enough to seek and stream.
_ROW_GROUP = 100
#: The Hub's names of numbers of crops, by the number of digits from 3.
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
#: Fields of a card in the text.
_GIVEN = {"creator": "Made by", "url": "At", "datePublished": "Published"}
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFace(ShardFormat):
    """The format `huggingface`."""

    name = "huggingface"
    overhead = 400
    described_in = CARD

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

    def descriptions(
        self, written: Written, folder: Path, metadata: dict[str, Any]
    ) -> dict[str, Any]:
        crops, sizes = Counter[str](), Counter[str]()
        for shard in iter_shards(written.manifest):
            crops[shard.split] += shard.rows.num_rows
            sizes[shard.split] += (folder / shard.name).stat().st_size
        datasets = sorted(pc.unique(dataset_column(written.manifest).drop_null()).to_pylist())
        kinds, terms = _kinds(self._schema(written.manifest)), licence(datasets, self.card)
        head = front_matter(_front_matter(kinds, crops, sizes, terms))
        fields = sections(rai_fields(written.manifest, metadata, self.card))
        return {CARD: head + _text(datasets, crops, terms, self.card) + fields}

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
    kinds: Mapping[str, str], crops: Mapping[str, int], sizes: Mapping[str, int], terms: list[str]
) -> dict[str, Any]:
    """What `load_dataset` and the Hub read, of the features and of each split's crops and bytes."""
    labels = {"class_label": {"names": {str(at): label for at, label in enumerate(LABELS)}}}
    digits = len(str(sum(crops.values())))
    hub = len(terms) == 1 and re.fullmatch(r"[a-z][a-z0-9.+-]*", terms[0])
    return {
        "pretty_name": "Face crops",
        "license": terms[0] if hub else "other",
        "task_categories": ["image-classification"],
        "size_categories": [_SIZES[min(max(digits - 3, 0), len(_SIZES) - 1)]],
        "tags": ["deepfake-detection", "faces"],
        "dataset_info": {
            "features": [
                {"name": name, "dtype": labels if kind == "label" else kind}
                for name, kind in kinds.items()
            ],
            "splits": [
                {"name": split, "num_bytes": sizes[split], "num_examples": count}
                for split, count in crops.items()
            ],
            **{f"{what}_size": sum(sizes.values()) for what in ("download", "dataset")},
        },
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}-*.parquet"} for split in crops],
            }
        ],
    }


def _text(datasets: list[str], crops: Mapping[str, int], terms: list[str], card: Card) -> str:
    """The text below the YAML, above the fields."""
    origin = f"\nData sets: {quoted(datasets)}.\n" if datasets else ""
    rows = "".join(f"| {split} | {count:,} |\n" for split, count in crops.items())
    given = [
        f"{title}: {', '.join(card[name])}\n" for name, title in _GIVEN.items() if name in card
    ]
    cited = "".join(f"\n```\n{each.strip()}\n```\n" for each in card.get("citeAs", ()))
    lines = "\n".join([f"Terms: {' '.join(terms)}\n", *given])
    return f"""
# Face crops

Square face crops, with the label of their clip and the family it belongs to. \
metadata.json says how they were split.
{origin}
| split | crops |
|---|---|
{rows}
{lines}{cited}
"""
