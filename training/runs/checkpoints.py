"""An epoch's model on disk, so that a run killed at any moment goes on from there.

`checkpoints/epoch-0007.keras` is the compiled model after epoch 7, optimizer included.
After each epoch history.csv is written first and its checkpoint second, each whole or not
at all: a row without its checkpoint is dropped on resuming and trained anew. Kept are the
last epoch, the one before it, and the best as of each, so that falling back one epoch
never loses the best.

A checkpoint is written whole: one that is broken was altered by somebody. The one before is
taken then, and where there is none, the user is asked; nothing is trained anew unasked.
"""

import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from manifests.errors import out_of_memory
from manifests.io.atomic import atomic_file
from training.errors import TrainingError
from training.models.classifier import HEAD
from training.runs.folder import Run

Row = dict[str, float]


def best(rows: Sequence[Row]) -> int | None:
    """The epoch of the lowest validation loss, the first of equals; None before any."""
    return int(min(rows, key=lambda row: row["val_loss"])["epoch"]) if rows else None


def stopped(rows: Sequence[Row], patience: int) -> bool:
    """Whether no epoch of the last `patience` brought a better validation loss."""
    chosen = best(rows)
    return bool(patience and chosen is not None and len(rows) - chosen >= patience)


def path_of(run: Run, epoch: int) -> Path:
    """Where the checkpoint of an epoch lies; epochs count from 1."""
    return run.checkpoints / f"epoch-{epoch:04d}.keras"


def save(run: Run, model: Any, rows: Sequence[Row]) -> None:
    """Write the history and the checkpoint of its last epoch, then drop what is not needed.

    Raises:
        OSError: the disk is full or cannot be written; the checkpoints before are untouched.
    """
    run.checkpoints.mkdir(exist_ok=True)
    run.write_history(rows)
    with atomic_file(path_of(run, len(rows))) as half:
        model.save(half)
    before = rows[:-1]
    _prune(run, {len(rows), len(before), best(rows), best(before)})


def _prune(run: Run, kept: set[int | None]) -> None:
    names = {path_of(run, epoch).name for epoch in kept if epoch}
    for path in run.checkpoints.iterdir():
        if path.name not in names:
            path.unlink()


def intact(path: Path) -> bool:
    """Whether every member of the archive reads back with its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile):
        return False  # RuntimeError: a member is said to be encrypted, or packed in some new way


def restore(run: Run, say: Callable[[str], object]) -> tuple[Any, list[Row]]:
    """The last good checkpoint's model and the history up to it; (None, []) before the first.

    Args:
        say: is told of each checkpoint that is passed over for the one before.

    Raises:
        TrainingError: there are checkpoints, and none that can be gone on from.
    """
    rows = run.history()
    epochs = sorted(_epochs(run), reverse=True)
    for epoch in epochs:
        model = _good(run, rows[:epoch]) if epoch <= len(rows) else None
        if model is not None:
            return model, rows[:epoch]
        say(f"passed over: the checkpoint of epoch {epoch}, it or its best or its row is broken")
    if epochs:
        raise TrainingError(
            f"expected a checkpoint to go on from in {run.checkpoints}, found the {len(epochs)} "
            "there broken or without their rows in history.csv; start over with --fresh"
        )
    return None, []


def _good(run: Run, rows: Sequence[Row]) -> Any:
    """The model after the last of the rows, None where it or the best of them is broken."""
    if not all(intact(path_of(run, epoch)) for epoch in {len(rows), best(rows)} if epoch):
        return None
    model = loaded(path_of(run, len(rows)), compile=True)
    return model if model is not None and model.optimizer is not None else None


def loaded(path: Path, *, compile: bool) -> Any:
    """The classifier in a .keras file, None where there is none to be had from it.

    Keras reads it in its safe mode, which runs no code that a file brings along. What it
    raises for a file that somebody altered depends on the layer that was altered; only a lack
    of memory says nothing of the file, and goes through.
    """
    try:
        model = keras.saving.load_model(path, compile=compile, safe_mode=True)
        model.get_layer(HEAD)
        return model if model.output_shape == (None, 1) else None
    except Exception as error:
        if out_of_memory(error):
            raise
        return None


def _epochs(run: Run) -> list[int]:
    if not run.checkpoints.is_dir():
        return []
    matches = (re.fullmatch(r"epoch-(\d{4})\.keras", p.name) for p in run.checkpoints.iterdir())
    return [int(match[1]) for match in matches if match]
