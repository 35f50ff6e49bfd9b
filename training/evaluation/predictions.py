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
from training.data import input_pipeline
from training.data.shards import Shards

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]
Transform = Callable[[Images], Images]
#: Changes of images before the model, given the rows of the split; None leaves them as they are.
Transforms = Callable[[pa.Table], Sequence[Transform | None]]


@dataclass(frozen=True)
class Source:
    """A split that is evaluated, and how many images are read at once."""

    shards: Shards
    split: str
    batch_size: int

    def __str__(self) -> str:
        return f"the {self.split} split of {self.shards}"

    @cached_property
    def rows(self) -> pa.Table:
        """The rows of the manifest, in the order of the records."""
        return self.shards.rows(self.split)


class Batch(NamedTuple):
    """Images of a source, uint8 [B, H, W, 3], and their labels.

    Attributes:
        start: position of the first image in the split.
        masks: of the images, uint8 [H, W], None where there is none; None if they are not read.
    """

    start: int
    images: Images
    labels: Ints
    masks: Sequence[Images | None] | None


def read_batches(source: Source, *, masks: bool = False) -> Iterator[Batch]:
    """Read a split once, in the order of its manifest, with a progress bar."""
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
    """Labels int64 [N], logits float64 [N] and families [N] of images or of clips."""

    labels: Ints
    logits: Floats
    families: Any


@dataclass(frozen=True)
class Predictions:
    """The predictions for one split, in the order of the shards' manifest.

    Attributes:
        rows: the split's rows of the manifest.
        labels: int64 [N], 0 for REAL and 1 for FAKE.
        logits: float64 [N], not calibrated.
    """

    rows: pa.Table
    labels: Ints
    logits: Floats

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
        """The predictions of some images.

        Args:
            mask: which, [N].
        """
        return Predictions(self.rows.filter(pa.array(mask)), self.labels[mask], self.logits[mask])

    def table(self, temperature: float) -> pa.Table:
        """The table written to predictions.parquet, one row per image.

        Manifest columns that identify the image, then `target` (the label), `logit`, `score`
        (P(FAKE)) and `calibrated` (P(FAKE) after division of the logit by the temperature).
        """
        columns = {name: self.rows[name] for name in IMAGE_COLUMNS}
        columns["target"] = pa.array(self.labels)
        columns["logit"] = pa.array(self.logits)
        columns["score"] = pa.array(expit(self.logits))
        columns["calibrated"] = pa.array(expit(self.logits / temperature))
        return pa.table(columns)


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
    logits: list[list[Floats]] = [[] for _ in changes]
    labels: list[Ints] = []
    for batch in read_batches(source, masks=masks):
        for found, change in zip(logits, changes, strict=True):
            images = change(batch.images) if change else batch.images
            found.append(np.asarray(model.predict_on_batch(images), np.float64)[:, 0])
        labels.append(batch.labels)
        if watch:
            watch(batch, logits[0][-1])
    if not labels:
        raise TrainingError(
            f"expected images in {source}, found none; shard more crops or use another --split"
        )
    found_labels = np.concatenate(labels)
    if found_labels.tolist() != [LABELS.index(label) for label in source.rows["label"].to_pylist()]:
        raise TrainingError(
            f"expected the {source.split} records of {source.shards} in the order of its "
            "manifest.parquet, found other labels; run dfdc-prep shard --overwrite"
        )
    scored = [np.concatenate(each) for each in logits]
    for each in scored:
        if bad := int((~np.isfinite(each)).sum()):
            raise TrainingError(
                f"expected a finite score for every image of {source}, found {bad:,} of "
                f"{len(each):,} that are not (NaN or infinite); the model is broken, so train it "
                "again or use another"
            )
    return [Predictions(source.rows, found_labels, each) for each in scored]
