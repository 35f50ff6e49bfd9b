"""A run's model for use elsewhere, SavedModel or ONNX, checked to give the same scores."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from manifests.io.atomic import atomic_file, atomic_folder
from training.errors import TrainingError
from training.evaluation import evaluator
from training.models import classifier, pretrained
from training.recipes import choose
from training.runs.folder import Run

FORMATS = ("savedmodel", "onnx")

#: How far the scores of an export may lie from the model's own.
TOLERANCE = 1e-4
#: Images of the test split that are compared.
COMPARED = 8


def export(run: Run, shards: Path, form: str) -> tuple[Path, float]:
    """Write `RUN/savedmodel/` or `RUN/model.onnx`, float32, images [B, 224, 224, 3] in.

    Returns:
        Where it lies and the largest difference of a score from the model's own.

    Raises:
        TrainingError: a package is missing, or the export gives other scores; what an earlier
            one wrote stays.
        OutputError: the place cannot be written.
    """
    network = _float32(run)
    _, images = evaluator.pictures_of(shards, "test", COMPARED, seed=0)
    batch = np.stack(images[:COMPARED]).astype(np.float32)
    own = np.asarray(network.predict_on_batch(batch))
    path = run.folder / ("savedmodel" if form == "savedmodel" else "model.onnx")
    try:
        with (atomic_folder if form == "savedmodel" else atomic_file)(path) as beside:
            _write(network, beside, form)
            theirs = (_savedmodel if form == "savedmodel" else _onnx)(beside, batch)
            return path, _difference(theirs, own, form)
    except ImportError as error:
        raise TrainingError(
            f"expected what an export to {form} needs, found: {error}; "
            "pip install 'dfdc-prep[onnx]' and run Keras on TensorFlow"
        ) from error


def _difference(theirs: Any, own: Any, form: str) -> float:
    difference = float(np.abs(theirs - own).max())
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"expected the {form} export to give the model's scores, found them off by "
            f"{difference:.2g}; use model.keras instead"
        )
    return difference


def _float32(run: Run) -> Any:
    """The run's model rebuilt in float32, whatever precision it was trained in."""
    recipe = run.config()["recipe"]
    network = classifier.build(choose(recipe["name"], {"backbone": recipe["backbone"]}))
    pretrained.copy(evaluator.load_model(run), network)
    return network


def _write(network: Any, path: Path, form: str) -> None:
    with warnings.catch_warnings():
        # Keras looks whether NumPy still has np.object before tf2onnx asks for it.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        network.export(
            path, format="tf_saved_model" if form == "savedmodel" else "onnx", verbose=False
        )


def _savedmodel(path: Path, images: Any) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return np.asarray(loaded.serve(images))


def _onnx(path: Path, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]
