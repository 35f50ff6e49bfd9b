"""Reads shards as a `tf.data.Dataset` of batches, for any Keras backend.

For training, shard files are shuffled and interleaved, then encoded records are shuffled.
Records are batched before they are parsed and decoded in parallel. Images stay uint8; the
model casts them on its device. Memory use does not depend on the size of the shards.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from manifests.columns import CROP_SIZE
from manifests.errors import TrainingError
from manifests.files import parse_json
from manifests.folders import ShardsFolder
from training.data.shard_cache import cache_of

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


@dataclass(frozen=True)
class ShardsInfo:
    """The shard files of a folder, as its dataset_info.json lists them.

    Attributes:
        files: shard files of each split, in order.
        lengths: number of records of each shard file, in the same order.
    """

    path: Path
    files: dict[str, tuple[Path, ...]]
    lengths: dict[str, tuple[int, ...]]

    def split(self, name: str) -> tuple[Path, ...]:
        """The shard files of a split.

        Raises:
            TrainingError: the split does not exist or has no shard files.
        """
        if not self.files.get(name):
            found = ", ".join(split for split, files in self.files.items() if files)
            raise TrainingError(
                f"expected a split {name!r} in {self.path}, found {found or 'none'}; "
                "write the shards with dfdc-prep shard"
            )
        return self.files[name]


def read_shards_info(path: Path) -> ShardsInfo:
    """Read dataset_info.json of a shards folder and check that its shard files exist.

    Raises:
        TrainingError: dataset_info.json is missing or invalid, or a shard file is missing.
    """
    info = path / ShardsFolder.INFO
    try:
        found = parse_json(info.read_bytes())
        name = found["name"]
        lengths = {
            split["name"]: tuple(int(length) for length in split["shardLengths"])
            for split in found["splits"]
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise TrainingError(
            f"expected shards of dfdc-prep shard in {path}, found no valid {info.name} "
            f"({type(error).__name__}); run dfdc-prep shard"
        ) from error
    files = {
        split: tuple(
            path / ShardsFolder.shard(split, index, len(counts), dataset=name)
            for index in range(len(counts))
        )
        for split, counts in lengths.items()
    }
    cache = cache_of(path)
    for file in (file for each in files.values() for file in each):
        if not (file.name in cache if cache else file.is_file()):
            raise TrainingError(
                f"expected the shard {file.name} in {path}, found none; "
                "run dfdc-prep shard --overwrite"
            )
    return ShardsInfo(path, files, lengths)


@contextmanager
def report_read_errors(shards: Path) -> Iterator[None]:
    """Turn TensorFlow's errors while reading batches into a `TrainingError`.

    Raises:
        TrainingError: a record is damaged or is not an Example with a label and an image of
            224x224 pixels, or memory runs out.
    """
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
    ) as error:
        raise TrainingError(
            f"expected intact records in {shards}, found {str(error.message)[:200]}; check them "
            f"with dfdc-prep verify {shards}, then write the shards again"
        ) from error
    except tf.errors.OpError as error:
        cache = cache_of(shards)
        if cache and cache.error:
            raise cache.error from error
        raise TrainingError(
            f"expected TensorFlow to process a batch, found {type(error).__name__} "
            f"({str(error.message)[:200]}); give the process more memory or use a smaller "
            "--batch-size"
        ) from error


def count_records(shards: Path, split: str) -> int:
    """Number of records in a split."""
    info = read_shards_info(shards)
    info.split(split)
    return sum(info.lengths[split])


def make_dataset(
    shards: Path,
    split: str,
    batch_size: int,
    *,
    training: bool = False,
    seed: int = 42,
    repeat: bool = False,
    decoded: npt.NDArray[np.void] | None = None,
) -> tf.data.Dataset:
    """Build the dataset of a split: RGB images uint8 [B, 224, 224, 3], labels float32 [B].

    Labels are 0 for REAL and 1 for FAKE. The same seed gives the same order.

    Args:
        training: shuffle, in a different order each epoch, and drop the last incomplete
            batch. Otherwise every record comes once, in the order of the manifest.
        repeat: repeat indefinitely.
        decoded: the crops of the split from `decoded_cache.decode_split`, read in place of the
            shards; the order is the same.

    Raises:
        TrainingError: the folder or the split cannot be used.
    """
    info = read_shards_info(shards)
    files, lengths = info.split(split), info.lengths[split]
    if decoded is None:
        sources = tf.data.Dataset.from_tensor_slices([str(file) for file in files])
        read: Any = _read_records
        parse: Any = _decode_batch
    else:
        ends = np.cumsum(lengths)
        sources = tf.data.Dataset.from_tensor_slices((ends - lengths, ends))
        read, parse = tf.data.Dataset.range, _take_from(decoded)
    if training:
        sources = sources.shuffle(len(files), seed=seed, reshuffle_each_iteration=True)
    if decoded is None:
        sources = _on_disk(sources, shards)
    if training:
        records = sources.interleave(
            read,
            cycle_length=_PARALLEL_FILES,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        records = records.shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
    else:
        records = _read_records(sources) if decoded is None else tf.data.Dataset.range(len(decoded))
    if repeat:
        records = records.repeat()
    batches = records.batch(batch_size, drop_remainder=training)
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


def _on_disk(names: tf.data.Dataset, shards: Path) -> tf.data.Dataset:
    """Fetch the files of a bucket, some ahead of the one that is read; local files are there."""
    cache = cache_of(shards)
    if cache is None:
        return names

    def fetch(name: bytes) -> bytes:
        return os.fsencode(cache.fetch(os.path.basename(os.fsdecode(name))))

    def fetched(name: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(fetch, [name], tf.string, stateful=False), [])

    return names.map(fetched, _FETCHED_AT_ONCE, deterministic=True).prefetch(_FETCHED_AT_ONCE)


_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def make_masked_dataset(shards: Path, split: str, batch_size: int) -> tf.data.Dataset:
    """Batches of the crops of a split that have a mask: images and masks.

    Yields:
        Images, uint8 [B, 224, 224, 3], RGB; masks, uint8 [B, 224, 224], 0 untouched to 255.

    Raises:
        TrainingError: the folder or the split cannot be used.
    """
    files = [str(file) for file in read_shards_info(shards).split(split)]
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "mask": tf.io.FixedLenFeature([], tf.string, default_value=""),
    }
    names = _on_disk(tf.data.Dataset.from_tensor_slices(files), shards)
    records = tf.data.TFRecordDataset(names, buffer_size=_READ_AHEAD)
    examples = records.map(lambda record: tf.io.parse_single_example(record, features))
    masked = examples.filter(lambda example: tf.strings.length(example["mask"]) > 0)

    def decode(example: Any) -> tuple[Any, Any]:
        mask = tf.io.decode_png(example["mask"], channels=1)[..., 0]
        return _decode_image(example["image"]), tf.ensure_shape(mask, [CROP_SIZE, CROP_SIZE])

    return masked.map(decode).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def read_masks(shards: Path, split: str, positions: Iterable[int]) -> dict[int, Any]:
    """Return the masks of some crops of a split by their position in it.

    Returns:
        uint8 [224, 224], 0 untouched to 255; crops without a mask are left out.

    Raises:
        TrainingError: the shards cannot be read.
    """
    wanted = set(positions)
    files = [str(file) for file in read_shards_info(shards).split(split)]
    features = {"mask": tf.io.FixedLenFeature([], tf.string, default_value="")}
    found: dict[int, Any] = {}
    names = _on_disk(tf.data.Dataset.from_tensor_slices(files), shards)
    with report_read_errors(shards):
        for position, record in enumerate(tf.data.TFRecordDataset(names)):
            if position in wanted:
                encoded = tf.io.parse_single_example(record, features)["mask"].numpy()
                if encoded:
                    found[position] = tf.io.decode_png(encoded, channels=1).numpy()[..., 0]
    return found


def _decode_batch(records: Any) -> tuple[Any, Any]:
    """Decode serialized Examples, string [B], to images and labels."""
    batch = tf.io.parse_example(records, _FEATURES)
    if records.shape[0] is None:
        images = tf.map_fn(_decode_image, batch["image"], fn_output_signature=tf.uint8)
    else:
        # With a fixed batch size, unrolling saves the overhead of map_fn: 3 to 7 % of the time
        # of a JPEG.
        images = tf.stack([_decode_image(image) for image in tf.unstack(batch["image"])])
    return images, tf.cast(batch["label"], tf.float32)


def _decode_image(encoded: Any) -> Any:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [CROP_SIZE, CROP_SIZE, 3])
