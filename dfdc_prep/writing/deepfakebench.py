"""DeepfakeBench: a folder to copy into its checkout.

    preprocessing/dataset_json/NAME.json, NAME_val.json
    datasets/rgb/NAME/train/frames/CLIP/012.png
    datasets/rgb/NAME/train/masks/CLIP/012.png

PNG crops are hard links to those of the faces folder. JPEG crops are decoded and stored as PNG,
because masks and landmarks are looked for under the frame's name, ending in .png.

The benchmark's loader replaces the word `frames` everywhere in a path to find masks and
landmarks, sorts the frames of a clip by `int()` of their names, and groups the scores of a clip by
its folder's name.
"""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dfdc_prep.crops.files import CropReader
from dfdc_prep.errors import ShardError
from dfdc_prep.parallel.threads import RecordBar, ThreadPool
from dfdc_prep.writing.sources import SplitCrops
from dfdc_prep.writing.writer import Format, Written
from manifests.arrow import SPLIT_SCHEMA
from manifests.errors import TableError
from manifests.files import link_or_copy, write_text
from manifests.labels import FAKE, LABELS, REAL
from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading
from manifests.splitting.sets import TEST, TRAIN, VALIDATION
from manifests.tables.codes import Codes
from manifests.tables.parquet import sort_manifest
from manifests.wording import counted

#: Crops of a clip that the benchmark reads: the first ones, so that there should not be more.
MOST_CROPS = 32
#: The labels of DFDC in the benchmark's label dictionary.
_LABELS = {REAL: "DFDC_Real", FAKE: "DFDC_Fake"}
#: Names of the splits in the layout.
_SPLITS = {TRAIN: "train", VALIDATION: "val", TEST: "test"}
#: Column of the exported manifest with the crop's path in the export.
EXPORTED = "exported_path"
#: The word that the loader replaces.
FRAMES = "frames"
#: Names for which the loader expects a level of compression in the JSON file.
_WITH_COMPRESSION = {
    "FaceForensics++", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "DeepFakeDetection", "FaceShifter",
    "FaceForensics++_c40", "FF-DF_c40", "FF-F2F_c40", "FF-FS_c40", "FF-NT_c40",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]+")
_SUFFIX = re.compile(r"\.[^./]*$")


class ClipKey(NamedTuple):
    """What makes a clip folder: a clip of one label in one split."""

    part: str
    video: str
    label: str
    split: str


class _Clip(NamedTuple):
    """The crops of one clip folder."""

    folder: str
    key: ClipKey
    rows: list[int]  #: positions in the table
    crops: list[dict[str, Any]]  #: each row's path, sha256, mask and mask_sha256
    targets: list[str]  #: each row's path in the export


@dataclass(frozen=True)
class DeepfakeBench(Format):
    """The format `deepfakebench`."""

    dataset: str = "dfdc_faces"  # name of the data set in the benchmark
    crops_per_clip: int = MOST_CROPS  # most crops of a clip, chosen evenly in whole frames

    name = "deepfakebench"

    def __post_init__(self) -> None:
        """Raise TableError if the loader could not read a data set of this name."""
        name = self.dataset
        if not _NAME.fullmatch(name) or FRAMES in name or name in _WITH_COMPRESSION:
            raise TableError(
                "expected a name of letters, digits, - and _ that does not contain 'frames' and is "
                f"none of DeepfakeBench's FaceForensics++ names, found {name!r}; give another "
                "--name"
            )

    def options(self) -> dict[str, Any]:
        return {"name": self.dataset, "crops_per_clip": self.crops_per_clip}

    def write(self, crops: SplitCrops, folder: Path, workers: int | None) -> Written:
        """Write the frames, masks and JSON files."""
        if unknown := [name for name in crops.splits.order if name not in _SPLITS]:
            raise TableError(
                f"expected the splits train, validation and test, found {unknown[0]}; give --split "
                "three numbers, or two for train and test"
            )
        table = crops.table
        if "split" in table.column_names:
            table = table.drop_columns(["split"])
        table = sort_manifest(table.append_column(SPLIT_SCHEMA.field("split"), crops.splits.names))
        clips = list(_clips(table, self.dataset, self.crops_per_clip))
        reader = CropReader(crops.folders, size=None)

        def write_clip(pool: ThreadPool, clip: _Clip) -> dict[str, str]:
            """Write the frames and masks of a clip; return their SHA-256 by name."""
            hashes = {}
            (folder / clip.targets[0]).parent.mkdir(parents=True)
            for crop, target in zip(clip.crops, clip.targets, strict=True):
                pool.check_cancelled()
                hashes[target] = _write_frame(reader, crop, folder / target)
                if crop["mask"]:
                    reader.mask(crop["mask"], crop["mask_sha256"] or "")
                    mask = target.replace(f"/{FRAMES}/", "/masks/")
                    (folder / mask).parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(reader.folders.resolve(crop["mask"]), folder / mask)
                    hashes[mask] = str(crop["mask_sha256"])
                bar.add((folder / target).stat().st_size)
            return hashes

        bar = RecordBar(self.bar, sum(len(clip.rows) for clip in clips))
        with bar, ThreadPool(workers) as pool:
            written = pool.map(write_clip, clips)
        hashes = {name: sha256 for files in written for name, sha256 in files.items()}
        _write_json_files(folder / "preprocessing" / "dataset_json", self.dataset, clips)
        exported = table.take(pa.array([row for clip in clips for row in clip.rows], pa.int64()))
        targets = pa.array([target for clip in clips for target in clip.targets], pa.string())
        manifest = exported.append_column(EXPORTED, targets)
        return Written(manifest, hashes, _notes(clips, self.dataset))


def clip_folders(keys: Iterable[ClipKey]) -> dict[ClipKey, str]:
    """Name the folder of every clip: by its video, and a hash where that is not unique.

    The names contain only letters, digits, `-` and `_`, differ in more than case, and do not
    depend on the order of the clips.
    """
    names = {key: _plain(key.video) for key in keys}
    length = 8
    while True:
        counts = Counter(name.casefold() for name in names.values())
        shared = [key for key, name in names.items() if counts[name.casefold()] > 1]
        if not shared:
            return names
        for key in shared:
            digest = hashlib.sha256("\0".join(key).encode()).hexdigest()
            names[key] = f"{_plain(key.video)}-{digest[:length]}"
        length *= 2


def _plain(video: str) -> str:
    name = _UNUSUAL.sub("_", _SUFFIX.sub("", video))[:80].replace(FRAMES, FRAMES.capitalize())
    return name.strip("_") or "clip"


def frame_names(frames: Sequence[int | None]) -> list[str]:
    """Name the crops of a clip, in order: 012.png, by frame, or by position if frames repeat."""
    known = [frame for frame in frames if frame is not None and frame >= 0]
    numbers = known if len(set(known)) == len(frames) else range(len(frames))
    return [f"{number:03d}.png" for number in numbers]


def choose_evenly(frames: Sequence[int | None], most: int) -> list[int]:
    """Positions of at most `most` crops of a clip, ascending: all crops of evenly spaced frames.

    `frames` has the frame of each crop, in order; a crop whose frame is unknown counts as one. Of a
    frame with more than `most` crops, the first ones are taken.
    """
    if len(frames) <= most:
        return list(range(len(frames)))
    pairs = enumerate(pairwise(frames), 1)
    starts = [0, *(place for place, (last, frame) in pairs if frame is None or frame != last)]
    ends = [*starts[1:], len(frames)]
    largest = max(end - start for start, end in zip(starts, ends, strict=True))
    count = min(len(starts), max(1, most // largest))
    # The frame in the middle of each of `count` equal stretches.
    wanted: Codes = (2 * np.arange(count) + 1) * len(starts) // (2 * count)
    chosen = [crop for index in wanted.tolist() for crop in range(starts[index], ends[index])]
    return chosen[:most]


def _clips(table: pa.Table, dataset: str, most: int) -> Iterator[_Clip]:
    """Yield the clips of a sorted table in the order of their folders' names."""
    columns = [*ClipKey._fields, "frame", "path", "sha256", "mask", "mask_sha256"]
    crops = table.select(columns).to_pylist()
    by_clip: dict[ClipKey, list[int]] = {}
    for row, crop in enumerate(crops):
        by_clip.setdefault(ClipKey(*(crop[name] for name in ClipKey._fields)), []).append(row)
    folders = clip_folders(by_clip)
    for key in sorted(by_clip, key=lambda key: folders[key]):
        of_clip = by_clip[key]
        chosen = choose_evenly([crops[row]["frame"] for row in of_clip], most)
        rows = [of_clip[position] for position in chosen]
        names = frame_names([crops[row]["frame"] for row in rows])
        folder = f"datasets/rgb/{dataset}/{_SPLITS[key.split]}/{FRAMES}/{folders[key]}"
        targets = [f"{folder}/{name}" for name in names]
        yield _Clip(folders[key], key, rows, [crops[row] for row in rows], targets)


def _write_frame(reader: CropReader, crop: dict[str, Any], target: Path) -> str:
    """Link a PNG, or decode a JPEG and store its pixels as PNG; return the SHA-256."""
    data, path = reader.image(crop["path"], crop["sha256"]), crop["path"]
    if data.startswith(b"\x89PNG"):
        link_or_copy(reader.folders.resolve(path), target)
        return str(crop["sha256"])
    try:
        with open_image(data, CROP_FORMATS) as image, reading():
            file = io.BytesIO()
            image.save(file, "PNG")
    except ImageError as error:
        raise ShardError(
            f"expected a crop that decodes at {path}, found {error}; extract again and balance"
        ) from error
    target.write_bytes(file.getvalue())
    return hashlib.sha256(file.getvalue()).hexdigest()


def _write_json_files(folder: Path, dataset: str, clips: Sequence[_Clip]) -> None:
    """Write the JSON files, which list the clips of each label and split."""
    # Which split each of a file's splits is. The loader never reads `val`, so that the validation
    # split is also the test split of a second set.
    files = {dataset: {split: split for split in _SPLITS.values()}}
    if any(clip.key.split == VALIDATION for clip in clips):
        files[f"{dataset}_val"] = {"test": "val"}
    folder.mkdir(parents=True)
    for name, sources in files.items():
        groups: dict[str, Any] = {
            _LABELS[label]: {split: {} for split in _SPLITS.values()} for label in LABELS
        }
        for clip in clips:
            label = _LABELS[clip.key.label]
            content = {"label": label, "frames": [f"./{target}" for target in clip.targets]}
            for split, source in sources.items():
                if _SPLITS[clip.key.split] == source:
                    groups[label][split][clip.folder] = content
        text = json.dumps({name: groups}, separators=(",", ":"))
        write_text(folder / f"{name}.json", text + "\n")


def _notes(clips: Sequence[_Clip], dataset: str) -> tuple[str, ...]:
    fakes = [crop for clip in clips if clip.key.label == FAKE for crop in clip.crops]
    masked = sum(bool(crop["mask"]) for crop in fakes)
    crops = sum(len(clip.rows) for clip in clips)
    total = f"data set {dataset}: {counted(len(clips), 'clip')}, {counted(crops, 'crop')}"
    if not 0 < masked < len(fakes):
        return (total,)
    missing = (
        f"without a mask: {len(fakes) - masked:,} of {counted(len(fakes), 'FAKE crop')}; the "
        "benchmark reads those as not changed anywhere"
    )
    return (total, missing)
