"""DeepfakeBench: a folder to copy into its checkout.

    preprocessing/dataset_json/NAME.json, NAME_val.json
    datasets/rgb/NAME/train/frames/CLIP/012.png
    datasets/rgb/NAME/train/masks/CLIP/012.png

PNG crops are hard links to those of the faces folder. JPEG crops are decoded and stored as PNG,
because masks and landmarks are looked for under the frame's name, ending in .png.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dfdc_prep.crops.files import CropFolders, CropReader
from dfdc_prep.errors import ShardError
from dfdc_prep.parallel.threads import RecordBar, ThreadPool
from dfdc_prep.writing.bench_names import ClipKey, check_name, clip_folders, frame_names
from dfdc_prep.writing.export import Written
from dfdc_prep.writing.sources import SplitCrops
from manifests.errors import TableError
from manifests.files import link_or_copy, write_text
from manifests.labels import FAKE, LABELS, REAL
from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading
from manifests.schema import SPLIT_SCHEMA
from manifests.splitting.sets import TEST, TRAIN, VALIDATION
from manifests.tables.codes import Codes
from manifests.tables.parquet import sort_manifest

#: Crops of a clip that the benchmark reads: the first ones, so that there should not be more.
MOST_CROPS = 32
#: The labels of DFDC in the benchmark's label dictionary.
_LABELS = {REAL: "DFDC_Real", FAKE: "DFDC_Fake"}
#: Names of the splits in the layout.
_SPLITS = {TRAIN: "train", VALIDATION: "val", TEST: "test"}
#: Column of the exported manifest with the crop's path in the export.
EXPORTED = "exported_path"


@dataclass(frozen=True)
class DeepfakeBench:
    """The format `deepfakebench`.

    Attributes:
        dataset: name of the data set in the benchmark.
        crops_per_clip: most crops of a clip, chosen evenly in whole frames.
        workers: number of threads, None for one per core; does not change the output.
    """

    dataset: str = "dfdc_faces"
    crops_per_clip: int = MOST_CROPS
    workers: int | None = None
    name: str = "deepfakebench"

    def __post_init__(self) -> None:
        check_name(self.dataset)

    def options(self) -> dict[str, Any]:
        """The options that determine the bytes, for metadata.json."""
        return {"name": self.dataset, "crops_per_clip": self.crops_per_clip}

    def write(self, crops: SplitCrops, folder: Path) -> Written:
        """Write the frames, masks and JSON files into an empty folder."""
        _check_splits(crops.splits.order)
        table = crops.table
        if "split" in table.column_names:
            table = table.drop_columns(["split"])
        table = sort_manifest(table.append_column(SPLIT_SCHEMA.field("split"), crops.splits.names))
        clips = list(_clips(table, self.dataset, self.crops_per_clip))
        hashes = _write_clips(clips, crops.folders, folder, self.workers)
        for name, splits in _json_files(self.dataset, clips):
            text = json.dumps({name: splits}, separators=(",", ":"))
            target = folder / "preprocessing" / "dataset_json" / f"{name}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, text + "\n")
        return Written(_exported(table, clips), hashes, _notes(clips, self.dataset))


@dataclass(frozen=True)
class _Clip:
    """The crops of one clip folder.

    Attributes:
        folder: name of the folder.
        label: REAL or FAKE.
        split: its name in the layout: train, val or test.
        rows: positions of the rows in the table.
        crops: for each row its path, sha256, mask and mask_sha256.
        targets: for each row the path of its frame in the export.
    """

    folder: str
    label: str
    split: str
    rows: list[int]
    crops: list[dict[str, Any]]
    targets: list[str]


def _check_splits(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in _SPLITS]:
        raise TableError(
            f"expected the splits train, validation and test, found {unknown[0]}; give --split "
            "three numbers, or two for train and test"
        )


def _clips(table: pa.Table, dataset: str, most: int) -> Iterator[_Clip]:
    """Yield the clips of a sorted table in the order of their folders' names."""
    columns = ("part", "video", "label", "split", "frame", "path", "sha256", "mask", "mask_sha256")
    rows = table.select(list(columns)).to_pylist()
    by_clip: dict[ClipKey, list[int]] = {}
    for at, row in enumerate(rows):
        key = ClipKey(row["part"], row["video"], row["label"], row["split"])
        by_clip.setdefault(key, []).append(at)
    folders = clip_folders(by_clip)
    for key in sorted(by_clip, key=lambda key: folders[key]):
        found = by_clip[key]
        frames = [rows[at]["frame"] for at in found]
        chosen = [found[at] for at in choose_evenly(frames, most)]
        split = _SPLITS[key.split]
        place = f"datasets/rgb/{dataset}/{split}/frames/{folders[key]}"
        names = frame_names([rows[at]["frame"] for at in chosen])
        targets = [f"{place}/{name}" for name in names]
        crops = [rows[at] for at in chosen]
        yield _Clip(folders[key], key.label, split, chosen, crops, targets)


def choose_evenly(frames: Sequence[int | None], most: int) -> list[int]:
    """Choose at most `most` of the crops of a clip: all crops of evenly spaced frames.

    Args:
        frames: the frame of each crop, in order; a crop whose frame is unknown counts as one.

    Returns:
        Positions in `frames`, ascending. Of a frame with more than `most` crops the first ones.
    """
    starts = [
        at for at, frame in enumerate(frames) if at == 0 or frame is None or frame != frames[at - 1]
    ]
    ends = [*starts[1:], len(frames)]
    largest = max(end - start for start, end in zip(starts, ends, strict=True))
    count = min(len(starts), max(1, most // largest))
    if len(frames) <= most:
        count = len(starts)
    # The frame in the middle of each of `count` equal stretches.
    wanted: Codes = (2 * np.arange(count) + 1) * len(starts) // (2 * count)
    chosen = [at for index in wanted.tolist() for at in range(starts[index], ends[index])]
    return chosen[:most]


def _write_clips(
    clips: Sequence[_Clip], folders: CropFolders, folder: Path, workers: int | None
) -> dict[str, str]:
    """Write the frames and masks of all clips; return their SHA-256 by name."""
    reader = CropReader(folders, size=None)
    bar = RecordBar("export", sum(len(clip.rows) for clip in clips))

    def write(pool: ThreadPool, clip: _Clip) -> dict[str, str]:
        hashes = {}
        (folder / clip.targets[0]).parent.mkdir(parents=True)
        for crop, target in zip(clip.crops, clip.targets, strict=True):
            pool.check_cancelled()
            hashes[target] = _write_frame(reader, crop, folder / target)
            if crop["mask"]:
                hashes |= _write_mask(reader, crop, target, folder)
            bar.add((folder / target).stat().st_size)
        return hashes

    with bar, ThreadPool(workers) as pool:
        return {name: sha for found in pool.map(write, clips) for name, sha in found.items()}


def _write_frame(reader: CropReader, crop: dict[str, Any], target: Path) -> str:
    """Link or write one frame; return its SHA-256."""
    data = reader.image(crop["path"], crop["sha256"])
    if data.startswith(b"\x89PNG"):
        link_or_copy(reader.folders.resolve(crop["path"]), target)
        return str(crop["sha256"])
    data = _to_png(data, crop["path"])
    target.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _write_mask(
    reader: CropReader, crop: dict[str, Any], frame: str, folder: Path
) -> dict[str, str]:
    """Link the mask of a frame; return its name and SHA-256."""
    reader.mask(crop["mask"], crop["mask_sha256"] or "")
    target = frame.replace("/frames/", "/masks/")
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(reader.folders.resolve(crop["mask"]), folder / target)
    return {target: str(crop["mask_sha256"])}


def _to_png(data: bytes, path: str) -> bytes:
    """Decode a JPEG and store its pixels as PNG.

    Raises:
        ShardError: the image is damaged.
    """
    try:
        with open_image(data, CROP_FORMATS) as image, reading():
            file = io.BytesIO()
            image.save(file, "PNG")
            return file.getvalue()
    except ImageError as error:
        raise ShardError(
            f"expected a crop that decodes at {path}, found {error}; extract again and balance"
        ) from error


def _json_files(dataset: str, clips: Sequence[_Clip]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the content of each JSON file.

    The loader never reads `val`: the validation split is also the test split of a second set.
    """
    yield dataset, _groups(clips, {name: name for name in _SPLITS.values()})
    if any(clip.split == "val" for clip in clips):
        yield f"{dataset}_val", _groups(clips, {"test": "val"})


def _groups(clips: Sequence[_Clip], sources: dict[str, str]) -> dict[str, Any]:
    """The content of a JSON file; `sources` says which split each of its splits is."""
    return {
        _LABELS[label]: {
            split: {
                clip.folder: {
                    "label": _LABELS[label],
                    "frames": [f"./{target}" for target in clip.targets],
                }
                for clip in clips
                if clip.label == label and clip.split == sources.get(split)
            }
            for split in _SPLITS.values()
        }
        for label in LABELS
    }


def _exported(table: pa.Table, clips: Sequence[_Clip]) -> pa.Table:
    """The manifest of the exported crops, in the order of their paths."""
    rows = [row for clip in clips for row in clip.rows]
    targets = [target for clip in clips for target in clip.targets]
    found = table.take(pa.array(rows, pa.int64()))
    return found.append_column(EXPORTED, pa.array(targets, pa.string()))


def _notes(clips: Sequence[_Clip], dataset: str) -> tuple[str, ...]:
    fakes = [crop for clip in clips if clip.label == FAKE for crop in clip.crops]
    masked = sum(bool(crop["mask"]) for crop in fakes)
    counts = f"{len(clips):,} clips, {sum(len(clip.rows) for clip in clips):,} crops"
    notes = [f"data set {dataset}: {counts}"]
    if 0 < masked < len(fakes):
        notes.append(
            f"{len(fakes) - masked:,} of {len(fakes):,} FAKE crops have no mask; the benchmark "
            "reads those as not changed anywhere"
        )
    return tuple(notes)
