"""How much of a model's heatmaps lies on the masks of the forged faces.

Pointing game: the share of images whose heatmap is largest on the mask (Zhang et al., 2016). Share
of energy: the part of the heatmap's sum that lies on the mask (Wang et al., 2020, Score-CAM). A
heatmap that is equal everywhere scores the masks' share of the area in both.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dfdc_prep.run_files import Localization
from training.data import input_pipeline
from training.models import classifier

#: A pixel lies on a mask from this level.
ON_MASK = 128


def measure(model: Any, shards: Path, split: str, batch_size: int) -> Localization:
    """Compare the Grad-CAM of every image of a split that has a mask with the mask.

    Args:
        model: a model from `training.models.classifier`, with its sigmoid.

    Raises:
        TrainingError: the shards cannot be read.
    """
    features = classifier.feature_model(model)
    scores: list[tuple[bool, float, float]] = []
    with input_pipeline.report_read_errors(shards):
        for images, masks in input_pipeline.make_masked_dataset(shards, split, batch_size):
            found = features.predict_on_batch(np.asarray(images))
            heatmaps = classifier.class_activation(model, found)
            scores += [
                (*score_heatmap(heatmap, mask), float((mask >= ON_MASK).mean()))
                for heatmap, mask in zip(heatmaps, np.asarray(masks), strict=True)
                if (mask >= ON_MASK).any()
            ]
    if not scores:
        return Localization(0, None, None, None)
    hits, energy, area = (float(mean) for mean in np.mean(np.array(scores, np.float64), axis=0))
    return Localization(len(scores), hits, energy, area)


def score_heatmap(
    heatmap: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]
) -> tuple[bool, float]:
    """Whether the heatmap's largest value lies on the mask, and the share of its sum there.

    Args:
        heatmap: non-negative float32 [h, w]; scaled to the mask's size.
        mask: uint8 [H, W]. A heatmap of zeros scores False and 0.
    """
    height, width = mask.shape
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    total, on_mask = float(scaled.sum()), mask >= ON_MASK
    if total <= 0:
        return False, 0.0
    return bool(on_mask.flat[int(scaled.argmax())]), float(scaled[on_mask].sum()) / total
