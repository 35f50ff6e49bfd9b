"""Describes a shards folder for the config.json of a run."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.run_files import CropSettings, ShardsConfig
from dfdc_prep.storage.urls import Location
from manifests.errors import TrainingError
from manifests.files import file_sha256, parse_json
from manifests.folders import ShardsFolder
from manifests.labels import LABELS
from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest

SPLITS = ("train", "validation", "test")


def manifest_hash(shards: Path) -> str:
    """SHA-256 of the shards' manifest, which lists every crop, its split and its position."""
    return file_sha256(shards / ShardsFolder.MANIFEST)


def check_splits(manifest: Path, shards: Location) -> pa.Table:
    """The manifest of shards that a model can be trained, chosen and tested on.

    Args:
        shards: the folder or bucket that messages name.

    Raises:
        TrainingError: a split is empty.
        TableError: the manifest cannot be read.
    """
    table = read_manifest(manifest, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    there = set(pc.unique(table["split"]).to_pylist())
    if empty := [split for split in SPLITS if split not in there]:
        raise TrainingError(
            f"expected images in the splits {', '.join(SPLITS)} of {shards}, found none in "
            f"{' and '.join(empty)}; shard crops of more families, or with another --split"
        )
    return table


def describe_shards(shards: Path) -> ShardsConfig:
    """Manifest hash, counts per split and label, crop settings and metadata of shards.

    Raises:
        TrainingError: the folder is not a shards folder, or a split is empty.
        TableError: the manifest cannot be read.
    """
    from training.data.input_pipeline import read_shards_info  # imports TensorFlow

    read_shards_info(shards)
    table = check_splits(shards / ShardsFolder.MANIFEST, shards)
    counts = {}
    for split in SPLITS:
        labels = table.filter(pc.equal(table["split"], split))["label"].to_pylist()
        counts[split] = {label: labels.count(label) for label in LABELS}
    return ShardsConfig(
        manifest_hash(shards), counts, _crop_settings(table), _read_metadata(shards)
    )


def _crop_settings(table: pa.Table) -> CropSettings:
    """The most frequent detector and alignment, and the median margin of the crops.

    Detector and margin are None for an imported crop set, which does not record them. In
    manifests without the margin, it follows from crop_size = longer side of the box *
    (1 + 2 * margin).
    """
    columns = ["detector", "w", "h", "crop_size", "margin", "align"]
    rows = table.select(columns).to_pandas().dropna(subset=columns[:4])
    if rows.empty:
        return CropSettings(detector=None, margin=None, align="none")
    margins = (rows["crop_size"] / rows[["w", "h"]].max(axis=1) - 1) / 2
    margins = rows["margin"].astype(float).fillna(margins)
    return CropSettings(
        detector=str(rows["detector"].mode()[0]),
        margin=round(float(margins.median()), 2),
        align=str(rows["align"].fillna("none").mode()[0]),
    )


def _read_metadata(shards: Path) -> dict[str, Any]:
    """Read metadata.json as `dfdc-prep shard` writes it: split, seed, source of the crops."""
    try:
        found: dict[str, Any] = parse_json((shards / ShardsFolder.METADATA).read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"expected the metadata.json of dfdc-prep shard in {shards}, found no readable "
            "one; run dfdc-prep shard --overwrite"
        ) from error
    return found
