"""The models of a run: checkpoints, from which an interrupted training resumes, and exports.

`checkpoints/epoch-0007.keras` is the compiled model after epoch 7, including the optimizer.
After each epoch, history.csv is written first and the checkpoint second, each atomically: a
row without a checkpoint is dropped on resuming and its epoch is trained again. The last two
epochs are kept, and the best epoch as of each of them, so falling back one epoch never loses
the best one. A broken checkpoint was changed from outside: training falls back to the previous one,
and if none is intact it stops with an error rather than start over.
"""

import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manifests.errors import TrainingError, out_of_memory
from manifests.files import atomic_file, atomic_folder
from training.data.input_pipeline import make_dataset, report_read_errors
from training.data.shards import Shards
from training.models import classifier, keras_files
from training.models.classifier import HEAD_LAYER
from training.recipes import choose_recipe
from training.runs.folder import Run

#: A row of history.csv.
HistoryRow = dict[str, float]
_CHECKPOINT = re.compile(r"epoch-(\d{4})\.keras")
#: Largest absolute difference allowed between scores of the export and of model.keras.
TOLERANCE = 1e-4
#: Number of images of the test split that are compared.
COMPARED_IMAGES = 8


def best_epoch(rows: Sequence[HistoryRow]) -> int | None:
    """The epoch with the lowest validation loss, the first if tied; None without rows."""
    return int(min(rows, key=lambda row: row["val_loss"])["epoch"]) if rows else None


def should_stop(rows: Sequence[HistoryRow], patience: int) -> bool:
    """Whether the validation loss has not improved for `patience` epochs; 0 disables this."""
    best = best_epoch(rows)
    return bool(patience and best is not None and len(rows) - best >= patience)


def checkpoint_path(run: Run, epoch: int) -> Path:
    """Path of the checkpoint of an epoch; epochs count from 1."""
    return run.checkpoints / f"epoch-{epoch:04d}.keras"


def save(run: Run, model: Any, rows: Sequence[HistoryRow]) -> None:
    """Write history.csv and the checkpoint of its last epoch, then delete old checkpoints."""
    run.checkpoints.mkdir(exist_ok=True)
    run.write_history(rows)
    with atomic_file(checkpoint_path(run, len(rows))) as partial:
        model.save(partial)
    kept = {len(rows), len(rows) - 1, best_epoch(rows), best_epoch(rows[:-1])}
    names = {checkpoint_path(run, epoch).name for epoch in kept if epoch}
    for path in run.checkpoints.iterdir():
        if path.name not in names:
            path.unlink()


def is_intact(path: Path) -> bool:
    """Whether the members of the .keras archive are there and match their CRC-32."""
    try:
        keras_files.read_archive(keras_files.read_bytes(path))
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile):
        return False  # RuntimeError: a member is marked as encrypted
    return True


def restore(run: Run, log: Callable[[str], object]) -> tuple[Any, list[HistoryRow]]:
    """Load the compiled model of the last intact checkpoint and the history rows up to it.

    (None, []) without checkpoints; TrainingError if there are some, but none is usable.
    """
    rows = run.history()
    matches = (_CHECKPOINT.fullmatch(path.name) for path in run.checkpoints.glob("*"))
    epochs = sorted((int(match[1]) for match in matches if match), reverse=True)
    for epoch in epochs:
        needed = {epoch, best_epoch(rows[:epoch]) or epoch}
        if epoch <= len(rows) and all(is_intact(checkpoint_path(run, each)) for each in needed):
            model = load_classifier(checkpoint_path(run, epoch), compile=True)
            if model is not None and model.optimizer is not None:
                return model, rows[:epoch]
        log(
            f"skipped the checkpoint of epoch {epoch}: the checkpoint, the best one so far or its "
            "row in history.csv is broken"
        )
    if epochs:
        raise TrainingError(
            f"expected a checkpoint to resume from in {run.checkpoints}, found {len(epochs)} "
            "that are broken or have no row in history.csv; start over with --fresh"
        )
    return None, []


def load_classifier(path: Path, *, compile: bool) -> Any:
    """Load a classifier from a .keras file; None if the file does not contain a valid one."""
    try:
        model = keras_files.load_archive(path, compile=compile)
        model.get_layer(HEAD_LAYER)
        return model if model.output_shape == (None, 1) else None
    except Exception as error:  # which one depends on the layer that is damaged
        if out_of_memory(error):
            raise
        return None


def load_model(run: Run) -> Any:
    """Load model.keras of a run, not compiled; TrainingError if it is missing or broken."""
    if is_intact(run.model_file):
        model = load_classifier(run.model_file, compile=False)
        if model is not None:
            return model
    raise run.no_model("a broken one" if run.model_file.exists() else "none")


def export_model(run: Run, shards: Shards, form: str) -> tuple[Path, float]:
    """Write `RUN/savedmodel/` or `RUN/model.onnx`, in float32 whatever the run was trained in.

    The exported model takes RGB images, 0 to 255, float32 [B, 224, 224, 3], and returns
    P(FAKE), float32 [B, 1].

    Args:
        form: "savedmodel" or "onnx".

    Returns:
        The path of the export and the largest absolute difference of its scores from those
        of model.keras.

    Raises:
        TrainingError: a package is missing, or the scores differ; an earlier export is kept.
    """
    recipe = run.config().recipe
    network = classifier.build_model(choose_recipe(recipe.name, {"backbone": recipe.backbone}))
    classifier.copy_weights(load_model(run), network)
    with report_read_errors(shards):
        images, _ = next(iter(make_dataset(shards, "test", COMPARED_IMAGES)))
    batch = np.asarray(images, np.float32)
    expected = np.asarray(network.predict_on_batch(batch))
    saved = form == "savedmodel"
    path = run.folder / ("savedmodel" if saved else "model.onnx")
    try:
        with (atomic_folder if saved else atomic_file)(path) as partial, warnings.catch_warnings():
            # Keras probes for np.object, which tf2onnx needs; newer NumPy versions warn about it.
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            network.export(partial, format="tf_saved_model" if saved else "onnx", verbose=False)
            if saved:
                import tensorflow as tf

                loaded = tf.saved_model.load(str(partial))  # its variables go with it
                scores = np.asarray(loaded.serve(batch))
            else:
                import onnxruntime

                providers = ["CPUExecutionProvider"]
                session = onnxruntime.InferenceSession(partial, providers=providers)
                (scores,) = session.run(None, {session.get_inputs()[0].name: batch})
            difference = float(np.abs(scores - expected).max())
            if not difference <= TOLERANCE:
                raise TrainingError(
                    f"expected the {form} export to give the scores of model.keras, found a "
                    f"difference of {difference:.2g}; use model.keras instead"
                )
            return path, difference
    except ImportError as error:
        raise TrainingError(
            f"expected the packages an export to {form} needs, found: {error}; install them with "
            "pip install 'dfdc-prep[onnx]' and use Keras with TensorFlow"
        ) from error
