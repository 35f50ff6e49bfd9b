"""Measures accuracy and ROC-AUC on disturbed images of a split.

The disturbances cover the weaknesses the paper names for its model: image quality and
lighting. Each is applied to the model's input, a batch of RGB uint8 crops [B, H, W, 3].
"""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
from PIL import Image, ImageFilter
from scipy.special import expit

from manifests.files import atomic_file
from manifests.pictures.images import open_image
from training.evaluation import metrics, model_card, plots
from training.evaluation.predictions import Images, Transform, predict
from training.models.classifier import logit_model
from training.runs.checkpoints import load_model
from training.runs.folder import Run


class RobustnessRow(TypedDict):
    """A row of robustness.csv; `auc` is None if a class is missing."""

    disturbance: str
    level: str
    accuracy: float
    auc: float | None


def _per_image(change: Callable[[Image.Image], Image.Image]) -> Transform:
    """Apply a change of a single image to every image of a batch."""

    def changed(images: Images) -> Images:
        return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])

    return changed


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
        small = image.resize(
            (image.width // divisor, image.height // divisor), Image.Resampling.BICUBIC
        )
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


def measure_robustness(
    run: Run, shards: Path, split: str, out: Path, batch_size: int
) -> list[RobustnessRow]:
    """Evaluate every disturbance; write robustness.csv and robustness.png to `out`.

    If `out` is the run folder, its model card is updated too.

    Returns:
        One row per level, clean images first; the AUC is None if a class is missing.
    """
    model = logit_model(load_model(run))
    rows: list[RobustnessRow] = []
    for kind, level, transform in (("none", "clean", None), *disturbances()):
        predictions = predict(model, shards, split, batch_size, _always(transform))
        scores = expit(predictions.logits)
        measured = metrics.classification_metrics(predictions.labels, scores)
        rows.append(
            RobustnessRow(
                disturbance=kind, level=level, accuracy=measured.accuracy, auc=measured.auc
            )
        )
    with (
        atomic_file(out / "robustness.csv") as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(RobustnessRow.__annotations__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_file(out / "robustness.png") as partial:
        plots.plot_robustness(rows, partial)
    if out == run.folder:
        model_card.write_card(run)
    return rows


def _always(transform: Transform | None) -> Callable[[pa.Table], Transform | None]:
    """The same change, whatever the rows."""
    return lambda rows: transform


def robustness_table(rows: list[RobustnessRow]) -> str:
    """The rows as a plain-text table."""
    lines = [f"{'disturbance':<16}{'level':>7}{'accuracy':>10}{'ROC-AUC':>9}"]
    for row in rows:
        auc = "none" if row["auc"] is None else f"{row['auc']:.4f}"
        lines.append(f"{row['disturbance']:<16}{row['level']:>7}{row['accuracy']:>10.4f}{auc:>9}")
    return "\n".join(lines)
