"""Rows of recipes for tests, of clips that are not there."""

import hashlib
from typing import Any

import pyarrow as pa

from manifests.arrow import RECIPE_SCHEMA

HEADER: dict[str, Any] = {
    "format": 1,
    "kind": "faces",
    "source": {"layout": "dfdc", "dataset": "dfdc", "compression": None},
    "crops": {
        "frames": 2,
        "sampling": "even",
        "faces": "largest",
        "margin": 0.3,
        "size": 224,
        "format": "png",
        "share_boxes": True,
        "align": "none",
        "compare": False,
        "masks": False,
    },
    "detector": {"name": "yunet", "sha256": "0" * 64},
    "versions": {"dfdc-prep": "1.0.0", "av": "14.0.0"},
    "counts": {"clips": 3, "crops": 5, "bytes": 15_000_000_000},
    "tables": {},
    "columns": {},
    "left_out": [],
    "card": {},
    "manifest": None,
    "files": {},
}


def clip(video: str, label: str = "REAL", original: str | None = None) -> dict[str, Any]:
    """The columns of a clip."""
    digest = hashlib.sha256(video.encode()).digest()
    return {
        "part": "dfdc_train_part_0",
        "video": video,
        "folder": video.removesuffix(".mp4"),
        "label": label,
        "original": original,
        "family": original or video,
        "family_source": original and "known",
        "status": "ok",
        "clip_bytes": 5_000_000_000,
        "clip_sha256": digest,
        "clip_frames": 300,
        "first_frame": digest[:8],
        "first_frame_sketch": digest[:16],
        "dataset": "dfdc",
    }


def crop(clip: dict[str, Any], frame: int, face: int = 0) -> dict[str, Any]:
    """The row of a crop."""
    digest = hashlib.sha256(f"{clip['video']} {frame} {face}".encode()).digest()
    return {
        **clip,
        "frame": frame,
        "face": face,
        "width": 1920,
        "height": 1080,
        "x": -3,
        "y": 200 + face,
        "w": 180,
        "h": 240,
        "score": 0.5,
        "landmarks": [12.34, 56.78, 1919.99, 0.01, -7.5, 0.0, 1.0, 2.0, 3.0, 4.0],
        "box_source": "own",
        "sha256": digest,
        "pixels": digest[:3],
        "sketch": digest[4:8],
    }


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The table of a recipe; columns that a row lacks are null."""
    return pa.Table.from_pylist(rows, RECIPE_SCHEMA)


def small() -> pa.Table:
    """An original, its fake and a clip without a face."""
    real = clip("aaa.mp4")
    fake = clip("bbb.mp4", "FAKE", "aaa.mp4")
    crops = [crop(each, frame) for each in (real, fake) for frame in (0, 150)]
    return table([*crops, crop(fake, 150, 1), {**clip("ccc.mp4"), "status": "no_face"}])
