"""The pictures of a run, in the layouts of the paper's figures 5, 6 and 8.

Drawn on matplotlib's Agg canvas, without pyplot: no display, no global state.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from manifests.labels import LABELS

TRAIN, VALIDATION = "#1f5fa8", "#d1661b"
RIGHT, WRONG = "#1a7f37", "#c1272d"


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120, facecolor="white", metadata={"Software": None})


def curves(history: Sequence[Mapping[str, float]], path: Path, best: int | None = None) -> None:
    """Fig. 5: accuracy and loss per epoch, training and validation.

    Args:
        history: rows of history.csv.
        best: the epoch that became the model, marked by a line.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    epochs = [int(row["epoch"]) for row in history]
    for axis, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for key, colour, label in (
            (name, TRAIN, "training"),
            (f"val_{name}", VALIDATION, "validation"),
        ):
            axis.plot(
                epochs, [row[key] for row in history], color=colour, label=label, marker=".", lw=1.8
            )
        if best is not None:
            axis.axvline(best, color="0.55", lw=1, ls="--", label=f"kept: epoch {best}")
        axis.set(title=name.capitalize(), xlabel="epoch", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.25)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def confusion(matrix: Sequence[Sequence[int]], path: Path) -> None:
    """Fig. 6: counts, and their share of the true class; rows are the true classes."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axis = figure.subplots()
    drawn = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        axis.text(
            column,
            row,
            f"{count:,}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=13,
            color="white" if share > 0.55 else "black",
        )
    axis.set(
        xticks=[0, 1],
        yticks=[0, 1],
        xticklabels=LABELS,
        yticklabels=LABELS,
        xlabel="predicted",
        ylabel="true",
        title="Confusion matrix",
    )
    figure.colorbar(drawn, ax=axis, label="share of the true class", shrink=0.85)
    _save(figure, path)


def samples(
    images: Sequence[npt.NDArray[np.uint8]],
    labels: Sequence[int],
    scores: Sequence[float],
    path: Path,
) -> None:
    """Fig. 8: up to 20 test images, each with "predicted | score | correct or not".

    Args:
        images: RGB uint8 [H, W, 3].
        scores: P(FAKE); shown is the score of the class predicted.
    """
    columns = min(5, max(len(images), 1))
    rows = max(-(-len(images) // columns), 1)
    figure = Figure(figsize=(2.5 * columns, 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, label, score in zip(axes, images, labels, scores, strict=False):
        predicted = int(score >= 0.5)
        right = predicted == label
        axis.imshow(image)
        axis.set_title(
            f"{LABELS[predicted]} | {score if predicted else 1 - score:.2f} | "
            f"{'correct' if right else 'wrong'}",
            fontsize=10,
            color=RIGHT if right else WRONG,
        )
    _save(figure, path)


def robustness(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy and AUC under each disturbance and level, the undisturbed beside them."""
    clean = next(row for row in rows if row["disturbance"] == "none")
    kinds = list(dict.fromkeys(row["disturbance"] for row in rows if row is not clean))
    columns = 3
    figure = Figure(figsize=(11, 3.1 * -(-len(kinds) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(kinds) // columns), columns, squeeze=False).ravel()
    for axis in axes[len(kinds) :]:
        axis.axis("off")
    for axis, kind in zip(axes, kinds, strict=False):
        chosen = [clean, *(row for row in rows if row["disturbance"] == kind)]
        places = range(len(chosen))
        for name, colour, label in (("accuracy", TRAIN, "accuracy"), ("auc", VALIDATION, "AUC")):
            values = [np.nan if row[name] is None else row[name] for row in chosen]
            axis.plot(places, values, color=colour, marker="o", ms=4, label=label)
        axis.set(title=kind, ylim=(0, 1.04), xticks=list(places))
        axis.set_xticklabels([row["level"] for row in chosen])
        axis.axhline(0.5, color="0.6", lw=0.8, ls=":")
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False, loc="lower left")
    _save(figure, path)
