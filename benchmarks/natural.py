"""Synthetic crops of natural texture: 1/f noise over patches of a portrait, as PNG."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from skimage.data import astronaut

from manifests.arrow import MANIFEST_SCHEMA
from manifests.tables.parquet import sort_manifest, write_table

SIDE, FIELD, FIELDS = 224, 512, 16
#: Side of the square cut from the portrait, and scaled up to a crop.
CUT = 168
#: Standard deviation of the noise, grey levels.
NOISE = 5

_PORTRAIT = astronaut().astype(np.float32)


def make_faces(folder: Path, crops: int) -> Path:
    """Make a faces folder of `crops` crops, half of them FAKE, two per family, about 89 KB each."""
    fields = [pink_noise(np.random.default_rng(seed)) for seed in range(FIELDS)]
    cv2.setNumThreads(1)

    def make(index: int) -> dict[str, Any]:
        return write_crop(folder, index, fields)

    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(make, range(crops), chunksize=64))
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    write_table(sort_manifest(table), folder / "balanced.parquet")
    return folder


def pink_noise(rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls as 1/f, like that of photographs; float32, std 1."""
    fy, fx = np.fft.fftfreq(FIELD)[:, None, None], np.fft.rfftfreq(FIELD)[None, :, None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / FIELD)
    spectrum = amplitude * np.exp(2j * np.pi * rng.random((FIELD, FIELD // 2 + 1, 3)))
    noise = np.fft.irfft2(spectrum, s=(FIELD, FIELD), axes=(0, 1))
    # Photographs vary in lightness more than in colour.
    mixed = noise.mean(axis=2, keepdims=True) * 3 + noise
    return (mixed / mixed.std()).astype(np.float32)


def write_crop(folder: Path, index: int, fields: list[np.ndarray]) -> dict[str, Any]:
    """Cut, blend and encode one crop; return its manifest row."""
    rng = np.random.default_rng(index)
    x, y, u, v = rng.integers(0, FIELD - SIDE, 4)
    patch = _PORTRAIT[y : y + CUT, x : x + CUT] * rng.uniform(0.5, 1.0)
    patch = cv2.resize(patch, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noise = fields[rng.integers(FIELDS)][v : v + SIDE, u : u + SIDE]
    image = np.clip(patch + NOISE * noise, 0, 255).astype(np.uint8)
    data = cv2.imencode(".png", image)[1].tobytes()
    fake, family = index % 2, f"clip{index // 2:06d}.mp4"
    video = f"fake{index // 2:06d}.mp4" if fake else family
    path = f"crops/part_{index // 2 % 50}/{video[:-4]}/000000_0.png"
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(data)
    row = dict.fromkeys(MANIFEST_SCHEMA.names) | {"video": video, "part": path.split("/")[1]}
    row |= {"label": "FAKE" if fake else "REAL", "original": family if fake else None}
    row |= {"family": family, "frame": 0, "face": 0, "path": path}
    return row | {"sha256": hashlib.sha256(data).hexdigest()}
