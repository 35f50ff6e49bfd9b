"""What a shards folder says of itself, for a run's config.json."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from manifests.io.json_files import parse_json
from manifests.labels import LABELS
from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest
from training.data import input_pipeline
from training.errors import TrainingError

SPLITS = ("train", "validation", "test")


def manifest_hash(shards: Path) -> str:
    """SHA-256 of the shards' manifest: it names every crop, its split and its place."""
    return hashlib.sha256((shards / "manifest.parquet").read_bytes()).hexdigest()


def describe(shards: Path) -> dict[str, Any]:
    """Their manifest's hash, counts per split and label, how they were cut, and their metadata.

    Raises:
        TrainingError: the folder is no shards folder, or a split has no image.
        TableError: its manifest cannot be read.
    """
    input_pipeline.open_shards(shards)
    table = read_manifest(shards / "manifest.parquet", "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    counts = {}
    for split in SPLITS:
        labels = table.filter(pc.equal(table["split"], split))["label"].to_pylist()
        if not labels:
            raise TrainingError(
                f"expected images in the {split} split of {shards}, found none; shard more crops "
                "or with another --split"
            )
        counts[split] = {label: labels.count(label) for label in LABELS}
    return {
        "manifest": manifest_hash(shards),
        "counts": counts,
        "crops": _crops(table),
        "metadata": _metadata(shards),
    }


def _crops(table: pa.Table) -> dict[str, Any]:
    """How the crops were cut, as their rows tell: the detector and the margin of most.

    Both are None for an imported crop set, which does not tell.
    """
    rows = table.select(["detector", "w", "h", "crop_size"]).to_pandas().dropna()
    if rows.empty:
        return {"detector": None, "margin": None}
    margins = (rows["crop_size"] / rows[["w", "h"]].max(axis=1) - 1) / 2
    return {
        "detector": str(rows["detector"].mode()[0]),
        "margin": round(float(margins.median()), 2),
    }


def _metadata(shards: Path) -> dict[str, Any]:
    """metadata.json, which `dfdc-prep shard` writes: split, seed, where the crops come from."""
    try:
        found: dict[str, Any] = parse_json((shards / "metadata.json").read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"expected the metadata.json of dfdc-prep shard in {shards}, found none that can be "
            "read; run dfdc-prep shard --overwrite"
        ) from error
    return found
