"""Small faces, shards and run folders for the tests of reports."""

import csv
import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from dfdc_prep.hyperparameters import Published, Recipe
from dfdc_prep.reports.compared import Comparison
from dfdc_prep.run_files import (
    CROSS_COLUMNS,
    MEASURES,
    CoverageRow,
    CropSettings,
    CrossRow,
    DifferenceRow,
    FitConfig,
    GapRow,
    GroupRow,
    NoteRow,
    RiskRow,
    RunConfig,
    SeedRow,
    ShardsConfig,
    write_rows,
)
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.labels import STATUSES
from manifests.schemas import ClipRow
from manifests.splitting.split import SplitPlan
from manifests.tables.parquet import (
    bound,
    manifest_hash,
    read_manifest,
    read_table,
    write_faces_tables,
    write_table,
)
from tests.crop_sets import make_faces, write_both

HOSTILE = "<img src=x onerror=alert(1)>.mp4"


def faces_folder(folder: Path, families: int = 12) -> Path:
    """A faces folder of `families` originals with a fake each, and a failed clip of each kind."""
    make_faces(folder, families)
    crops = read_manifest(folder / "balanced.parquet")
    write_both(folder, crops)
    clips = [_clip(row["video"], row["label"], "ok") for row in crops.to_pylist()]
    clips += [_clip(f"{status}.mp4", "FAKE", status) for status in STATUSES[1:]]
    clips.append(_clip(HOSTILE, None, "unreadable"))
    log = bound(pa.Table.from_pylist(clips, CLIP_LOG_SCHEMA), manifest_hash(folder))
    write_table(log, folder / "clips.parquet")
    return folder


def replace_manifest(folder: Path, table: pa.Table) -> None:
    """Write another manifest, with the clip log that the folder has."""
    clips = read_table(folder / "clips.parquet", CLIP_LOG_SCHEMA, "")
    write_faces_tables(folder, table, clips)


def _clip(video: str, label: str | None, status: str) -> ClipRow:
    failed = status not in ("ok", "no_face")
    return ClipRow(
        video=video,
        part="part_0",
        label=label,
        original=None,
        family=video,
        family_source=None if label == "REAL" else "unknown",
        status=status,
        error=f"found no picture in {HOSTILE}" if failed else None,
        frames_wanted=1,
        frames_decoded=0 if failed else 1,
        faces=int(status == "ok"),
        seconds=0.1,
        dataset=None,
        method=None,
        identity=None,
        face_identity=None,
        official_split=None,
    )


def shards_folder(folder: Path, group_by: str = "original") -> Path:
    """Shards of a small faces folder."""
    faces = make_faces(folder / "faces")
    plan = SplitPlan.parse("56/24/20", group_by, 42)
    write_crops(faces, folder / "shards", TFRecords(), CropSelection(plan))
    return folder / "shards"


def run_folder(folder: Path, images: int = 24) -> Path:
    """The files of a finished run, as `training.fit` and `training.evaluate` write them."""
    folder.mkdir(parents=True)
    (folder / "mistakes").mkdir()
    columns = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate")
    _write_csv(
        folder / "history.csv",
        columns,
        [(1, 0.6, 0.7, 0.5, 0.8, 0.1), (2, 0.7, 0.6, 0.6, 0.5, 0.1)],
    )
    rows = [
        ("none", "clean", 0.75, 0.8),
        ("blur, sigma px", "1", 0.7, ""),
        ("blur, sigma px", "2", 0.6, 0.6),
    ]
    _write_csv(folder / "robustness.csv", ("disturbance", "level", "accuracy", "auc"), rows)
    columns = ("video", "part", "label", "family", "frame", "face", "path", "score", "image")
    row = (HOSTILE, "part_0", "REAL", HOSTILE, 3, 0, "a.png", 0.98, "01.png")
    _write_csv(folder / "mistakes" / "mistakes.csv", columns, [row])
    Image.new("RGB", (448, 224), "red").save(folder / "mistakes" / "01.png")
    (folder / "config.json").write_text(json.dumps(config()))
    (folder / "metrics.json").write_text(json.dumps(metrics(images)))
    write_table(predictions(images), folder / "predictions.parquet")
    return folder


def comparison_folder(folder: Path, models: int = 2) -> Path:
    """What `compare` writes about models of which one skipped clips, with groups and seeds."""
    folder.mkdir(parents=True)
    names = [HOSTILE, *(f"model {number}" for number in range(1, models))]
    where: dict[str, Any] = {"set": "shards", "split": "test"}
    shared = [{**where, "model": name} for name in names]
    numbers: dict[str, Any] = {"real": 20, "fake": 34, "families": 18}
    tests: dict[str, Any] = {"low": 0.05, "high": 0.4, "p": 0.01, "p_holm": 0.03}
    pair = {"difference": 0.2, **tests, "p_delong": None, "clips": 54, "families": 18}
    spread = {"runs": 3, "mean": 0.8, "deviation": 0.02, "smallest": 0.7, "largest": 0.9}
    groups: dict[str, Any] = {"attribute": "light", "measure": "right_fake"}
    groups |= {"low": None, "high": None, "value": 0.7}
    gap = {"attribute": "light", "measure": "auc", "group": "dark", "other": "bright", "shared": 4}
    found = Comparison(
        differences=[
            DifferenceRow(**where, model=a, other=b, measure="auc", **pair)
            for a, b in combinations(names, 2)
        ],
        seeds=[SeedRow(**shared[0], measure="accuracy", **spread)],
        risk=[
            RiskRow(**of, coverage=percent / 100, risk=percent / 400)
            for of in shared
            for percent in range(100, 0, -5)
        ],
        groups=[GroupRow(**shared[0], group="dark", **groups, **numbers, too_few="few")],
        gaps=[GapRow(**shared[0], difference=-0.1, **gap, **tests)],
        coverage=[CoverageRow(**of, ok=54 - n, missing=n, error=0, elsewhere=7 * n,
                  counted_as="as-chance", min_coverage=0.5) for n, of in enumerate(shared)],
        notes=[NoteRow("Clips without a score count as-chance.", warning=True), NoteRow("A note.")],
    )  # fmt: skip
    found.write(folder)
    measured = {"method": "all", "level": "clip", "trained_on": None, "temperature": 1.0}
    values = {"value": 0.75, "low": 0.6, "high": 0.875, "threshold": None, **numbers, **measured}
    rows = [CrossRow(**of, measure=name, **values) for of in shared for name in MEASURES]
    write_rows(folder / "cross.csv", CROSS_COLUMNS, rows)
    return folder


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def predictions(images: int) -> pa.Table:
    """Predictions of clips of two images each, half of them right."""
    target = np.arange(images) // 2 % 2
    logit = np.where(np.arange(images) % 4 < 3, target * 4 - 2.0, 2.0 - target * 4)
    score = 1 / (1 + np.exp(-logit))
    video = [f"{HOSTILE}{image // 2}" for image in range(images)]
    columns = {"video": video, "part": ["part_0"] * images, "family": video, "target": target}
    return pa.table(columns | {"logit": logit, "score": score, "calibrated": score * 0.9})


def metrics(images: int) -> dict[str, Any]:
    """The content of metrics.json."""
    scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": images // 2}
    measured = {
        "images": images,
        "accuracy": 0.75,
        "log_loss": 0.6,
        "auc": None,
        "classes": {"REAL": scores, "FAKE": scores},
        "confusion": [[9, 3], [3, 9]],
        "interval": {"accuracy": [0.5, 0.9], "log_loss": [0.4, 0.8], "auc": [None, None]},
    }
    calibration = {"log_loss": 0.6, "log_loss_calibrated": 0.5, "ece": 0.2, "ece_calibrated": 0.1}
    return {
        **{"split": "test", "shards": "shards", "clips": images // 2, "families": images // 2},
        **{"image": measured, "clip": measured, "temperature": 1.5, "calibration": calibration},
    }


def config() -> dict[str, Any]:
    """The content of config.json."""
    data = ShardsConfig("", {"train": {"REAL": 4, "FAKE": 4}}, CropSettings(None, None), {})
    return asdict(
        RunConfig(
            Recipe("v1.3", 32_000, 47, 16, published=Published(0.9, 0.4)),
            FitConfig(HOSTILE, None, "float32", 42),
            data,
            "shards",
            ["epochs is 2; the recipe has 47"],
            "CPU",
            {"keras": "3"},
        )
    )
