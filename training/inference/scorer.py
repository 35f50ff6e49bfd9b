"""A run's model, ready to score crops and to draw what it looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests.io.atomic import atomic_file
from training.evaluation.evaluator import load_model
from training.inference import gradcam
from training.models import classifier
from training.runs.folder import Run

BATCH = 32


class Judge:
    """Scores crops by the model of a run.

    Attributes:
        crops: `detector` and `margin` the run's training data were cut with, None where
            they are unknown.
        temperature: what logits are divided by.

    Raises:
        TrainingError: the folder holds no finished run.
    """

    def __init__(self, folder: Path, heatmaps: Path | None) -> None:
        run = Run(folder)
        with run.understood():
            crops = run.config()["data"]["crops"]
            margin, detector = crops["margin"], crops["detector"]
            self.crops: dict[str, Any] = {
                "margin": margin if margin is None else float(margin),
                "detector": detector if detector is None else str(detector),
            }
            self.temperature = float(run.metrics()["temperature"])
        self._model = load_model(run)
        self._logits = classifier.logit_model(self._model)
        self._features = classifier.heatmap_model(self._model)
        self._heatmaps = heatmaps

    def score(self, crops: Any) -> Any:
        """Logits, float64 [N], of crops uint8 [N, 224, 224, 3] RGB."""
        logits = self._logits.predict(crops, batch_size=BATCH, verbose=0)
        return np.asarray(logits, np.float64)[:, 0]

    def draw(self, path: Path, faces: Sequence[Any]) -> list[str | None]:
        """Write a face's heatmap each, and give their paths; Nones where none are wanted."""
        if self._heatmaps is None:
            return [None] * len(faces)
        self._heatmaps.mkdir(parents=True, exist_ok=True)
        crops = np.stack([face.crop for face in faces])
        features = self._features.predict(crops, batch_size=BATCH, verbose=0)
        maps = classifier.class_activation(self._model, features)
        written: list[str | None] = []
        for number, (face, activation) in enumerate(zip(faces, maps, strict=True)):
            name = f"{path.parent.name}-{path.name}-{face.frame:06d}_{number}.png".lstrip("-.")
            with atomic_file(self._heatmaps / name) as half:
                Image.fromarray(gradcam.beside(face.crop, activation)).save(half)
            written.append(str(self._heatmaps / name))
        return written
