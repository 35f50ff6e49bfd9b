"""Chooses crops and encodes their faces by dlib: 128 numbers each, close for one person.

The network and the five-landmark model are in the package `face_recognition_models`. Its
68-landmark model is not used: its licence excludes commercial use, and encodings from five
landmarks are as good. The vectors have a norm of about 1.4 and must not be normalized.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfdc_prep.crops.files import read_verified, resolve_inside
from dfdc_prep.errors import ModelError
from dfdc_prep.parallel.confinement import confine
from manifests.identities.evidence import flaws, quality
from manifests.labels import REAL
from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, to_rgb
from manifests.tables.parquet import sort_manifest

#: RGB, uint8 [height, width, 3].
Image: TypeAlias = npt.NDArray[np.uint8]

_NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
#: Border that dlib adds around the aligned face, as a fraction; its own default.
_PADDING = 0.25
#: Mean luma up to which a dark face is brightened, 0 to 255. Without it, faces at 0.15 of their
#: light are far from themselves in daylight, and near those of strangers.
_BRIGHT = 80.0
#: ITU-R BT.601 luma.
_LUMA = np.array([0.299, 0.587, 0.114])
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
    """Yield the candidates of the REAL clips, and of the FAKE ones of families without a REAL crop.

    Clips are in the order of (part, video). In each frame only the largest face counts. Of many
    frames those with the best score and size are taken, evenly spaced ones where neither is known.
    """
    real = pc.equal(manifest["label"], REAL)
    filmed = pc.is_in(manifest["family"], pc.unique(manifest["family"].filter(real)))
    chosen = manifest.filter(pc.or_(real, pc.invert(filmed))).select([*_COLUMNS, *_GEOMETRY])
    rows = (row for batch in sort_manifest(chosen).to_batches(10_000) for row in batch.to_pylist())
    for (part, video), clip in groupby(rows, key=lambda row: (row["part"], row["video"])):
        crops = list(clip)
        candidates = tuple(
            Candidate(row["path"], row["sha256"], _box(row), _side(row) or None, row["score"])
            for row in _best(crops)
        )
        yield ClipCandidates(part, video, crops[0]["family"], crops[0]["label"], candidates)


def _best(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most `MAX_CANDIDATES`; rows without a frame are frames of their own."""
    frames: dict[Any, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        frame = ("row", number) if row["frame"] is None else row["frame"]
        if frame not in frames or _side(row) > _side(frames[frame]):
            frames[frame] = row
    largest = list(frames.values())
    if len(largest) <= MAX_CANDIDATES:
        return largest
    if all(row["score"] is None and row["w"] is None for row in largest):
        return [largest[at * len(largest) // MAX_CANDIDATES] for at in range(MAX_CANDIDATES)]
    worth = [(1.0 if row["score"] is None else row["score"]) * _side(row) for row in largest]
    best = sorted(range(len(largest)), key=lambda at: (-worth[at], at))[:MAX_CANDIDATES]
    return [largest[at] for at in sorted(best)]


def _side(row: dict[str, Any]) -> float:
    return float(max(row["w"] or 0, row["h"] or 0))


def _box(row: dict[str, Any]) -> Box:
    """The box in fractions of the crop; the middle if unknown or not inside the crop."""
    x, y, w, h, left, top, side = (row[name] for name in _GEOMETRY)
    if None in (x, y, w, h, left, top, side) or min(w, h, side) <= 0:
        return MIDDLE
    box = ((x - left) / side, (y - top) / side, (x + w - left) / side, (y + h - top) / side)
    return box if min(box) > -1 and max(box) < 2 else MIDDLE


def model_files() -> tuple[Path, Path]:
    """Return the paths of the network and of the landmark model.

    Raises:
        ModelError: dlib or face_recognition_models is not installed, or lacks a model.
    """
    # find_spec does not import the package, which would need pkg_resources and warn of it.
    package = find_spec("face_recognition_models")
    folders = list(package.submodule_search_locations or []) if package else []
    names = (_NETWORK, _LANDMARKS)
    paths = [Path(folder, "models", name) for folder in folders[:1] for name in names]
    if find_spec("dlib") is None or not paths or not all(path.is_file() for path in paths):
        raise ModelError(
            "expected the packages dlib and face_recognition_models for face encodings, found "
            "that one is missing; run scripts/install"
        )
    return paths[0], paths[1]


class Look(NamedTuple):
    """A face in a crop before it is encoded."""

    image: Image  # the crop, brightened if the face is dark
    landmarks: Any  # dlib's five: the corners of both eyes, and the base of the nose
    # How far the nose is from the middle between the eyes, along the line through them, in units
    # of their distance: 0 for a frontal face, about 0.5 for a profile.
    asymmetry: float
    light: float  # mean luma of the box in the crop as it was, 0 to 255


class Encoder:
    """The two models; one per process. Neither is trained or changed by use."""

    @cached_property
    def _models(self) -> tuple[Any, Any]:
        import dlib

        network, landmarks = model_files()
        return dlib.face_recognition_model_v1(str(network)), dlib.shape_predictor(str(landmarks))

    def look(self, image: Image, box: Box) -> Look:
        """Find the landmarks of the face in a box."""
        import dlib

        height, width = image.shape[:2]
        left, right = (round(edge * width) for edge in (box[0], box[2]))
        top, bottom = (round(edge * height) for edge in (box[1], box[3]))
        face = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        light = float((face @ _LUMA).mean()) if face.size else 0.0
        image = brightened(image, light)
        landmarks = self._models[1](image, dlib.rectangle(left, top, right, bottom))
        points = np.array([(point.x, point.y) for point in landmarks.parts()], np.float64)
        one, other, nose = points[:2].mean(axis=0), points[2:4].mean(axis=0), points[4]
        across = one - other
        length = float(across @ across)
        # At most 1, as where the eyes coincide or the nose is far off.
        position = float((nose - other) @ across) / length if length else 2.0
        return Look(image, landmarks, min(1.0, abs(position - 0.5)), light)

    def encode(self, look: Look) -> npt.NDArray[np.float32]:
        """Return the encoding of a face, float32 [128]."""
        found = self._models[0].compute_face_descriptor(look.image, look.landmarks, 0, _PADDING)
        return np.asarray(found, np.float32)


def brightened(image: Image, light: float) -> Image:
    """Brighten an image whose face has a mean luma below 80 (`light`, 0 to 255) to 80."""
    if light >= _BRIGHT:
        return image
    return (image * (_BRIGHT / max(light, 1.0))).round().clip(0, 255).astype(np.uint8)


def decode(data: bytes) -> Image | None:
    """Decode a PNG or JPEG to RGB; None if that fails or it has too many pixels."""
    try:
        with open_image(data, CROP_FORMATS) as image:
            return to_rgb(image)
    except ImageError:
        return None


# What follows runs in worker processes.
_root = ""
_encoder = Encoder()


def init_worker(root: str, confined: bool) -> None:
    """Set up a worker process for a faces folder, by its real path; confined, it writes nothing."""
    global _root
    if confined:
        confine()
    _root = root


def encode_clip(clip: ClipCandidates) -> list[dict[str, Any]]:
    """Encode the best faces of a clip, at most `MAX_FACES`, best first.

    If any face is good, weak ones are left out. A crop that does not decode is left out.

    Returns:
        For each face columns of `ENCODING_SCHEMA`; its encoding, float32 [128], in base64.

    Raises:
        ShardError: a crop is missing, differs from the manifest, or is outside the folder.
    """
    seen = []
    for crop in clip.crops:
        image = decode(read_verified(resolve_inside(_root, crop.path), crop.path, crop.sha256))
        if image is not None:
            seen.append((crop, _encoder.look(image, crop.box)))
    worth = [quality(look.light, look.asymmetry, crop.size, crop.score) for crop, look in seen]
    order = sorted(range(len(seen)), key=lambda at: -worth[at])[:MAX_FACES]
    best = [seen[at] for at in order]
    good = [(crop, look) for crop, look in best if not flaws(look.light, look.asymmetry, crop.size)]
    return [
        {
            "path": crop.path,
            "size": crop.size,
            "asymmetry": round(look.asymmetry, 4),
            "light": round(look.light, 2),
            "encoding": base64.b64encode(_encoder.encode(look).astype("<f4").tobytes()).decode(),
        }
        for crop, look in good or best
    ]
