"""Keeps the decoded crops of a split in memory or on disk, so that only the first pass decodes.

A crop takes 150 kB: the 17,920 training crops of the paper's split take 2.7 GB.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from manifests.columns import CROP_SIZE
from manifests.errors import TrainingError
from training.data import input_pipeline
from training.data.shards import Shards

#: Values of `--cache`.
NONE, MEMORY, DISK = "none", "memory", "disk"

#: A decoded crop: RGB, and 0 for REAL or 1 for FAKE.
_CROP = np.dtype([("image", np.uint8, (CROP_SIZE, CROP_SIZE, 3)), ("label", np.uint8)])
#: Crops decoded at a time.
_BATCH = 64


def decode_split(
    shards: Shards, split: str, where: str, folder: Path
) -> npt.NDArray[np.void] | None:
    """Decode the crops of a split, in the order of its records.

    Args:
        where: `none`, `memory` or `disk`.
        folder: where the file is for `disk`. It has no name there, so it is gone as soon as the
            process ends, however it ends.

    Returns:
        An array with the fields image, uint8 [N, 224, 224, 3], and label, uint8 [N]; None for
        `none`.

    Raises:
        TrainingError: the shards cannot be read, or there is too little memory or disk space.
    """
    if where == NONE:
        return None
    count = shards.count(split)
    crops = _in_memory(count) if where == MEMORY else _on_disk(count, folder)
    start = 0
    with (
        tqdm(total=count, desc=f"decoding {split}", unit="img", disable=None) as bar,
        input_pipeline.report_read_errors(shards),
    ):
        for images, labels in input_pipeline.make_dataset(shards, split, _BATCH):
            place = slice(start, start := start + len(labels))
            crops["image"][place], crops["label"][place] = images, labels
            bar.update(len(labels))
    return crops


def _in_memory(count: int) -> npt.NDArray[np.void]:
    needed, free = count * _CROP.itemsize, _available_memory()
    if free is not None and needed > free:
        raise TrainingError(
            f"expected {_gigabytes(needed)} of free memory for --cache memory, found "
            f"{_gigabytes(free)}; use --cache disk"
        )
    return np.empty(count, _CROP)


def _on_disk(count: int, folder: Path) -> npt.NDArray[np.void]:
    needed = count * _CROP.itemsize
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserve the space: writing to a mapped file on a full disk kills the process.
            os.posix_fallocate(file.fileno(), 0, needed)
            mapped: Any = np.memmap(file, _CROP, "r+", shape=count)
    except OSError as error:
        raise TrainingError(
            f"expected {_gigabytes(needed)} of free space in {folder} for --cache disk, found: "
            f"{error.strerror}; free disk space, or omit --cache"
        ) from error
    return mapped  # type: ignore[no-any-return]


def _available_memory() -> int | None:
    """Bytes that can be allocated without swapping; None where the system does not say.

    In a container (cgroup v2), at most what is left of its limit.
    """
    try:
        free = int(_number("MemAvailable:", Path("/proc/meminfo")) or "") * 1024
    except (OSError, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        # Cached files are part of what is used, and are given up when memory is needed.
        cached = int(_number("inactive_file", group / "memory.stat") or 0)
    except (OSError, ValueError):  # no container, or "max": no limit
        return free
    return min(free, max(0, limit - used + cached))


def _number(name: str, file: Path) -> str | None:
    found = re.search(rf"^{name}\s+(\d+)", file.read_text(), re.MULTILINE)
    return found[1] if found else None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
