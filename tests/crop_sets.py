"""A small faces folder with real crops, made for the tests that need one."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from skimage.data import astronaut

from manifests.schema import MANIFEST_SCHEMA
from manifests.tables.parquet import sort_manifest, write_table

PART = "dfdc_train_part_0"


def make_faces(folder: Path, families: int = 12, fakes: int = 1, suffix: str = "png") -> Path:
    """A faces folder with its balanced.parquet: `families` originals, each with its fakes."""
    rows = []
    for family in range(families):
        original = f"clip{family:03d}.mp4"
        rows.append(_crop(folder, original, None, original, suffix))
        rows += [
            _crop(folder, f"fake{family:03d}_{fake}.mp4", original, original, suffix)
            for fake in range(fakes)
        ]
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    write_table(sort_manifest(table), folder / "balanced.parquet")
    return folder


def _crop(
    folder: Path, video: str, original: str | None, family: str, suffix: str
) -> dict[str, Any]:
    """One crop of the astronaut picture, another place of it for every clip."""
    seed = int.from_bytes(hashlib.sha256(video.encode()).digest()[:4], "big")
    x, y = np.random.default_rng(seed).integers(0, 512 - 224, 2)
    path = f"crops/{PART}/{video.removesuffix('.mp4')}/000000_0.{suffix}"
    file = folder / path
    file.parent.mkdir(parents=True)
    Image.fromarray(astronaut()[y : y + 224, x : x + 224]).save(file)
    return {
        "frame": 0,
        "face": 0,
        "video": video,
        "part": PART,
        "label": "FAKE" if original else "REAL",
        "original": original,
        "family": family,
        "time_s": 0.0,
        "score": 0.9,
        "box_source": "own",
        "detector": "yunet",
        "width": 1920,
        "height": 1080,
        "path": path,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
