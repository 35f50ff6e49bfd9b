"""The worst mistakes of a model: crops, Grad-CAM and a table, for a person to look at."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from manifests.files import atomic_folder
from manifests.folders import RunFolder, check_replaceable
from manifests.tables.parquet import write_table
from training.evaluation import heatmaps
from training.evaluation.predictions import Predictions
from training.models.classifier import class_activation, feature_model

#: Name of the folder and of the table inside it.
FOLDER, TABLE = RunFolder.MISTAKES, "mistakes.csv"
#: Largest number of mistakes.
MAX_MISTAKES = 12
_OWN_FILE = re.compile(rf"\d+\.png|{re.escape(TABLE)}")


def worst_mistakes(predictions: Predictions) -> list[int]:
    """Return the positions of the most confident mistakes, one of each clip, worst first."""
    wrong = (predictions.logits >= 0) != (predictions.labels == 1)
    order = np.argsort(-np.abs(predictions.logits), kind="stable")
    clips, found = predictions.clips, dict[str, int]()
    for at in order[wrong[order]].tolist():
        found.setdefault(clips[at], at)
    return list(found.values())[:MAX_MISTAKES]


def write_mistakes(
    folder: Path,
    model: Any,
    predictions: Predictions,
    images: Mapping[int, npt.NDArray[np.uint8]],
    masks: Mapping[int, npt.NDArray[np.uint8]],
) -> None:
    """Write the folder of mistakes; it replaces an earlier one.

    Each image is `01.png`, `02.png` ...: the crop and, to its right, its Grad-CAM for FAKE,
    then its mask if it has one. mistakes.csv has a row for each, with P(FAKE) before calibration
    as `score`.

    Args:
        model: the classifier, not its logits.
        images: the crops by their position in the predictions, uint8 [H, W, 3], worst first.
        masks: the masks of those that have one, by position, uint8 [H, W].

    Raises:
        OutputError: the folder holds other files, or cannot be written.
    """
    check_replaceable(folder, lambda name: bool(_OWN_FILE.fullmatch(name)), "mistakes")
    rows = predictions.table(1.0).take(pa.array(list(images), pa.int64()))
    names = [f"{number:02d}.png" for number in range(1, len(images) + 1)]
    table = rows.drop_columns(["target", "logit", "calibrated"])
    shown = [np.stack([masks[at]] * 3, axis=2) if at in masks else None for at in images]
    with atomic_folder(folder) as written:
        for name, drawn in zip(names, _drawings(model, list(images.values()), shown), strict=True):
            Image.fromarray(drawn).save(written / name)
        write_table(table.append_column("image", pa.array(names, pa.string())), written / TABLE)


def _drawings(
    model: Any,
    crops: list[npt.NDArray[np.uint8]],
    masks: list[npt.NDArray[np.uint8] | None],
) -> list[npt.NDArray[np.uint8]]:
    if not crops:
        return []
    features = feature_model(model).predict(np.stack(crops), verbose=0)
    maps = class_activation(model, features)
    return [heatmaps.draw_side_by_side(*pair) for pair in zip(crops, maps, masks, strict=True)]
