"""The plots of a run, in the layouts of the paper's figures 5, 6 and 8; without pyplot's state."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfdc_prep.run_files import RobustnessRow
from manifests.labels import LABELS

TRAINING_COLOUR, VALIDATION_COLOUR = "#1f5fa8", "#d1661b"
CORRECT_COLOUR, WRONG_COLOUR = "#1a7f37", "#c1272d"


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120, facecolor="white", metadata={"Software": None})


def plot_curves(
    history: Sequence[Mapping[str, float]], path: Path, best: int | None = None
) -> None:
    """Plot Fig. 5: accuracy and loss by epoch, training and validation, a line at the best one."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    epochs = [int(row["epoch"]) for row in history]
    for axis, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        trained, validated = [r[name] for r in history], [r[f"val_{name}"] for r in history]
        axis.plot(epochs, trained, color=TRAINING_COLOUR, label="training", marker=".", lw=1.8)
        axis.plot(
            epochs, validated, color=VALIDATION_COLOUR, label="validation", marker=".", lw=1.8
        )
        if best is not None:
            axis.axvline(best, color="0.55", lw=1, ls="--", label=f"kept: epoch {best}")
        axis.set(title=name.capitalize(), xlabel="epoch", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.25)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def plot_confusion(matrix: Sequence[Sequence[int]], path: Path) -> None:
    """Plot Fig. 6: a confusion matrix, [2][2] counts, rows the true classes, REAL first."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axis = figure.subplots()
    heatmap = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        style: Any = {"ha": "center", "va": "center", "fontsize": 13}
        colour = "white" if share > 0.55 else "black"
        axis.text(column, row, f"{count:,}\n{share:.1%}", color=colour, **style)
    axis.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    axis.set(xticks=[0, 1], yticks=[0, 1], xticklabels=LABELS, yticklabels=LABELS)
    figure.colorbar(heatmap, ax=axis, label="share of the true class", shrink=0.85)
    _save(figure, path)


def plot_samples(
    images: Sequence[npt.NDArray[np.uint8]],
    labels: Iterable[int],
    scores: Iterable[float],
    path: Path,
) -> None:
    """Plot Fig. 8: up to 20 RGB uint8 images, titled "predicted class | its score | correct".

    Labels are 0 for REAL and 1 for FAKE, scores P(FAKE).
    """
    columns = min(5, max(len(images), 1))
    rows = max(-(-len(images) // columns), 1)
    figure = Figure(figsize=(2.5 * columns, 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, label, score in zip(axes, images, labels, scores, strict=False):
        predicted = int(score >= 0.5)
        known = ("correct", CORRECT_COLOUR) if predicted == label else ("wrong", WRONG_COLOUR)
        axis.imshow(image)
        title = f"{LABELS[predicted]} | {score if predicted else 1 - score:.2f} | {known[0]}"
        axis.set_title(title, fontsize=10, color=known[1])
    _save(figure, path)


def plot_robustness(rows: Sequence[RobustnessRow], path: Path) -> None:
    """Plot accuracy and AUC by level for each disturbance, starting with clean images."""
    clean = next(row for row in rows if row.disturbance == "none")
    kinds = list(dict.fromkeys(row.disturbance for row in rows if row is not clean))
    lines = -(-len(kinds) // 3)
    figure = Figure(figsize=(11, 3.1 * lines), layout="constrained")
    axes = figure.subplots(lines, 3, squeeze=False).ravel()
    for axis in axes[len(kinds) :]:
        axis.axis("off")
    for axis, kind in zip(axes, kinds, strict=False):
        levels = [clean, *(row for row in rows if row.disturbance == kind)]
        positions = range(len(levels))
        accuracy = [row.accuracy for row in levels]
        auc = [np.nan if row.auc is None else row.auc for row in levels]
        axis.plot(positions, accuracy, color=TRAINING_COLOUR, marker="o", ms=4, label="accuracy")
        axis.plot(positions, auc, color=VALIDATION_COLOUR, marker="o", ms=4, label="AUC")
        axis.set(title=kind, ylim=(0, 1.04), xticks=list(positions))
        axis.set_xticklabels([row.level for row in levels])
        axis.axhline(0.5, color="0.6", lw=0.8, ls=":")
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False, loc="lower left")
    _save(figure, path)
