"""Exports the model of a run to SavedModel or ONNX and compares the scores."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from manifests.errors import TrainingError
from manifests.files import atomic_file, atomic_folder
from training.data.input_pipeline import make_dataset, report_read_errors
from training.data.shards import Shards
from training.models import classifier
from training.recipes import choose_recipe
from training.runs.checkpoints import load_model
from training.runs.folder import Run

#: Largest absolute difference allowed between scores of the export and of model.keras.
TOLERANCE = 1e-4
#: Number of images of the test split that are compared.
COMPARED_IMAGES = 8


def export_model(run: Run, shards: Shards, form: str) -> tuple[Path, float]:
    """Write `RUN/savedmodel/` or `RUN/model.onnx`.

    The exported model takes RGB images, 0 to 255, float32 [B, 224, 224, 3], and returns
    P(FAKE), float32 [B, 1].

    Args:
        form: "savedmodel" or "onnx".

    Returns:
        The path of the export and the largest absolute difference of its scores from those
        of model.keras.

    Raises:
        TrainingError: a package is missing, or the scores differ; an earlier export is kept.
        OutputError: the output cannot be written.
    """
    network = _float32(run)
    with report_read_errors(shards):
        images, _ = next(iter(make_dataset(shards, "test", COMPARED_IMAGES)))
    batch = np.asarray(images, np.float32)
    expected = np.asarray(network.predict_on_batch(batch))
    path = run.folder / ("savedmodel" if form == "savedmodel" else "model.onnx")
    try:
        with (atomic_folder if form == "savedmodel" else atomic_file)(path) as partial:
            _write(network, partial, form)
            scores = (_run_savedmodel if form == "savedmodel" else _run_onnx)(partial, batch)
            return path, _checked_difference(scores, expected, form)
    except ImportError as error:
        raise TrainingError(
            f"expected the packages an export to {form} needs, found: {error}; install them with "
            "pip install 'dfdc-prep[onnx]' and use Keras with TensorFlow"
        ) from error


def _checked_difference(scores: Any, expected: Any, form: str) -> float:
    difference = float(np.abs(scores - expected).max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"expected the {form} export to give the scores of model.keras, found a difference of "
            f"{difference:.2g}; use model.keras instead"
        )
    return difference


def _float32(run: Run) -> Any:
    """The model of the run rebuilt in float32, independent of its training precision."""
    recipe = run.config().recipe
    network = classifier.build_model(choose_recipe(recipe.name, {"backbone": recipe.backbone}))
    classifier.copy_weights(load_model(run), network)
    return network


def _write(network: Any, path: Path, form: str) -> None:
    with warnings.catch_warnings():
        # Keras probes for np.object, which tf2onnx needs; newer NumPy versions warn about it.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        network.export(
            path, format="tf_saved_model" if form == "savedmodel" else "onnx", verbose=False
        )


def _run_savedmodel(path: Path, images: Any) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return np.asarray(loaded.serve(images))


def _run_onnx(path: Path, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]
