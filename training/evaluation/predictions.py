"""The predictions of a model for one split, and how they are made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit
from tqdm import tqdm

from manifests.errors import TrainingError
from manifests.folders import ShardsFolder
from manifests.labels import LABELS
from manifests.schema import SHARD_MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest
from training.data import input_pipeline

Images = npt.NDArray[np.uint8]
Transform = Callable[[Images], Images]


@dataclass(frozen=True)
class Predictions:
    """The predictions for one split, in the order of the shards' manifest.

    Attributes:
        rows: the split's rows of the manifest.
        labels: int64 [N], 0 for REAL and 1 for FAKE.
        logits: float64 [N], not calibrated.
    """

    rows: pa.Table
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]

    @property
    def clips(self) -> list[str]:
        """The clip of each image as part/name/label.

        Names repeat across parts, and faces of one clip may have both labels.
        """
        columns = (self.rows[name].to_pylist() for name in ("part", "video", "label"))
        return ["/".join(names) for names in zip(*columns, strict=True)]

    @property
    def families(self) -> list[str]:
        """The family of each image."""
        return list(self.rows["family"].to_pylist())

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask."""
        return bool(self.rows["mask"].null_count < self.rows.num_rows)

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
        names = ["video", "part", "label", "family", "frame", "face", "path"]
        columns = {name: self.rows[name] for name in names}
        columns["target"] = pa.array(self.labels)
        columns["logit"] = pa.array(self.logits)
        columns["score"] = pa.array(expit(self.logits))
        columns["calibrated"] = pa.array(expit(self.logits / temperature))
        return pa.table(columns)


def split_rows(shards: Path, split: str) -> pa.Table:
    """The manifest rows of a split, in the order of its records."""
    table = read_manifest(shards / ShardsFolder.MANIFEST, "dfdc-prep shard", SHARD_MANIFEST_SCHEMA)
    return table.filter(pc.equal(table["split"], split))


def iterate_batches(shards: Path, split: str, batch_size: int) -> Iterator[tuple[Images, Any]]:
    """Yield images and labels of a split as NumPy arrays, with a progress bar."""
    total = input_pipeline.count_records(shards, split)
    with (
        tqdm(total=total, desc=split, unit="img", disable=None) as bar,
        input_pipeline.report_read_errors(shards),
    ):
        for images, labels in input_pipeline.make_dataset(shards, split, batch_size):
            yield np.asarray(images), np.asarray(labels)
            bar.update(len(labels))


def predict(
    model: Any,
    shards: Path,
    split: str,
    batch_size: int,
    transform_for: Callable[[pa.Table], Transform | None] = lambda rows: None,
) -> Predictions:
    """Compute the logit of every image of a split.

    Args:
        model: what has `predict_on_batch`, from images to logits, [B, 1]: a model from
            `training.models.classifier.logit_model`, or a `ModelFile`.
        transform_for: given the rows of the split, the change of each batch of RGB images, uint8
            [B, H, W, 3], before the model; None for none.

    Raises:
        TrainingError: the split is empty, the labels in shards and manifest differ, or a logit is
            not finite.
    """
    rows = split_rows(shards, split)
    transform = transform_for(rows)
    logits, labels = [], []
    for images, batch_labels in iterate_batches(shards, split, batch_size):
        inputs = transform(images) if transform else images
        logits.append(np.asarray(model.predict_on_batch(inputs), np.float64)[:, 0])
        labels.append(batch_labels.astype(np.int64))
    expected = [LABELS.index(label) for label in rows["label"].to_pylist()]
    if not logits:
        raise TrainingError(
            f"expected images in the {split} split of {shards}, found none; shard more crops "
            "or use another --split"
        )
    found = np.concatenate(labels)
    if found.tolist() != expected:
        raise TrainingError(
            f"expected the {split} records of {shards} in the order of its manifest.parquet, "
            "found other labels; run dfdc-prep shard --overwrite"
        )
    _check_finite(np.concatenate(logits), f"of the {split} split of {shards}")
    return Predictions(rows, found, np.concatenate(logits))


def _check_finite(logits: npt.NDArray[np.float64], where: str) -> None:
    """Raise TrainingError if a score is not a number."""
    if bad := int((~np.isfinite(logits)).sum()):
        raise TrainingError(
            f"expected a finite score for every image {where}, found {bad:,} of {len(logits):,} "
            "that are not (NaN or infinite); the model is broken, so train it again or use another"
        )
