"""Images per second of several ways to read shards; run by benchmarks.shards on given cores.

Prints one JSON line: the best round of each reader in images per second, and the peak memory.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from dfdc_prep.writing.tfrecord import parse_example, read_records
from manifests.schemas import CROP_SIZE
from training.data import input_pipeline
from training.data.shards import Shards

BATCH = 16
#: Images before the clock starts: tf.data has to find its parallelism.
WARM = 1024


def bare(shards: Path, images: int) -> tuple[tf.data.Dataset, int]:
    """A bare parallel decode from memory."""
    encoded = []
    for file in Shards(shards).files("train"):
        encoded += [parse_example(record)["image"][0] for record in read_records(file)]
        if len(encoded) >= min(images, 3000):
            break
    data = tf.data.Dataset.from_tensor_slices(encoded).repeat()
    return data.map(decode, num_parallel_calls=tf.data.AUTOTUNE), 1


def decode(image: Any) -> Any:
    return tf.io.decode_image(image, channels=3, expand_animations=False)


def ours(shards: Path, images: int) -> tuple[tf.data.Dataset, int]:
    return input_pipeline.make_dataset(Shards(shards), "train", BATCH, seed=42, repeat=True), BATCH


def tfds(shards: Path, images: int) -> tuple[tf.data.Dataset, int]:
    """TensorFlow Datasets' own reader, shard files shuffled."""
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(str(shards))
    # It keeps small data sets in memory, decoded, unless told otherwise.
    read = tensorflow_datasets.ReadConfig(try_autocache=False)
    data = builder.as_dataset(
        split="train", shuffle_files=True, as_supervised=True, read_config=read
    )
    return data.repeat().batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE), BATCH


def by_label(shards: Path) -> Path:
    """The folder of training images as files, in REAL/ and FAKE/."""
    return shards.parent / f"{shards.name}-by-label"


def keras_folder(shards: Path, images: int) -> tuple[tf.data.Dataset, int]:
    """Keras's reader for a folder of images, REAL/ and FAKE/ beside the shards."""
    import keras

    data = keras.utils.image_dataset_from_directory(
        by_label(shards),
        batch_size=BATCH,
        image_size=(CROP_SIZE, CROP_SIZE),
        verbose=False,
    )
    # The last batch is smaller: counted as whole, in its favour.
    return data.repeat(), BATCH


KINDS: dict[str, Callable[[Path, int], tuple[tf.data.Dataset, int]]] = {
    "bare": bare,
    "ours": ours,
    "tfds": tfds,
    "keras": keras_folder,
}


def rate(batches: Iterator[Any], size: int, images: int) -> float:
    """Images per second over the next `images`."""
    start = time.perf_counter()
    for _ in range(0, images, size):
        next(batches)
    return images / (time.perf_counter() - start)


def forget(folder: Path) -> None:
    """Remove every file of a folder from the page cache, so that it is read from the disk."""
    for file in folder.rglob("*.*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def best_rates(
    shards: Path, kinds: list[str], images: int, rounds: int, cold: bool
) -> dict[str, float]:
    """The best round of each reader; rounds alternate, so that a slow minute affects all."""
    best = dict.fromkeys(kinds, 0.0)
    for _ in range(rounds):
        for kind in kinds:
            if cold:
                forget(by_label(shards) if kind == "keras" else shards)
            data, size = KINDS[kind](shards, images)
            batches = iter(data)
            rate(batches, size, WARM)
            best[kind] = max(best[kind], rate(batches, size, images))
    return best


def read_all(shards: Path) -> float:
    """Seconds to read and decode every record of every split, in order."""
    start = time.perf_counter()
    for split in Shards(shards).lengths:
        for _ in input_pipeline.make_dataset(Shards(shards), split, BATCH):
            pass
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", type=Path)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="read from the disk, not from memory")
    parser.add_argument("--epoch", action="store_true", help="one epoch of train, for its memory")
    parser.add_argument("--all", action="store_true", help="seconds to read everything")
    options = parser.parse_args()
    kinds = options.kinds.split(",") if options.kinds else []
    found = best_rates(options.shards, kinds, options.images, options.rounds, options.cold)
    if options.epoch:
        for _ in input_pipeline.make_dataset(Shards(options.shards), "train", BATCH, seed=42):
            pass
    if options.all:
        found["all"] = min(read_all(options.shards) for _ in range(options.rounds))
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
