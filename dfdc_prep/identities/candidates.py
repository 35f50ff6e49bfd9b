"""Chooses the crops that are worth a look, from the manifest alone: of every REAL clip, and of the
fakes in families without one."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from manifests.labels import REAL
from manifests.tables.parquet import sort_manifest

#: Left, top, right and bottom edge of a box, as fractions of the side of a crop.
Box: TypeAlias = tuple[float, float, float, float]

#: The box in a crop of unknown geometry: its middle, as if cut with a margin of 0.3.
MIDDLE: Box = (0.1875, 0.1875, 0.8125, 0.8125)
#: Most crops of a clip that are looked at, and that are encoded.
MAX_CANDIDATES, MAX_FACES = 5, 3
_GEOMETRY = ("x", "y", "w", "h", "crop_x", "crop_y", "crop_size")
_COLUMNS = ("part", "video", "family", "label", "frame", "face", "path", "sha256", "score")


@dataclass(frozen=True)
class Candidate:
    """A crop that may be encoded."""

    path: str  # path and sha256: of the manifest
    sha256: str
    box: Box  # the detector's box in the crop, or the crop's middle if unknown
    size: float | None  # longer side of the box, source pixels; None if unknown
    score: float | None  # the detector's confidence; None if unknown


@dataclass(frozen=True)
class ClipCandidates:
    """The candidates of one clip, at most `MAX_CANDIDATES`."""

    part: str
    video: str
    family: str
    label: str
    crops: tuple[Candidate, ...]

    def key(self, model: str) -> str:
        """Hash of all that determines the encodings, with the model's hashes; 32 hex digits."""
        text = json.dumps([asdict(self), MAX_FACES, model])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def choose_candidates(manifest: pa.Table) -> Iterator[ClipCandidates]:
    """Yield the candidates of clips in the order of (part, video).

    These are the REAL clips, and the FAKE ones of families without a REAL crop.
    In each frame only the largest face counts. Of many frames those with the best score and
    size are taken, or evenly spaced ones where the manifest has neither.
    """
    real = pc.equal(manifest["label"], REAL)
    filmed = pc.is_in(manifest["family"], pc.unique(manifest["family"].filter(real)))
    chosen = manifest.filter(pc.or_(real, pc.invert(filmed))).select([*_COLUMNS, *_GEOMETRY])
    rows = (row for batch in sort_manifest(chosen).to_batches(10_000) for row in batch.to_pylist())
    for (part, video), clip in groupby(rows, key=lambda row: (row["part"], row["video"])):
        crops = list(clip)
        candidates = tuple(
            Candidate(row["path"], row["sha256"], _box(row), _side(row) or None, row["score"])
            for row in _best(_largest_faces(crops))
        )
        yield ClipCandidates(part, video, crops[0]["family"], crops[0]["label"], candidates)


def _largest_faces(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per frame; rows without a frame are frames of their own."""
    frames: dict[Any, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        frame = ("row", number) if row["frame"] is None else row["frame"]
        if frame not in frames or _side(row) > _side(frames[frame]):
            frames[frame] = row
    return list(frames.values())


def _best(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) <= MAX_CANDIDATES:
        return rows
    if all(row["score"] is None and row["w"] is None for row in rows):
        return [rows[at * len(rows) // MAX_CANDIDATES] for at in range(MAX_CANDIDATES)]
    worth = [(1.0 if row["score"] is None else row["score"]) * _side(row) for row in rows]
    best = sorted(range(len(rows)), key=lambda at: (-worth[at], at))[:MAX_CANDIDATES]
    return [rows[at] for at in sorted(best)]


def _side(row: dict[str, Any]) -> float:
    return float(max(row["w"] or 0, row["h"] or 0))


def _box(row: dict[str, Any]) -> Box:
    """The box in fractions of the crop; the middle if unknown or not inside the crop."""
    x, y, w, h, left, top, side = (row[name] for name in _GEOMETRY)
    if None in (x, y, w, h, left, top, side) or min(w, h, side) <= 0:
        return MIDDLE
    box = ((x - left) / side, (y - top) / side, (x + w - left) / side, (y + h - top) / side)
    return box if min(box) > -1 and max(box) < 2 else MIDDLE
