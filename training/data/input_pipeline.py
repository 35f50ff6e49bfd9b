"""Reads shards as a `tf.data.Dataset` of batches, for any Keras backend.

Images stay uint8; the model casts them on its device. Memory use does not depend on the size of
the shards, unless their decoded crops are kept.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dfdc_prep.progress import Progress
from manifests.errors import TrainingError
from manifests.schemas import CROP_SIZE
from training.data.shards import Shards

if keras.backend.backend() != "tensorflow":
    # TensorFlow only reads the data then. It would otherwise take most of the memory of every GPU,
    # which the backend needs.
    tf.config.set_visible_devices([], "GPU")

#: Shard files read in parallel.
_PARALLEL_FILES = 4
#: Shard files fetched at the same time from a bucket, and fetched ahead.
_FETCHED_AT_ONCE = 2
#: Read buffer of each shard file, in bytes.
_READ_AHEAD = 1 << 20
#: Encoded records in the shuffle buffer; about 90 MB of PNG.
_SHUFFLE_BUFFER = 1024
#: Values of `--cache`: where decoded crops are kept.
NONE, MEMORY, DISK = "none", "memory", "disk"
#: A decoded crop: RGB, and 0 for REAL or 1 for FAKE. 150 kB: the 17,920 training crops of the
#: paper's split take 2.7 GB.
_CROP = np.dtype([("image", np.uint8, (CROP_SIZE, CROP_SIZE, 3)), ("label", np.uint8)])
_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "mask": tf.io.FixedLenFeature([], tf.string, default_value=""),
}


@contextmanager
def report_read_errors(shards: Shards) -> Iterator[None]:
    """Turn TensorFlow's errors while reading batches into a `TrainingError`.

    A record is damaged or no Example with a label and an image of 224x224, or memory runs out.
    """
    try:
        yield
    except tf.errors.OpError as error:
        damaged = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError)
        if isinstance(error, damaged):
            raise TrainingError(
                f"expected intact records in {shards}, found {str(error.message)[:200]}; check "
                f"them with dfdc-prep verify {shards}, then write the shards again"
            ) from error
        if shards.cache and shards.cache.error:
            raise shards.cache.error from error
        raise TrainingError(
            f"expected TensorFlow to process a batch, found {type(error).__name__} "
            f"({str(error.message)[:200]}); give the process more memory or use a smaller "
            "--batch-size"
        ) from error


def make_dataset(
    shards: Shards,
    split: str,
    batch_size: int,
    *,
    seed: int | None = None,
    repeat: bool = False,
    decoded: npt.NDArray[np.void] | None = None,
) -> tf.data.Dataset:
    """Build the dataset of a split: RGB images uint8 [B, 224, 224, 3], labels float32 [B], 1: FAKE.

    Args:
        seed: for training: shuffle the shard files, interleave them and shuffle their records, in a
            different order each epoch, and drop the last incomplete batch; the same seed gives the
            same orders. None: every record comes once, in the order of the manifest.
        repeat: repeat indefinitely.
        decoded: from `decode_split`, read in place of the shards; the order is the same.
    """
    files = [str(file) for file in shards.files(split)]
    if decoded is None:
        sources = tf.data.Dataset.from_tensor_slices(files)
        read: Any = _read_records
        parse: Any = _decode_batch  # batches, in parallel
    else:
        ends = np.cumsum(shards.lengths[split])
        sources = tf.data.Dataset.from_tensor_slices((ends - shards.lengths[split], ends))
        read, parse = tf.data.Dataset.range, _take_from(decoded)
    if seed is not None:
        sources = sources.shuffle(len(files), seed=seed, reshuffle_each_iteration=True)
    if decoded is None:
        sources = _on_disk(sources, shards)
    if seed is not None:
        records = sources.interleave(
            read, _PARALLEL_FILES, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        records = records.shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
    else:
        records = _read_records(sources) if decoded is None else tf.data.Dataset.range(len(decoded))
    if repeat:
        records = records.repeat()
    return _batches(records, batch_size, parse, drop_remainder=seed is not None)


def make_masked_dataset(shards: Shards, split: str, batch_size: int) -> tf.data.Dataset:
    """As `make_dataset` without a seed, with masks as PNG files, string [B]; empty for none."""
    files = tf.data.Dataset.from_tensor_slices([str(file) for file in shards.files(split)])
    parse = partial(_decode_batch, masks=True)
    return _batches(_read_records(_on_disk(files, shards)), batch_size, parse)


def decode_mask(encoded: bytes) -> npt.NDArray[np.uint8] | None:
    """The mask of an image, uint8 [224, 224], 0 untouched to 255; None if it has none."""
    if not encoded:
        return None
    mask = tf.io.decode_png(encoded, channels=1)[..., 0]
    decoded: npt.NDArray[np.uint8] = tf.ensure_shape(mask, [CROP_SIZE, CROP_SIZE]).numpy()
    return decoded


def _batches(
    records: tf.data.Dataset, size: int, parse: Callable[..., Any], *, drop_remainder: bool = False
) -> tf.data.Dataset:
    batches = records.batch(size, drop_remainder=drop_remainder)
    batches = batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def _read_records(names: Any) -> tf.data.Dataset:
    """The serialized Examples of a shard file, or of each file of a dataset of names."""
    return tf.data.TFRecordDataset(names, buffer_size=_READ_AHEAD)


def _take_from(decoded: npt.NDArray[np.void]) -> Callable[[Any], tuple[Any, Any]]:
    """A function that takes crops by number, int64 [B], from an array of decoded crops."""
    images, labels = decoded["image"], decoded["label"].astype(np.float32)

    def take(numbers: Any) -> tuple[Any, Any]:
        # A NumPy function, because a tensor would copy the array into memory.
        taken = tf.numpy_function(images.__getitem__, [numbers], tf.uint8, stateful=False)
        taken = tf.ensure_shape(taken, [*numbers.shape, CROP_SIZE, CROP_SIZE, 3])
        return taken, tf.gather(labels, numbers)

    return take


def in_same_order(build: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
    """The dataset that `build` returns, in the order of its first pass at every pass.

    A shuffled dataset comes in another order each time it is iterated. Under a distribution
    strategy, Keras takes a batch to build the model before it trains, which is one pass.
    """
    return tf.data.Dataset.range(1).flat_map(lambda _: build()).prefetch(tf.data.AUTOTUNE)


def _on_disk(names: tf.data.Dataset, shards: Shards) -> tf.data.Dataset:
    """Fetch the files of a bucket, some ahead of the one that is read; local files are there."""
    if (cache := shards.cache) is None:
        return names

    def fetch(name: bytes) -> bytes:
        return os.fsencode(cache.fetch(os.path.basename(os.fsdecode(name))))

    def fetched(name: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(fetch, [name], tf.string, stateful=False), [])

    return names.map(fetched, _FETCHED_AT_ONCE, deterministic=True).prefetch(_FETCHED_AT_ONCE)


def _decode_batch(records: Any, *, masks: bool = False) -> tuple[Any, ...]:
    """Decode serialized Examples, string [B], to images and labels, and perhaps encoded masks."""
    names = _FEATURES if masks else ("image", "label")
    batch = tf.io.parse_example(records, {name: _FEATURES[name] for name in names})
    if records.shape[0] is None:
        images = tf.map_fn(_decode_image, batch["image"], fn_output_signature=tf.uint8)
    else:
        # With a fixed batch size, unrolling saves the overhead of map_fn: 3 to 7 % of the time
        # of a JPEG.
        images = tf.stack([_decode_image(image) for image in tf.unstack(batch["image"])])
    decoded = (images, tf.cast(batch["label"], tf.float32))
    return (*decoded, batch["mask"]) if masks else decoded


def _decode_image(encoded: Any) -> Any:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [CROP_SIZE, CROP_SIZE, 3])


def decode_split(
    shards: Shards, split: str, where: str, folder: Path
) -> npt.NDArray[np.void] | None:
    """Decode the crops of a split, in the order of its records, to NONE, MEMORY or DISK.

    On disk, the file has no name in the folder, so it is gone when the process ends, however it
    ends.

    Returns:
        An array with the fields image, uint8 [N, 224, 224, 3], and label, uint8 [N]; None for NONE.

    Raises:
        TrainingError: the shards cannot be read, or there is too little memory or disk space.
    """
    if where == NONE:
        return None
    count = shards.count(split)
    crops = _allocate(count, folder if where == DISK else None)
    start = 0
    with (
        Progress(count, "images", f"decode {split}") as bar,
        report_read_errors(shards),
    ):
        for images, labels in make_dataset(shards, split, 64):
            batch = slice(start, start := start + len(labels))
            crops["image"][batch], crops["label"][batch] = images, labels
            bar.update(len(labels))
    return crops


def _allocate(count: int, folder: Path | None) -> npt.NDArray[np.void]:
    """Room for crops, in memory or in a file of the folder."""
    needed = count * _CROP.itemsize
    if folder is None:
        free = _available_memory()
        if free is not None and needed > free:
            raise TrainingError(
                f"expected {needed / 1e9:.1f} GB of free memory for --cache memory, found "
                f"{free / 1e9:.1f} GB; use --cache disk"
            )
        return np.empty(count, _CROP)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserve the space: writing to a mapped file on a full disk kills the process.
            os.posix_fallocate(file.fileno(), 0, needed)
            mapped: Any = np.memmap(file, _CROP, "r+", shape=count)
    except OSError as error:
        raise TrainingError(
            f"expected {needed / 1e9:.1f} GB of free space in {folder} for --cache disk, found: "
            f"{error.strerror}; free disk space, or leave out --cache"
        ) from error
    return mapped  # type: ignore[no-any-return]


def _available_memory() -> int | None:
    """Bytes that can be allocated without swapping; None where the system does not say.

    In a container (cgroup v2), at most what is left of its limit.
    """

    try:
        meminfo = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+)", meminfo, re.MULTILINE)
    if not found:
        return None
    free = int(found[1]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = (group / "memory.stat").read_text()
    except (OSError, ValueError):  # no container, or "max": no limit
        return free
    # Cached files are part of what is used, and are given up when memory is needed.
    cached = re.search(r"^inactive_file\s+(\d+)", stat, re.MULTILINE)
    return min(free, max(0, limit - used + int(cached[1] if cached else 0)))
