"""File names of TFRecord shards, in the format of TensorFlow Datasets."""

import re

#: Name of the data set in file names; without hyphens, because TFDS splits at hyphens.
DATASET = "dfdc_faces"

_SHARD_FILE = re.compile(r".+-.+\.tfrecord-\d{5}-of-\d{5}")


def shard_file(split: str, index: int, count: int, dataset: str = DATASET) -> str:
    """File name of one shard; `index` counts from 0."""
    return f"{dataset}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def is_shard_file(name: str) -> bool:
    """Whether a file name is that of a shard of any data set."""
    return bool(_SHARD_FILE.fullmatch(name))
