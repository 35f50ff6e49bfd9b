"""The test split disturbed, level by level: what is left of accuracy and ROC-AUC.

The disturbances are the weaknesses the paper names for its own model: image quality and
lighting. Each is done to the crop, uint8 RGB, as the model would be given it.
"""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from scipy.special import expit

from manifests.io.atomic import atomic_file
from training.evaluation import evaluator, metrics, model_card, plots
from training.evaluation.evaluator import Change, Images
from training.models.classifier import logit_model
from training.runs.folder import Run

COLUMNS = ("disturbance", "level", "accuracy", "auc")


def _each(change: Callable[[Image.Image], Image.Image]) -> Change:
    """A change of one picture, made to every image of a batch."""

    def changed(images: Images) -> Images:
        return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])

    return changed


def jpeg(quality: int) -> Change:
    """Compressed to JPEG and back."""

    def change(image: Image.Image) -> Image.Image:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=quality)
        return Image.open(held).convert("RGB")

    return _each(change)


def blur(sigma: float) -> Change:
    """Gaussian blur, sigma in pixels."""
    return _each(lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def noise(sigma: float) -> Change:
    """Gaussian noise, sigma in grey levels; the same noise in every run."""
    rng = np.random.default_rng(42)

    def change(images: Images) -> Images:
        noisy = images + rng.normal(0, sigma, images.shape)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)

    return change


def resolution(divisor: int) -> Change:
    """Scaled down by a divisor and up again, bicubic."""

    def change(image: Image.Image) -> Image.Image:
        small = image.resize(
            (image.width // divisor, image.height // divisor), Image.Resampling.BICUBIC
        )
        return small.resize(image.size, Image.Resampling.BICUBIC)

    return _each(change)


def brightness(factor: float) -> Change:
    """Every value times a factor."""
    return lambda images: np.clip(np.round(images * factor), 0, 255).astype(np.uint8)


def disturbances() -> Iterator[tuple[str, str, Change]]:
    """Kind, level as shown, and what is done, from mild to strong."""
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


def measure(run: Run, shards: Path, split: str, out: Path, batch: int) -> list[dict[str, Any]]:
    """Write robustness.csv and robustness.png; the run's own folder has its card renewed.

    Returns:
        One row a level, the undisturbed images first; an AUC is None where it cannot be told.
    """
    model = logit_model(evaluator.load_model(run))
    rows = []
    for kind, level, change in (("none", "clean", None), *disturbances()):
        found = evaluator.predict(model, shards, split, batch, change)
        said = metrics.figures(found.labels, expit(found.logits))
        values = (kind, level, said["accuracy"], said["auc"])
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    with (
        atomic_file(out / "robustness.csv") as half,
        open(half, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_file(out / "robustness.png") as half:
        plots.robustness(rows, half)
    if out == run.folder:
        model_card.write(run)
    return rows


def table_text(rows: list[dict[str, Any]]) -> str:
    """The table for the terminal."""
    lines = [f"{'disturbance':<16}{'level':>7}{'accuracy':>10}{'ROC-AUC':>9}"]
    for row in rows:
        auc = "none" if row["auc"] is None else f"{row['auc']:.4f}"
        lines.append(f"{row['disturbance']:<16}{row['level']:>7}{row['accuracy']:>10.4f}{auc:>9}")
    return "\n".join(lines)
