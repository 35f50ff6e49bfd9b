"""Shards of which only the manifest is read, and predictions of them; without TensorFlow."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit

from dfdc_prep.run_files import OperatingPoint, RunFiles
from manifests.arrow import SHARD_MANIFEST_SCHEMA
from manifests.files import write_json
from manifests.folders import ShardsFolder
from manifests.tables.parquet import write_table
from training.data.shards import Shards
from training.measures.metrics import split_metrics
from training.measures.predictions import Predictions

FAMILIES, FRAMES = 24, 2


def manifest(families: int = FAMILIES) -> pa.Table:
    """Two frames of a REAL clip and of two fakes for each family; every fourth is for training."""
    rows = [
        dict.fromkeys(SHARD_MANIFEST_SCHEMA.names)
        | {"video": f"{kind}{family:03d}.mp4", "part": f"part_{family % 2}", "frame": frame}
        | {"label": "REAL" if kind == "r" else "FAKE", "family": f"r{family:03d}.mp4", "face": 0}
        | {"path": f"{kind}{family}_{frame}.png", "sha256": "", "identity": f"p{family // 2}"}
        | {"split": "train" if family % 4 == 3 else "test"}
        for family in range(families)
        for kind in ("a", "b", "r")
        for frame in range(FRAMES)
    ]
    return pa.Table.from_pylist(rows, SHARD_MANIFEST_SCHEMA)


def make_shards(folder: Path, families: int = FAMILIES) -> Path:
    """A shards folder whose files are empty, but for the manifest."""
    folder.mkdir(parents=True)
    table = manifest(families)
    splits = [{"name": name, "shardLengths": ["1"]} for name in ("train", "test")]
    write_json(folder / ShardsFolder.INFO, {"name": "dfdc_faces", "splits": splits})
    write_table(table, folder / ShardsFolder.MANIFEST)
    for split in ("train", "test"):
        (folder / ShardsFolder.shard(split, 0, 1)).touch()
    return folder


def make_results(folder: Path, shards: Path, strength: float, seed: int = 1) -> Path:
    """predictions.parquet and metrics.json of a model on the test split."""
    rows, rng = Shards(shards).rows("test"), np.random.default_rng(seed)
    labels = np.array([label == "FAKE" for label in rows["label"].to_pylist()]).astype(np.int64)
    logits = strength * (labels - 0.5) + rng.normal(0, 1, len(labels))
    found = Predictions(rows, labels, logits)
    folder.mkdir(parents=True)
    write_table(found.table(1.5), RunFiles(folder).predictions_file)
    report = split_metrics("test", str(shards), found, OperatingPoint(1.5, 0.4))
    write_json(RunFiles(folder).metrics_file, asdict(report))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 families of the test split: 54 clips of 108 crops."""
    return make_shards(tmp_path_factory.mktemp("compared") / "shards")


@pytest.fixture(scope="session")
def results(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a good model and of a weak one."""
    folder = tmp_path_factory.mktemp("results")
    return {
        "good": make_results(folder / "good", shards, 3.0),
        "weak": make_results(folder / "weak", shards, 0.7, seed=2),
    }


def scores_of(results: Path) -> dict[str, float]:
    """P(FAKE) by clip, from the predictions as pandas reads them."""
    import pandas as pd

    table = pd.read_parquet(results / "predictions.parquet")
    means = table.groupby("video")["logit"].mean()
    return {name: float(expit(value)) for name, value in means.items()}
