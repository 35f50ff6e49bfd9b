"""Measures accuracy and ROC-AUC on disturbed images, batches of RGB uint8 crops [B, H, W, 3].

The disturbances cover the weaknesses the paper names for its model: image quality and lighting.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from scipy.special import expit
from sklearn import metrics as sk

from dfdc_prep.run_files import ROBUSTNESS_COLUMNS, RobustnessRow, RunFiles, write_rows
from manifests.files import atomic_file
from manifests.pictures.images import open_image
from training.evaluation import plots, text
from training.measures.predictions import Images, Source, Transform, predict_each


def _per_image(change: Callable[[Image.Image], Image.Image]) -> Transform:
    """Apply a change of a single image to every image of a batch."""
    return lambda images: np.stack([np.asarray(change(Image.fromarray(i))) for i in images])


def jpeg(quality: int) -> Transform:
    """Encode as JPEG of the given quality and decode again."""

    def change(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        with open_image(buffer.getvalue(), ("JPEG",)) as opened:
            return opened.convert("RGB")

    return _per_image(change)


def blur(sigma: float) -> Transform:
    """Blur with a Gaussian; sigma in pixels."""
    return _per_image(lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def noise(sigma: float) -> Transform:
    """Add Gaussian noise; sigma in grey levels, fixed seed."""
    rng = np.random.default_rng(42)

    def change(images: Images) -> Images:
        noisy = images + rng.normal(0, sigma, images.shape)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)

    return change


def resolution(divisor: int) -> Transform:
    """Scale down by a divisor and up again, with bicubic interpolation."""

    def change(image: Image.Image) -> Image.Image:
        size = (image.width // divisor, image.height // divisor)
        small = image.resize(size, Image.Resampling.BICUBIC)
        return small.resize(image.size, Image.Resampling.BICUBIC)

    return _per_image(change)


def brightness(factor: float) -> Transform:
    """Multiply every value by a factor."""
    return lambda images: np.clip(np.round(images * factor), 0, 255).astype(np.uint8)


def disturbances() -> Iterator[tuple[str, str, Transform]]:
    """Yield (kind, level, transform), from mild to strong within each kind."""
    for quality in (90, 70, 50, 30):
        yield "JPEG quality", f"{quality}", jpeg(quality)
    for sigma in (1, 2, 3):
        yield "blur, sigma px", f"{sigma}", blur(sigma)
    for sigma in (5, 10, 20):
        yield "noise, sigma", f"{sigma}", noise(sigma)
    for divisor in (2, 4):
        yield "resolution", f"1/{divisor}", resolution(divisor)
    for factor in (0.75, 0.5, 0.25):
        yield "darker", f"x{factor}", brightness(factor)
    for factor in (1.25, 1.5, 2):
        yield "brighter", f"x{factor}", brightness(factor)


def measure_robustness(model: Any, source: Source, out: Path) -> list[RobustnessRow]:
    """Evaluate every disturbance in one pass; write robustness.csv and robustness.png to `out`.

    If `out` is a run folder, its model card is updated too.

    Args:
        model: of logits; see `predict_each`.

    Returns:
        One row per level, clean images first.
    """
    levels = [("none", "clean", None), *disturbances()]
    rows: list[RobustnessRow] = []
    found = predict_each(model, source, lambda _: [change for _, _, change in levels])
    for (kind, level, _), predictions in zip(levels, found, strict=True):
        labels, scores = predictions.labels, expit(predictions.logits)
        both = len(np.unique(labels)) == 2
        auc = float(sk.roc_auc_score(labels, scores)) if both else None
        accuracy = float(sk.accuracy_score(labels, scores >= 0.5))
        rows.append(RobustnessRow(kind, level, accuracy, auc))
    run = RunFiles(out)
    write_rows(run.robustness_file, ROBUSTNESS_COLUMNS, rows)
    with atomic_file(out / "robustness.png") as partial:
        plots.plot_robustness(rows, partial)
    if run.config_file.is_file():
        text.write_card(run)
    return rows
