"""Shards in, a `tf.data.Dataset` of batches out, for any Keras backend.

Shard files are shuffled and read several at a time, encoded records are shuffled,
batched, parsed by the batch and decoded in parallel; images stay uint8, the model casts
them on its device. Memory does not grow with the shards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from manifests.io.json_files import parse_json
from training.errors import TrainingError

SIDE = 224
#: Shard files read at a time, bytes read ahead of each, and encoded records the shuffle
#: holds (PNG: about 90 MB).
_OPEN, _AHEAD, _HELD = 4, 1 << 20, 1024


@dataclass(frozen=True)
class ShardsInfo:
    """A shards folder as its dataset_info.json tells it.

    Attributes:
        files: the shard files of every split, in order.
        lengths: the records of every shard file, in the same order.
    """

    path: Path
    files: dict[str, tuple[Path, ...]]
    lengths: dict[str, tuple[int, ...]]

    def split(self, name: str) -> tuple[Path, ...]:
        """The shard files of a split.

        Raises:
            TrainingError: there is no such split, or no shard of it.
        """
        if not self.files.get(name):
            found = ", ".join(split for split, files in self.files.items() if files)
            raise TrainingError(
                f"expected a split {name!r} in {self.path}, found {found or 'none'}; "
                "write the shards with dfdc-prep shard"
            )
        return self.files[name]


def open_shards(path: Path) -> ShardsInfo:
    """Read which shards a folder holds.

    Raises:
        TrainingError: there is no such folder, its dataset_info.json cannot be used, or a
            shard it names is missing.
    """
    info = path / "dataset_info.json"
    try:
        found = parse_json(info.read_bytes())
        name = found["name"]
        lengths = {
            split["name"]: tuple(int(length) for length in split["shardLengths"])
            for split in found["splits"]
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise TrainingError(
            f"expected the shards dfdc-prep shard writes in {path}, found no {info.name} that "
            f"tells of them ({type(error).__name__}); run dfdc-prep shard"
        ) from error
    files = {
        split: tuple(
            path / f"{name}-{split}.tfrecord-{index:05d}-of-{len(counts):05d}"
            for index in range(len(counts))
        )
        for split, counts in lengths.items()
    }
    for file in (file for each in files.values() for file in each):
        if not file.is_file():
            raise TrainingError(
                f"expected the shard {file.name} in {path}, found none; "
                "run dfdc-prep shard --overwrite"
            )
    return ShardsInfo(path, files, lengths)


@contextmanager
def readable(shards: Path) -> Iterator[None]:
    """Where batches are drawn: what TensorFlow says of them and of memory becomes a sentence.

    Raises:
        TrainingError: a record is damaged, or no Example with an image of 224x224 and a label;
            or memory does not last.
    """
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
    ) as error:
        raise TrainingError(
            f"expected whole records in {shards}, found {str(error.message)[:200]}; see what is "
            f"wrong with dfdc-prep verify {shards}, then write them anew"
        ) from error
    except tf.errors.OpError as error:
        raise TrainingError(
            f"expected TensorFlow to get through a batch, found {type(error).__name__} "
            f"({str(error.message)[:200]}); give the process more memory, or a smaller --batch-size"
        ) from error


def count(shards: Path, split: str) -> int:
    """How many records a split has."""
    info = open_shards(shards)
    info.split(split)
    return sum(info.lengths[split])


def dataset(
    shards: Path,
    split: str,
    batch: int,
    *,
    training: bool = False,
    seed: int = 42,
    deterministic: bool = True,
    cache: bool = False,
    context: tf.distribute.InputContext | None = None,
    repeat: bool = False,
) -> tf.data.Dataset:
    """The batches of a split: image uint8 [B, 224, 224, 3] RGB, label float32 [B] (1 FAKE).

    Args:
        batch: images a step; with `context`, over all replicas together.
        training: shuffle by `seed`, another order every epoch, and drop the remainder.
            Otherwise the order is the manifest's and no record is dropped.
        deterministic: the same seed gives the same order, epoch by epoch; False lets
            whatever is ready first go first.
        cache: keep the encoded records in memory after the first epoch.
        context: what `Strategy.distribute_datasets_from_function` hands in: this worker
            reads its share of the shard files, or of the records where files are fewer.
        repeat: never end.

    Raises:
        TrainingError: the folder or the split cannot be used.
    """
    files = [str(file) for file in open_shards(shards).split(split)]
    records = _records(files, training, seed, deterministic, context)
    if cache:
        records = records.cache()
    if training:
        records = records.shuffle(_HELD, seed=seed, reshuffle_each_iteration=True)
    if repeat:
        records = records.repeat()
    size = context.get_per_replica_batch_size(batch) if context else batch
    batches = records.batch(size, drop_remainder=training)
    batches = batches.map(_decoded, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = deterministic or not training
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def _records(
    files: list[str],
    training: bool,
    seed: int,
    deterministic: bool,
    context: tf.distribute.InputContext | None,
) -> tf.data.Dataset:
    """The encoded records of the files, of this worker's share where there are several."""
    workers, worker = (
        (context.num_input_pipelines, context.input_pipeline_id) if context else (1, 0)
    )
    by_file = len(files) >= workers
    names = tf.data.Dataset.from_tensor_slices(files)
    if by_file:
        names = names.shard(workers, worker)
    if training:
        names = names.shuffle(len(files), seed=seed, reshuffle_each_iteration=True)
        records = names.interleave(
            lambda name: tf.data.TFRecordDataset(name, buffer_size=_AHEAD),
            cycle_length=_OPEN,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=deterministic,
        )
    else:
        records = tf.data.TFRecordDataset(names, buffer_size=_AHEAD)
    return records if by_file else records.shard(workers, worker)


_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def _decoded(records: Any) -> tuple[Any, Any]:
    """A batch of Examples, string [B], as images and labels."""
    batch = tf.io.parse_example(records, _FEATURES)
    if records.shape[0] is None:
        images = tf.map_fn(_image, batch["image"], fn_output_signature=tf.uint8)
    else:
        # Where the size is fixed a loop can be spared, 3 to 7 % of the time of a JPEG.
        images = tf.stack([_image(image) for image in tf.unstack(batch["image"])])
    return images, tf.cast(batch["label"], tf.float32)


def _image(encoded: Any) -> Any:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [SIDE, SIDE, 3])
