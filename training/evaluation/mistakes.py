"""The images that the pictures of an evaluation show: random samples and the worst mistakes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from manifests.files import atomic_folder
from manifests.folders import check_replaceable
from manifests.tables.parquet import write_table
from training.evaluation.heatmaps import draw_side_by_side
from training.evaluation.intervals import Floats, Ints
from training.evaluation.predictions import Batch, Images, Predictions, clips_of
from training.models.classifier import class_activation, feature_model

#: Name of the table in the folder.
TABLE = "mistakes.csv"
#: Largest number of mistakes.
MAX_MISTAKES = 12
#: Largest number of images in samples.png (Fig. 8 of the paper).
MAX_SAMPLES = 20
_OWN_FILE = re.compile(rf"\d+\.png|{re.escape(TABLE)}")


class KeptImages:
    """What the pictures of an evaluation show, kept while its images are scored.

    Args:
        rows: of the split.
        seed: of the random samples.
        mistakes: keep the worst mistakes too.

    Attributes:
        samples: positions in the split of up to `MAX_SAMPLES` random images, ascending.
        worst: positions of the worst mistakes, the worst first.
        images: the images at these positions, uint8 [H, W, 3].
        masks: the masks of those that have one, uint8 [H, W].
    """

    def __init__(self, rows: pa.Table, seed: int, *, mistakes: bool) -> None:
        rng = np.random.default_rng(seed)
        chosen = rng.choice(rows.num_rows, min(MAX_SAMPLES, rows.num_rows), replace=False)
        self.samples: list[int] = sorted(chosen.tolist())
        self.worst: list[int] = []
        self.images: dict[int, Images] = {}
        self.masks: dict[int, Images] = {}
        self._clips = clips_of(rows) if mistakes else None
        self._scored: dict[int, tuple[int, float]] = {}

    def add(self, batch: Batch, logits: Floats) -> None:
        """Keep what is needed of a batch, and drop what no longer is."""
        positions = range(batch.start, batch.start + len(logits))
        self.images |= zip(positions, batch.images, strict=True)
        if batch.masks:
            masks = zip(positions, batch.masks, strict=True)
            self.masks |= {at: mask for at, mask in masks if mask is not None}
        if self._clips:
            scores = zip(batch.labels.tolist(), logits.tolist(), strict=True)
            self._scored |= zip(positions, scores, strict=True)
            candidates = sorted(self._scored)
            labels, values = zip(*(self._scored[at] for at in candidates), strict=True)
            clips = [self._clips[at] for at in candidates]
            found = worst_mistakes(np.array(labels), np.array(values), clips)
            self.worst = [candidates[index] for index in found]
            self._scored = {at: self._scored[at] for at in self.worst}
        kept = {*self.samples, *self.worst}
        self.images = {at: image.copy() for at, image in self.images.items() if at in kept}
        self.masks = {at: mask for at, mask in self.masks.items() if at in kept}


def worst_mistakes(labels: Ints, logits: Floats, clips: Sequence[str]) -> list[int]:
    """Return the positions of the most confident mistakes, one of each clip, worst first."""
    wrong = (logits >= 0) != (labels == 1)
    order = np.argsort(-np.abs(logits), kind="stable")
    found: dict[str, int] = {}
    for at in order[wrong[order]].tolist():
        found.setdefault(clips[at], at)
    return list(found.values())[:MAX_MISTAKES]


def write_mistakes(folder: Path, model: Any, predictions: Predictions, kept: KeptImages) -> None:
    """Write the folder of mistakes; it replaces an earlier one.

    Each image is `01.png`, `02.png` ...: the crop and, to its right, its Grad-CAM for FAKE,
    then its mask if it has one. mistakes.csv has a row for each, with P(FAKE) before calibration
    as `score`.

    Args:
        model: the classifier, not its logits.

    Raises:
        OutputError: the folder holds other files, or cannot be written.
    """
    check_replaceable(folder, lambda name: bool(_OWN_FILE.fullmatch(name)), "mistakes")
    rows = predictions.table(1.0).take(pa.array(kept.worst, pa.int64()))
    names = [f"{number:02d}.png" for number in range(1, len(kept.worst) + 1)]
    table = rows.drop_columns(["target", "logit", "calibrated"])
    crops = [kept.images[at] for at in kept.worst]
    with atomic_folder(folder) as written:
        if crops:
            features = feature_model(model).predict(np.stack(crops), verbose=0)
            heatmaps = class_activation(model, features)
            for name, at, crop, heatmap in zip(names, kept.worst, crops, heatmaps, strict=True):
                mask = np.stack([kept.masks[at]] * 3, axis=2) if at in kept.masks else None
                Image.fromarray(draw_side_by_side(crop, heatmap, mask)).save(written / name)
        write_table(table.append_column("image", pa.array(names, pa.string())), written / TABLE)
