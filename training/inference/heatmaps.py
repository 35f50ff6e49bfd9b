"""Writes the heatmaps of predicted faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from manifests.files import atomic_file
from training.evaluation.heatmaps import draw_side_by_side
from training.inference.face_crops import FaceCrop


def write_heatmaps(
    folder: Path,
    path: Path,
    faces: Sequence[FaceCrop],
    activations: npt.NDArray[np.float32],
) -> list[str | None]:
    """Write one image for each face of a file: the crop, its Grad-CAM and its mask, if any.

    Args:
        path: the image or clip the faces come from; names the images.
        activations: [N, h, w]; see `training.evaluation.heatmaps`.

    Returns:
        The paths of the images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str | None] = []
    for number, (face, activation) in enumerate(zip(faces, activations, strict=True)):
        name = f"{path.parent.name}-{path.name}-{face.frame:06d}_{number}.png".lstrip("-.")
        drawn = draw_side_by_side(face.crop, activation, face.mask)
        with atomic_file(folder / name) as partial:
            Image.fromarray(drawn).save(partial)
        written.append(str(folder / name))
    return written
