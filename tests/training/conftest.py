"""Small shards and runs shared by the tests of `training`."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from keras.src.applications.efficientnet import DEFAULT_BLOCKS_ARGS, EfficientNet
from PIL import Image

from dfdc_prep.run_files import CropSettings, FitConfig, RunConfig, ShardsConfig
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.arrow import MANIFEST_SCHEMA
from manifests.splitting.split import SplitPlan
from manifests.tables.parquet import sort_manifest, write_table
from training.recipes import choose_recipe
from training.runs import experiment
from training.runs.folder import Run

SIDE = 224


def crop(rng: np.random.Generator, fake: bool) -> npt.NDArray[np.uint8]:
    """A smooth skin-coloured gradient; fakes have a noisy centre."""
    across = np.linspace(0, 1, SIDE)
    field = np.add.outer(across * rng.uniform(-40, 40), across * rng.uniform(-40, 40))
    image = field[..., None] + rng.uniform(90, 170, 3)
    if fake:
        image[64:160, 64:160] += rng.normal(0, 30, (96, 96, 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def make_faces(folder: Path, families: int, frames: int = 1, seed: int = 7) -> Path:
    """A faces folder with one REAL and one FAKE clip per family, and balanced.parquet."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(families):
        real, fake = f"r{number:03d}.mp4", f"f{number:03d}.mp4"
        for video, label in ((real, "REAL"), (fake, "FAKE")):
            for frame in range(frames):
                path = folder / "crops" / "part_0" / video[:-4] / f"{frame:06d}_0.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(crop(rng, label == "FAKE")).save(path)
                rows.append(
                    dict.fromkeys(MANIFEST_SCHEMA.names)
                    | {
                        "video": video,
                        "part": "part_0",
                        "label": label,
                        "original": real if label == "FAKE" else None,
                        "family": real,
                        "frame": frame,
                        "face": 0,
                        "path": str(path.relative_to(folder)),
                        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    }
                )
    write_table(
        sort_manifest(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)),
        folder / "balanced.parquet",
    )
    return folder


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 20 families with two crops per clip: 80 crops."""
    folder = tmp_path_factory.mktemp("tiny")
    faces = make_faces(folder / "faces", families=20, frames=2)
    plan = SplitPlan.parse("56/24/20", "original", 42)
    write_crops(faces, folder / "shards", TFRecords(), CropSelection(plan))
    return folder / "shards"


def smallest(**options: Any) -> Any:
    """An EfficientNet of three blocks with a quarter of the width and depth."""
    blocks = DEFAULT_BLOCKS_ARGS[:3]
    return EfficientNet(0.25, 0.25, SIDE, blocks_args=blocks, name="efficientnetb7", **options)


#: Recipe overrides of a small run.
SMALL = {"backbone": "EfficientNetB7", "epochs": 3, "batch_size": 8}


@pytest.fixture(scope="package")
def small_backbone() -> Iterator[None]:
    """Replace EfficientNetB7, which no other test builds, by a small one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "EfficientNetB7", smallest)
        yield


def new_config(**overrides: Any) -> RunConfig:
    """The config.json of a run of recipe v1.3, with overrides, on no particular shards."""
    data = ShardsConfig("", {}, CropSettings(None, None), {})
    options = FitConfig("none", None, "float32", 42)
    return RunConfig(choose_recipe("v1.3", overrides), options, data, "shards", [], "CPU", {})


@pytest.fixture(scope="package")
def finished(
    tiny_shards: Path, small_backbone: None, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A small run of three epochs, trained and evaluated."""
    run = Run(tmp_path_factory.mktemp("runs") / "finished")
    experiment.fit(
        experiment.FitOptions(tiny_shards, "v1.3", SMALL, run.folder, "none", steps_per_epoch=2),
        log=print,
    )
    return run
