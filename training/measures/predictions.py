"""The predictions of a model for a split, and how they are made in one pass over it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import expit

from dfdc_prep.progress import Progress
from dfdc_prep.run_files import IMAGE_COLUMNS
from manifests.errors import TrainingError
from manifests.labels import LABELS
from training.data.shards import Shards

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Images = npt.NDArray[np.uint8]
Transform = Callable[[Images], Images]
#: Changes of images before the model, given the rows of the split; None leaves them as they are.
Transforms = Callable[[pa.Table], Sequence[Transform | None]]


@dataclass(frozen=True)
class Source:
    """A split that is evaluated."""

    shards: Shards
    split: str
    batch_size: int  # images read at once

    def __str__(self) -> str:
        return f"the {self.split} split of {self.shards}"

    @cached_property
    def rows(self) -> pa.Table:
        """The rows of the manifest, in the order of the records."""
        return self.shards.rows(self.split)


class Batch(NamedTuple):
    """Images of a source and their labels."""

    start: int  # position of the first image in the split
    images: Images  # [B, H, W, 3]
    labels: Ints  # [B]
    masks: Sequence[Images | None] | None  # [H, W] or none for each image; None if not read


def read_batches(source: Source, *, masks: bool = False) -> Iterator[Batch]:
    """Read a split once, in the order of its manifest, with a progress bar."""
    # Imported late: what compares scores needs no TensorFlow.
    from training.data import input_pipeline

    shards, split, size = source.shards, source.split, source.batch_size
    make = input_pipeline.make_masked_dataset if masks else input_pipeline.make_dataset
    start = 0
    with (
        Progress(shards.count(split), "images", split) as bar,
        input_pipeline.report_read_errors(shards),
    ):
        for images, labels, *encoded in make(shards, split, size).as_numpy_iterator():
            decoded = list(map(input_pipeline.decode_mask, encoded[0])) if masks else None
            yield Batch(start, images, labels.astype(np.int64), decoded)
            bar.update(len(labels))
            start += len(labels)


class Level(NamedTuple):
    """Labels, logits and families of images or of clips, [N].

    A clip that the model gave no score may be taken for a guess: its logit is 0, it is called right
    by half, and every comparison with another clip counts half.
    """

    labels: Ints
    logits: Floats
    families: Any
    guessed: Bools | None = None  # None if none is

    def right(self, threshold: float = 0.5) -> Floats:
        """Whether each is called right, FAKE from a P(FAKE) on: 1 or 0; a guess 0.5."""
        right = ((expit(self.logits) >= threshold) == self.labels).astype(np.float64)
        return right if self.guessed is None else np.where(self.guessed, 0.5, right)

    def ranked(self) -> "Level":
        """The same, ordered by their logits: all twice, a guess once above and once below all."""
        if self.guessed is None:
            return self
        beyond = np.abs(self.logits).max() + 1
        logits = [np.where(self.guessed, end, self.logits) for end in (-beyond, beyond)]
        return Level(np.tile(self.labels, 2), np.concatenate(logits), np.tile(self.families, 2))

    def where(self, mask: Bools) -> "Level":
        """Those of a mask, [N]."""
        guessed = None if self.guessed is None else self.guessed[mask]
        families = np.asarray(self.families)[mask]
        return Level(self.labels[mask], self.logits[mask], families, guessed)


@dataclass(frozen=True)
class Predictions:
    """The predictions for one split, in the order of the shards' manifest."""

    rows: pa.Table  # of the manifest
    labels: Ints  # [N], 0 for REAL and 1 for FAKE
    logits: Floats  # [N], not calibrated

    @cached_property
    def clips(self) -> list[str]:
        """The clip of each image; see `clips_of`."""
        return clips_of(self.rows)

    def levels(self) -> dict[str, Level]:
        """The images, and the clips: their logit is the mean over the images."""
        families = np.asarray(self.rows["family"].to_pylist())
        _, first = np.unique(self.clips, return_index=True)
        means = group_means(self.logits, self.clips)
        return {
            "image": Level(self.labels, self.logits, families),
            "clip": Level(self.labels[first], means, families[first]),
        }

    def where(self, mask: npt.NDArray[np.bool_]) -> "Predictions":
        """The predictions of the images of a mask, [N]."""
        return Predictions(self.rows.filter(pa.array(mask)), self.labels[mask], self.logits[mask])

    def table(self, temperature: float) -> pa.Table:
        """The table in predictions.parquet: columns that identify the images, labels, P(FAKE)."""
        values = {
            "target": self.labels,
            "logit": self.logits,
            "score": expit(self.logits),
            "calibrated": expit(self.logits / temperature),
        }
        return pa.table({name: self.rows[name] for name in IMAGE_COLUMNS} | values)


def clips_of(rows: pa.Table) -> list[str]:
    """The clip of each row as part/name/label.

    Names repeat across parts, and faces of one clip may have both labels.
    """
    columns = (rows[name].to_pylist() for name in ("part", "video", "label"))
    return ["/".join(names) for names in zip(*columns, strict=True)]


def group_means(values: npt.ArrayLike, groups: Any) -> Floats:
    """The mean value of each unique group, in the order of their names."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    means: Floats = np.bincount(index, np.asarray(values, np.float64)) / np.bincount(index)
    return means


def check_finite(logits: Floats, images: str) -> None:
    """Raise TrainingError, about these images, if a logit is NaN or infinite."""
    if bad := int((~np.isfinite(logits)).sum()):
        raise TrainingError(
            f"expected a finite score for {images}, found {bad:,} of {len(logits):,} that are not "
            "(NaN or infinite); the model is broken, so train it again or use another"
        )


def predict_each(
    model: Any,
    source: Source,
    transforms: Transforms = lambda rows: [None],
    watch: Callable[[Batch, Floats], None] | None = None,
    *,
    masks: bool = False,
) -> list[Predictions]:
    """Compute the logits of every image of a split under each of some changes.

    Args:
        model: what has `predict_on_batch`, from images to logits, [B, 1]: a model from
            `training.models.classifier.logit_model`, or a `ModelFile`.
        watch: called with each batch and its logits under the first change.
        masks: read the masks too, for `watch`.

    Raises:
        TrainingError: the split is empty, the labels in shards and manifest differ, or a logit is
            not finite.
    """
    changes = transforms(source.rows)
    scored: list[list[Floats]] = [[] for _ in changes]
    read: list[Ints] = []
    for batch in read_batches(source, masks=masks):
        for parts, change in zip(scored, changes, strict=True):
            images = change(batch.images) if change else batch.images
            parts.append(np.asarray(model.predict_on_batch(images), np.float64)[:, 0])
        read.append(batch.labels)
        if watch:
            watch(batch, scored[0][-1])
    if not read:
        raise TrainingError(
            f"expected images in {source}, found none; shard more crops or use another --split"
        )
    labels = np.concatenate(read)
    if labels.tolist() != [LABELS.index(label) for label in source.rows["label"].to_pylist()]:
        raise TrainingError(
            f"expected the {source.split} records of {source.shards} in the order of its "
            "manifest.parquet, found other labels; run dfdc-prep shard --overwrite"
        )
    logits = [np.concatenate(parts) for parts in scored]
    for under_change in logits:
        check_finite(under_change, f"every image of {source}")
    return [Predictions(source.rows, labels, under_change) for under_change in logits]
