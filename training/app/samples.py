"""Samples: a few crops of the set that a run was tested on, to be tried with one click."""

import os
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from manifests.errors import TrainingError
from manifests.folders import ShardsFolder
from manifests.labels import LABELS

#: Samples of each label, each of another family.
MOST = 4


class Sample(NamedTuple):
    """A crop of the test split."""

    label: str
    video: str  # and frame: what it was cut from; None where the set does not say
    frame: int | None
    image: bytes  # PNG or JPEG

    @property
    def name(self) -> str:
        """What it is called on the pages."""
        return self.video if self.frame is None else f"{self.video}, frame {self.frame:,}"


def find_samples(run: Path, shards: Path | None = None) -> list[Sample]:
    """Return samples of the shards that a run was trained on, REAL first.

    Args:
        shards: their folder; None for that of the training. Without it, or with other shards
            in it, there are no samples.

    Raises:
        TrainingError: the shards are not those of the run, or one is missing.
        TableError, ShardError: their manifest is not valid, or a shard is damaged.
    """
    # Imported here, so that the server answers before they are loaded.
    from dfdc_prep.writing.tfrecord import parse_example, read_records
    from training.data.shards import Shards
    from training.runs.folder import Run

    config = Run(run).config()
    folder = shards or Path(config.shards)
    # Unlike Path.is_file, this is False also for a folder of somebody else, which cannot be read.
    if shards is None and not os.path.isfile(folder / ShardsFolder.INFO):
        return []
    opened = Shards(folder)
    if opened.manifest_hash() != config.data.manifest:
        if shards is None:
            return []
        raise TrainingError(
            f"expected the shards that {run} was trained on in {shards}, found others; give the "
            "folder of its --shards, or leave the option out"
        )
    rows = opened.rows("test").select(["label", "video", "family", "frame"]).to_pylist()
    found: list[Sample] = []
    seen: set[tuple[str, str | None]] = set()
    counts: Counter[str] = Counter()
    # The records are shuffled, so the first are a random choice.
    records = chain.from_iterable(map(read_records, opened.files("test")))
    for row, record in zip(rows, records, strict=False):
        key = row["label"], row["family"]
        if key in seen or counts[row["label"]] == MOST:
            continue
        image = (parse_example(record).get("image") or [None])[0]
        if isinstance(image, bytes):
            seen.add(key)
            counts[row["label"]] += 1
            found.append(Sample(row["label"], row["video"], row["frame"], image))
        if all(counts[label] == MOST for label in LABELS):
            break
    return sorted(found, key=lambda sample: LABELS.index(sample.label))
