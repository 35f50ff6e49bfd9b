"""Heatmaps of a model (Grad-CAM): over its worst mistakes, and compared with masks of forged faces.

Pointing game: the share of images whose heatmap is largest on the mask (Zhang et al., 2016). Share
of energy: the part of the heatmap's sum that lies on the mask (Wang et al., 2020, Score-CAM). A
heatmap that is equal everywhere scores the masks' share of the area in both.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib import colormaps
from PIL import Image

from dfdc_prep.run_files import Localization
from manifests.files import atomic_folder
from manifests.folders import check_replaceable
from manifests.tables.parquet import write_table
from training.measures.predictions import Batch, Floats, Images, Ints, Predictions, clips_of
from training.models.classifier import class_activation, feature_model

#: Opacity of the heatmap at its maximum.
OPACITY = 0.6
#: Lower bound of the colour scale, in logits: without it, weak activations would be scaled
#: up to full colour.
MIN_SCALE = 4.0
#: A heatmap is flat if its values lie within this share of its scale: no difference can be seen.
MIN_CONTRAST = 0.1
#: A pixel lies on a mask from this level.
ON_MASK = 128


def draw_overlay(crop: Images, activation: npt.NDArray[np.float32]) -> Images:
    """Draw the Grad-CAM of a crop, RGB uint8 [H, W, 3], over it.

    Args:
        activation: non-negative [h, w], in logits: the logit the whole crop would have if
            every position looked like this one. Scaled by its maximum, at least `MIN_SCALE`.
    """
    height, width = crop.shape[:2]
    # Scale to 0..1 and resize to the crop; bicubic interpolation can overshoot, hence the clip.
    relative = activation / max(float(activation.max()), MIN_SCALE)
    resized = Image.fromarray(np.asarray(relative, np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    strength = np.clip(np.asarray(resized), 0, 1)[..., None]
    colours = colormaps["inferno"](strength[..., 0])[..., :3] * 255
    overlay = crop * (1 - OPACITY * strength) + colours * OPACITY * strength
    drawn: Images = np.round(overlay).astype(np.uint8)
    return drawn


def visible_scale(activation: npt.NDArray[np.float32]) -> float | None:
    """Return the logit of the last colour of a `draw_overlay`; None if its heatmap is flat."""
    scale = max(float(activation.max()), MIN_SCALE)
    return scale if float(np.ptp(activation)) >= MIN_CONTRAST * scale else None


def draw_side_by_side(
    crop: Images, activation: npt.NDArray[np.float32], mask: Images | None = None
) -> Images:
    """Draw a crop and, to its right, its `draw_overlay`, then its mask, all RGB uint8 [H, W, 3]."""
    images = [crop, draw_overlay(crop, activation)]
    return np.concatenate([*images, mask] if mask is not None else images, axis=1)


class MaskScores:
    """Compares the heatmaps of a classifier, for images with a mask, with it, as images come."""

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model, self._features, self._size = model, feature_model(model), batch_size
        self._waiting: list[tuple[Any, Any]] = []
        self._scores: list[tuple[float, float, float]] = []

    def add(self, images: Any, masks: Iterable[Any]) -> None:
        """Add images, uint8 [B, H, W, 3], and the mask of each, uint8 [H, W] or None."""
        pairs = zip(images, masks, strict=True)
        self._waiting += [(image, mask) for image, mask in pairs if mask is not None]
        while len(self._waiting) >= self._size:
            self._score(self._waiting[: self._size])
            del self._waiting[: self._size]

    def _score(self, pairs: list[tuple[Any, Any]]) -> None:
        features = self._features.predict_on_batch(np.stack([image for image, _ in pairs]))
        for heatmap, (_, mask) in zip(class_activation(self._model, features), pairs, strict=True):
            if (mask >= ON_MASK).any():
                hit, energy = score_heatmap(heatmap, mask)
                self._scores.append((hit, energy, float((mask >= ON_MASK).mean())))

    def localization(self) -> Localization:
        """The means over all images added."""
        if self._waiting:
            self._score(self._waiting)
            self._waiting = []
        if not self._scores:
            return Localization(0, None, None, None)
        hits, energy, area = map(float, np.mean(np.array(self._scores, np.float64), axis=0))
        return Localization(len(self._scores), hits, energy, area)


def score_heatmap(heatmap: npt.NDArray[np.float32], mask: Images) -> tuple[bool, float]:
    """Whether the heatmap's largest value lies on the mask, and the share of its sum there.

    The heatmap, non-negative [h, w], is scaled to the mask's size; zeros score False and 0.
    """
    height, width = mask.shape
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    total, on_mask = float(scaled.sum()), mask >= ON_MASK
    if total <= 0:
        return False, 0.0
    return bool(on_mask.flat[int(scaled.argmax())]), float(scaled[on_mask].sum()) / total


#: Name of the table in the folder.
TABLE = "mistakes.csv"
#: Largest number of mistakes.
MAX_MISTAKES = 12
#: Largest number of images in samples.png (Fig. 8 of the paper).
MAX_SAMPLES = 20
_OWN_FILE = re.compile(rf"\d+\.png|{re.escape(TABLE)}")


class KeptImages:
    """What the pictures of an evaluation show, kept while its images are scored.

    Attributes:
        samples, worst: positions in the split of random images, ascending, and of the worst
            mistakes, the worst first; none unless `mistakes` are wanted.
        images, masks: at these positions, uint8 [H, W, 3], and [H, W] for those that have one.
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
            self.masks |= {i: mask for i, mask in masks if mask is not None}
        if self._clips:
            scores = zip(batch.labels.tolist(), logits.tolist(), strict=True)
            self._scored |= zip(positions, scores, strict=True)
            candidates = sorted(self._scored)
            labels, values = zip(*(self._scored[i] for i in candidates), strict=True)
            clips = [self._clips[i] for i in candidates]
            worst = worst_mistakes(np.array(labels), np.array(values), clips)
            self.worst = [candidates[index] for index in worst]
            self._scored = {i: self._scored[i] for i in self.worst}
        kept = {*self.samples, *self.worst}
        self.images = {i: image.copy() for i, image in self.images.items() if i in kept}
        self.masks = {i: mask for i, mask in self.masks.items() if i in kept}


def worst_mistakes(labels: Ints, logits: Floats, clips: Sequence[str]) -> list[int]:
    """Return the positions of the most confident mistakes, one of each clip, worst first."""
    wrong = (logits >= 0) != (labels == 1)
    order = np.argsort(-np.abs(logits), kind="stable")
    by_clip: dict[str, int] = {}
    for position in order[wrong[order]].tolist():
        by_clip.setdefault(clips[position], position)
    return list(by_clip.values())[:MAX_MISTAKES]


def write_mistakes(folder: Path, model: Any, predictions: Predictions, kept: KeptImages) -> None:
    """Write the folder of mistakes; it replaces an earlier one.

    `01.png`, `02.png` ... are images of `draw_side_by_side`; mistakes.csv has a row for each, with
    P(FAKE) before calibration as `score`. OutputError if the folder holds other files, or cannot be
    written.
    """
    check_replaceable(folder, lambda name: bool(_OWN_FILE.fullmatch(name)), "mistakes")
    rows = predictions.table(1.0).take(pa.array(kept.worst, pa.int64()))
    names = [f"{number:02d}.png" for number in range(1, len(kept.worst) + 1)]
    table = rows.drop_columns(["target", "logit", "calibrated"])
    crops = [kept.images[i] for i in kept.worst]
    with atomic_folder(folder) as written:
        if crops:
            features = feature_model(model).predict(np.stack(crops), verbose=0)
            heatmaps = class_activation(model, features)
            for name, i, crop, heatmap in zip(names, kept.worst, crops, heatmaps, strict=True):
                mask = np.stack([kept.masks[i]] * 3, axis=2) if i in kept.masks else None
                Image.fromarray(draw_side_by_side(crop, heatmap, mask)).save(written / name)
        write_table(table.append_column("image", pa.array(names, pa.string())), written / TABLE)
