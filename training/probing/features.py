"""The features of crops, computed once for each image and kept in a cache.

An image is known by its bytes and the face's box in it, so another split of the same crops, in
another shards folder, takes its features from the cache.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dfdc_prep.crops.encoding import decode
from dfdc_prep.identities.encoder import MIDDLE, Encoder, model_files
from dfdc_prep.parallel.confinement import confine, why_unconfined
from dfdc_prep.parallel.processes import LocalWorkers, run_tasks
from dfdc_prep.parallel.threads import available_cores
from dfdc_prep.progress import Progress
from dfdc_prep.reports.probes import ALONE, COVERED, RIM, WHOLE
from dfdc_prep.reports.probes import MIDDLE as MIDDLE_ALONE
from dfdc_prep.reports.shortcuts import measure_image
from dfdc_prep.writing.audit_inputs import shard_images
from manifests.files import file_sha256
from manifests.schemas import CROP_SIZE, ENCODING_SIZE
from manifests.tables.codes import Mask
from manifests.tables.parquet import write_table
from manifests.wording import counted
from training import without_startup_notes
from training.models.settings import InputSettings
from training.probing.statistics import STATISTICS, Floats, Images, statistics

Ints = npt.NDArray[np.int64]
#: Left, top, right and bottom edge of a face in its crop, pixels.
Box = tuple[int, int, int, int]

#: Side of a thumbnail, whose pixels tell the room, the light and the person, but no forgery.
SMALL = 12
#: Length of a thumbnail as a vector of whole numbers, whose products are exact in float32.
_LENGTH = 1000
#: What is covered is mid-grey. Around a face, a tenth of its box is covered too.
_GREY, _GUARD = 128, 0.1
#: The parts of a crop that are looked at, see `regions`.
REGIONS = ("whole", "covered", "alone")
#: Crops computed in a task, and kept in a file of the cache.
_BLOCK, _PART = 64, 2048
#: CPU time that a block may take, seconds.
_TIMEOUT = 300.0


class Crop(NamedTuple):
    """A crop: its file's bytes, and where its face is."""

    data: bytes
    box: Box

    def image(self) -> Images | None:
        """Its picture, RGB uint8 [CROP_SIZE, CROP_SIZE, 3]; None if it is none of that size."""
        try:
            image = decode(self.data)
        except ValueError:
            return None
        return image if image.shape == (CROP_SIZE, CROP_SIZE, 3) else None


def regions(image: Images, box: Box) -> tuple[Images, Images, Images]:
    """Return the whole crop, the crop with its face covered, and the face alone."""
    left, top, right, bottom = box
    inside = slice(top, bottom), slice(left, right)
    x, y = round(_GUARD * (right - left)), round(_GUARD * (bottom - top))
    covered, alone = image.copy(), np.full_like(image, _GREY)
    covered[max(0, top - y) : bottom + y, max(0, left - x) : right + x] = _GREY
    alone[inside] = image[inside]
    return image, covered, alone


def face_boxes(rows: pa.Table) -> tuple[Ints, Mask]:
    """Return the detector's box in each crop of a manifest, and whether it is known.

    An unknown one is the middle of the crop, as if it had been cut with a margin of 0.3.

    Returns:
        int64 [rows, 4], as `Box`; bool [rows].
    """

    def column(name: str) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = rows[name].cast(pa.float64()).fill_null(np.nan).to_numpy()
        return values

    x, y, w, h, left, top, side = map(column, ("x", "y", "w", "h", "crop_x", "crop_y", "crop_size"))
    scale = CROP_SIZE / np.where(side > 0, side, np.nan)
    none = np.zeros_like(scale)
    upright = {"xx": scale, "xy": none, "x0": -left * scale}
    upright |= {"yx": none, "yy": scale, "y0": -top * scale}
    to = {}
    for name, value in upright.items():
        given = column(f"affine_{name}")
        to[name] = np.where(np.isnan(given), value, given)
    corners = [(x, y), (x + w, y), (x, y + h), (x + w, y + h)]
    across = np.stack([to["xx"] * u + to["xy"] * v + to["x0"] for u, v in corners])
    down = np.stack([to["yx"] * u + to["yy"] * v + to["y0"] for u, v in corners])
    box = np.stack([across.min(0), down.min(0), across.max(0), down.max(0)], axis=1)
    inside = np.clip(np.nan_to_num(box), 0, CROP_SIZE)
    known = np.isfinite(box).all(axis=1) & (inside[:, 2:] - inside[:, :2] >= 1).all(axis=1)
    inside[~known] = np.array(MIDDLE) * CROP_SIZE
    return np.rint(inside).astype(np.int64), known


def _picture(crop: Crop) -> Floats | None:
    image = crop.image()
    if image is None:
        return None
    small = cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_AREA).ravel()
    light = small.astype(np.float64) - small.mean()
    unit = np.rint(_LENGTH * light / max(float(np.linalg.norm(light)), 1e-6))
    shown = [statistics(each) for each in regions(image, crop.box)]
    parts = [np.array(measure_image(crop.data)), unit, *shown]
    return np.concatenate(parts).astype(np.float32)


def _pictures(crops: Sequence[Crop]) -> list[Floats | None]:
    return list(map(_picture, crops))


_encoder = Encoder()


def _encoding(crop: Crop) -> Floats | None:
    image = crop.image()
    if image is None:
        return None
    left, top, right, bottom = (edge / CROP_SIZE for edge in crop.box)
    look = _encoder.look(image, (left, top, right, bottom))
    alone = look._replace(image=regions(look.image, crop.box)[2])
    return np.concatenate([_encoder.encode(look), _encoder.encode(alone)])


def _encodings(crops: Sequence[Crop]) -> list[Floats | None]:
    return list(map(_encoding, crops))


def usable(values: Floats) -> Mask:
    """Which crops have values, see `FeatureCache.get`; bool [crops]."""
    return np.asarray(np.isfinite(values).all(axis=1))


@dataclass(frozen=True)
class Features:
    """Features that are computed together; `name` tells all that they depend on."""

    name: str
    widths: dict[str, int]  # the number of values of each of its parts, in order
    # The values of each crop, float32 [width]; None if it does not decode. In worker processes it
    # is a function of a module.
    compute: Callable[[Sequence[Crop]], list[Floats | None]]
    in_workers: bool = True

    @property
    def width(self) -> int:
        return sum(self.widths.values())

    def part(self, values: Floats, name: str) -> Floats:
        """The columns of a part of the values of some crops, float32 [crops, width]."""
        names = list(self.widths)
        start = sum(self.widths[each] for each in names[: names.index(name)])
        return values[:, start : start + self.widths[name]]


def picture_features() -> Features:
    """Measures, thumbnail, and statistics of the whole crop, the covered one and the face."""
    parts = {"measures": 3, "thumbnail": 3 * SMALL**2}
    return Features("pictures-2", parts | dict.fromkeys(REGIONS, STATISTICS), _pictures)


def encoder_features() -> Features:
    """dlib's encodings of the crop as it is and of the face alone, with the landmarks of the first.

    Raises:
        ModelError: dlib or its models are not installed.
    """
    hashes = "".join(file_sha256(path) for path in model_files())
    name = f"encodings-1-{hashlib.sha256(hashes.encode()).hexdigest()[:16]}"
    return Features(name, dict.fromkeys(("whole", "alone"), ENCODING_SIZE), _encodings)


def backbone_features(path: Path, settings: InputSettings) -> Features:
    """The output vector of a model file for each region; computed in this process.

    Raises:
        TrainingError: the file cannot be used.
    """
    with without_startup_notes():
        from training.models.model_file import open_backbone
    backbone = open_backbone(path, settings)
    width = int(backbone.features(np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8)).shape[1])

    def compute(crops: Sequence[Crop]) -> list[Floats | None]:
        images = [crop.image() for crop in crops]
        shown = [
            regions(image, crop.box)
            for image, crop in zip(images, crops, strict=True)
            if image is not None
        ]
        if not shown:
            return [None] * len(crops)
        found = [backbone.features(np.stack(each)) for each in zip(*shown, strict=True)]
        values = iter(np.concatenate(found, axis=1))
        return [None if image is None else next(values) for image in images]

    given = f"{file_sha256(path)} {settings}"
    name = f"backbone-1-{hashlib.sha256(given.encode()).hexdigest()[:16]}"
    return Features(name, dict.fromkeys(REGIONS, width), compute, in_workers=False)


class Crops:
    """The crops of a shards folder, in the order of its manifest."""

    def __init__(self, folder: Path, rows: pa.Table) -> None:
        self.folder, self.rows = folder, rows
        boxes, self.box_known = face_boxes(rows)
        self._boxes: list[Box] = [tuple(box) for box in boxes.tolist()]
        left, top, right, bottom = boxes.T
        x, y = np.rint(_GUARD * (right - left)), np.rint(_GUARD * (bottom - top))
        sides = [
            np.minimum(CROP_SIZE, high + grown) - np.maximum(0, low - grown)
            for low, high, grown in ((left, right, x), (top, bottom, y))
        ]
        #: The mean share of a crop that stays visible where its face is covered, 0 to 1.
        self.visible = 1 - float(np.mean(sides[0] * sides[1])) / CROP_SIZE**2

    def shown(self, region: str) -> str:
        """What a region shows of the crops, see `reports.probes`."""
        covered, alone = (COVERED, ALONE) if self.box_known.all() else (RIM, MIDDLE_ALONE)
        return {"whole": WHOLE, "covered": covered, "alone": alone}[region]

    def notes(self, chosen: Mask, usable: Mask) -> list[str]:
        """What to say of the crops that were chosen, and of those of them that decode."""
        total, unknown = len(chosen), int((~self.box_known).sum())
        notes = []
        if not chosen.all():
            notes.append(
                f"of {chosen.sum():,} of {counted(total, 'crop')}, those with the smallest hashes"
            )
        if bad := int((chosen & ~usable).sum()):
            notes.append(
                f"left out, no image of {CROP_SIZE}x{CROP_SIZE}, or its worker died: "
                f"{counted(bad, 'crop')}"
            )
        seen = f"{100 * self.visible:.0f} % of a crop stays visible where the face is covered"
        if unknown:
            seen = (
                f"where the face is in {unknown:,} of {counted(total, 'crop')} is not known: their "
                f"middle was covered, {100 * self.visible:.0f} % of a crop stays visible, and the "
                "rim of a face that is cut tightly is seen"
            )
        return [*notes, seen]

    @cached_property
    def keys(self) -> list[str]:
        """What each crop's features are known by: 32 hex digits of its bytes and its box."""
        keys = []
        with Progress(self.rows.num_rows, "crops", "read") as bar:
            for data, box in zip(shard_images(self.folder, self.rows), self._boxes, strict=True):
                keys.append(hashlib.sha256(f"{box}".encode() + (data or b"")).hexdigest()[:32])
                bar.update()
        return keys

    def first(self, most: int) -> Mask:
        """The crops with the smallest keys, the same ones in every split of them; bool [crops]."""
        taken = set(sorted(set(self.keys))[:most])
        return np.array([key in taken for key in self.keys])

    def read(self, rows: Iterable[int]) -> Iterator[tuple[str, Crop]]:
        """Yield the key and the crop of some rows."""
        wanted = set(rows)
        images = shard_images(self.folder, self.rows)
        for row, (key, data, box) in enumerate(zip(self.keys, images, self._boxes, strict=True)):
            if row in wanted:
                yield key, Crop(data or b"", box)


class FeatureCache:
    """A folder with the features of images, in a folder for each kind of features."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, features: Features, crops: Crops, chosen: Mask) -> Floats:
        """The features of crops, float32 [crops, width]; NaN where not chosen or not decodable.

        What is not in the cache is computed, and kept as it comes, so that an interrupted run goes
        on where it was.

        Raises:
            ShardError: the shards differ from their manifest.
            WorkersError: worker processes cannot be started.
        """
        wanted = {crops.keys[row]: row for row in np.flatnonzero(chosen)[::-1].tolist()}
        found = dict(self._known(features, wanted.keys()))
        missing = [row for key, row in wanted.items() if key not in found]
        part: dict[str, Floats] = {}
        with ExitStack() as stack:
            bar = stack.enter_context(Progress(len(missing), "crops", features.name.split("-")[0]))
            stack.callback(lambda: self._keep(features, part))
            for key, values in _computed(features, crops.read(missing), len(missing)):
                found[key] = part[key] = values
                bar.update()
                if len(part) >= _PART:
                    self._keep(features, part)
        values = np.full((len(chosen), features.width), np.nan, np.float32)
        for row in np.flatnonzero(chosen).tolist():
            values[row] = found.get(crops.keys[row], np.nan)
        return values

    def _known(self, features: Features, keys: Iterable[str]) -> Iterator[tuple[str, Floats]]:
        wanted = set(keys)
        for path in sorted((self.folder / features.name).glob("*.parquet")):
            table = pq.read_table(path)
            values = table["values"].combine_chunks().flatten().to_numpy()
            rows = values.reshape(-1, features.width)
            for key, row in zip(table["key"].to_pylist(), rows, strict=True):
                if key in wanted:
                    yield key, row

    def _keep(self, features: Features, part: dict[str, Floats]) -> None:
        """Write what was computed into a file of its own, and empty it."""
        if not part:
            return
        keys = sorted(part)
        values = np.concatenate([part[key] for key in keys])
        table = pa.table(
            {"key": keys, "values": pa.FixedSizeListArray.from_arrays(values, features.width)}
        )
        folder = self.folder / features.name
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        write_table(table, folder / f"{name}.parquet")
        part.clear()


class _Block(NamedTuple):
    compute: Callable[[Sequence[Crop]], list[Floats | None]]
    crops: tuple[tuple[str, Crop], ...]


def _computed(
    features: Features, crops: Iterator[tuple[str, Crop]], count: int
) -> Iterator[tuple[str, Floats]]:
    """Yield the key and the features of crops, all NaN if one does not decode."""
    blocks = iter(lambda: tuple(islice(crops, _BLOCK)), ())
    tasks = (_Block(features.compute, block) for block in blocks)
    unusable = np.full(features.width, np.nan, np.float32)
    with ExitStack() as stack:
        done: Iterable[tuple[_Block, list[Floats | None] | None]]
        if features.in_workers and count:
            workers = LocalWorkers(
                min(available_cores(), -(-count // _BLOCK)),
                _TIMEOUT,
                _prepare,
                (why_unconfined() is None,),
            )
            stack.callback(workers.stop)
            done = run_tasks(workers, _compute, tasks)
        else:
            done = ((task, _compute(task)) for task in tasks)
        for task, found in done:
            # A worker that died with its block leaves its crops out, of this run only.
            for (key, _), values in zip(task.crops, found or (), strict=found is not None):
                yield key, unusable if values is None else values


def _prepare(confined: bool) -> None:
    """Set up a worker process, which decodes files of others."""
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if confined:
        confine()


def _compute(block: _Block) -> list[Floats | None]:
    return block.compute([crop for _, crop in block.crops])
