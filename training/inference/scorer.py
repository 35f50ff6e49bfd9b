"""The model of a run, loaded to score face crops and write their heatmaps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.io.atomic import atomic_file
from training.evaluation import gradcam
from training.evaluation.evaluator import load_model
from training.inference.face_crops import FaceCrop
from training.models import classifier
from training.runs.folder import Run

BATCH_SIZE = 32


class Scorer:
    """Scores face crops with the model of a run.

    Attributes:
        crop_settings: detector, margin and alignment recorded for the run's training data.
        temperature: the number logits are divided by to calibrate them.

    Raises:
        TrainingError: the folder does not contain a finished run.
    """

    def __init__(self, folder: Path, heatmaps: Path | None) -> None:
        """Load the run in `folder`; heatmaps are written to `heatmaps`, if given."""
        run = Run(folder)
        self.crop_settings = run.config().data.crops
        self.temperature = run.metrics().temperature
        self._model = load_model(run)
        self._logits = classifier.logit_model(self._model)
        self._features = classifier.feature_model(self._model)
        self._heatmaps = heatmaps

    def score(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return uncalibrated FAKE logits, float64 [N], of RGB crops, uint8 [N, 224, 224, 3]."""
        logits = self._logits.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        return np.asarray(logits, np.float64)[:, 0]

    def write_heatmaps(self, path: Path, faces: Sequence[FaceCrop]) -> list[str | None]:
        """Write one Grad-CAM image for each face of a file.

        Args:
            path: the image or clip the faces come from; names the heatmap files.

        Returns:
            The paths of the images, or None for each face where no folder was given.
        """
        if self._heatmaps is None:
            return [None] * len(faces)
        self._heatmaps.mkdir(parents=True, exist_ok=True)
        crops = np.stack([face.crop for face in faces])
        features = self._features.predict(crops, batch_size=BATCH_SIZE, verbose=0)
        maps = classifier.class_activation(self._model, features)
        written: list[str | None] = []
        for number, (face, activation) in enumerate(zip(faces, maps, strict=True)):
            name = f"{path.parent.name}-{path.name}-{face.frame:06d}_{number}.png".lstrip("-.")
            drawn = gradcam.draw_side_by_side(face.crop, activation, face.mask)
            with atomic_file(self._heatmaps / name) as partial:
                Image.fromarray(drawn).save(partial)
            written.append(str(self._heatmaps / name))
        return written
