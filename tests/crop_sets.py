"""Makes a small faces folder with image files for tests."""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from skimage.data import astronaut

import dfdc_prep
from dfdc_prep.commands.declaration import options_of
from dfdc_prep.extraction.clip import CropOptions
from manifests.arrow import MANIFEST_SCHEMA
from manifests.schemas import CropRow
from manifests.tables.parquet import bound, manifest_hash, sort_manifest, write_table

PART = "dfdc_train_part_0"


def make_faces(folder: Path, families: int = 12, fakes: int = 1, suffix: str = "png") -> Path:
    """Make a faces folder with balanced.parquet: `families` originals with `fakes` fakes each."""
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


def _crop(folder: Path, video: str, original: str | None, family: str, suffix: str) -> CropRow:
    """Write one crop of the astronaut picture, at a position that depends on the clip."""
    seed = int.from_bytes(hashlib.sha256(video.encode()).digest()[:4], "big")
    x, y = np.random.default_rng(seed).integers(0, 512 - 224, 2)
    path = f"crops/{PART}/{video.removesuffix('.mp4')}/000000_0.{suffix}"
    file = folder / path
    file.parent.mkdir(parents=True)
    Image.fromarray(astronaut()[y : y + 224, x : x + 224]).save(file)
    return CropRow(
        video=video,
        part=PART,
        label="FAKE" if original else "REAL",
        original=original,
        family=family,
        family_source="known" if original else None,
        frame=0,
        time_s=0.0,
        face=0,
        x=None,
        y=None,
        w=None,
        h=None,
        crop_x=None,
        crop_y=None,
        crop_size=None,
        score=0.9,
        box_source="own",
        detector="yunet",
        width=1920,
        height=1080,
        path=path,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def make_crops(folder: Path, crops: Sequence[Mapping[str, Any]], suffix: str = "png") -> Path:
    """Make a faces folder of the given rows, each with an image of its own.

    The tables manifest.parquet and balanced.parquet have all rows; columns that a row lacks have
    the values that `extract` gives to a REAL clip of its own family.
    """
    rows = []
    for number, given in enumerate(crops):
        video = given["video"]
        path = f"crops/{number:04d}.{suffix}"
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = np.random.default_rng(len(video) + 1000 * number)
        noise = seed.integers(0, 256, (given.get("pixels", 8),) * 2 + (3,), np.uint8)
        side = given.get("side", 224)
        Image.fromarray(noise).resize((side, side), Image.Resampling.NEAREST).save(file)
        row = {"part": PART, "label": "REAL", "family": video, "frame": 0, "face": 0}
        row |= {name: value for name, value in given.items() if name in MANIFEST_SCHEMA.names}
        row |= {"path": path, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        rows.append(row)
    table = sort_manifest(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    write_both(folder, table)
    return folder


def write_both(folder: Path, table: pa.Table) -> None:
    """Write a table as the manifest of a faces folder, and all its rows as the balanced ones."""
    write_table(table, folder / "manifest.parquet")
    write_table(bound(table, manifest_hash(folder)), folder / "balanced.parquet")


def make_set(folder: Path, dataset: str | None, families: int, methods: Sequence[str]) -> Path:
    """Make a faces folder of clips called 000.mp4 ... with a fake of each by each method."""
    crops: list[dict[str, Any]] = []
    for family in range(families):
        original = f"{family:03d}.mp4"
        crops.append({"video": original, "dataset": dataset})
        crops += [
            {
                "video": f"{family:03d}_{method}.mp4",
                "label": "FAKE",
                "original": original,
                "family": original,
                "dataset": dataset,
                "method": method,
            }
            for method in methods
        ]
    return make_crops(folder, crops)


def crop_options(**given: Any) -> CropOptions:
    """The options of the preset `paper`, but for those given."""
    declared = inspect.signature(dfdc_prep.extract).parameters
    found = {}
    for each in fields(CropOptions):
        option, default = options_of(dfdc_prep.extract)[each.name], declared[each.name].default
        found[each.name] = option.or_preset(default, "paper")
    return CropOptions(**{**found, **given})
