"""The model of a run, loaded to score face crops and explain the scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manifests.errors import TrainingError
from manifests.wording import counted
from training.inference.face_crops import FaceCrop
from training.models import classifier
from training.runs.checkpoints import load_model
from training.runs.folder import Run

BATCH_SIZE = 32


class Scorer:
    """Scores face crops with the model of a run.

    Args:
        folder: the run.

    Attributes:
        crop_settings: detector, margin and alignment recorded for the run's training data.
        temperature: the number logits are divided by to calibrate them.

    Raises:
        TrainingError: the folder does not contain a finished run.
    """

    def __init__(self, folder: Path) -> None:
        run = Run(folder)
        self.crop_settings = run.config().data.crops
        self.temperature = run.metrics().temperature
        self._model = load_model(run)
        self._logits = classifier.logit_model(self._model)
        self._features = classifier.feature_model(self._model)

    def score(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return uncalibrated FAKE logits, float64 [N], of RGB crops, uint8 [N, 224, 224, 3].

        Raises:
            TrainingError: a logit is not finite.
        """
        predicted = self._logits.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        logits = np.asarray(predicted, np.float64)[:, 0]
        if bad := int((~np.isfinite(logits)).sum()):
            raise TrainingError(
                f"expected a finite score for each of {counted(len(logits), 'face')}, found "
                f"{bad:,} that are not (NaN or infinite); the model is broken, so train it again"
            )
        return logits

    def calibrated_logits(self, faces: Sequence[FaceCrop]) -> npt.NDArray[np.float64]:
        """Return the FAKE logits of faces divided by the temperature, float64 [N]."""
        if not faces:
            return np.zeros(0)
        return self.score(np.stack([face.crop for face in faces])) / self.temperature

    def activations(self, faces: Sequence[FaceCrop]) -> npt.NDArray[np.float32]:
        """Return each face's Grad-CAM, float32 [N, h, w]; see `training.evaluation.heatmaps`."""
        crops = np.stack([face.crop for face in faces])
        features = self._features.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        return classifier.class_activation(self._model, features)
