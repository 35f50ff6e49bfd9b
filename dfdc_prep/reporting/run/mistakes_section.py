"""The section about the worst mistakes of a run, with their heatmaps."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dfdc_prep.reporting.page import Group, Groups, Picture, Section, Text
from dfdc_prep.reporting.run.run_files import Mistake
from dfdc_prep.reporting.thumbnails import thumbnail


def mistakes_section(mistakes: Sequence[Mistake], metrics: dict[str, Any] | None) -> list[Section]:
    """The most confident mistakes with their heatmaps; empty for a run without results."""
    title = "Worst mistakes"
    if not mistakes:
        if metrics is None:
            return []
        wrong = sum(metrics["image"]["confusion"][row][1 - row] for row in (0, 1))
        said = (
            "There is no folder of mistakes; python -m training.evaluate writes it."
            if wrong
            else "Every image was predicted rightly."
        )
        return [Section(title, [Text(said)])]
    groups = []
    for mistake in mistakes:
        row = mistake.row
        score = float(row.get("score") or "nan")
        line = f"{row.get('label')} with P(FAKE) {score:.4f}, frame {row.get('frame') or '–'}"
        groups.append(Group(_halves(mistake), f"{line}, {row.get('part')}/{row.get('video')}"))
    note = "Bright places speak for FAKE (Grad-CAM). They show where the model looked, not why."
    caption = "The most confident mistakes, one of each clip: the crop and its heatmap"
    return [Section(title, [Text(note), Groups(caption, groups)])]


def _halves(mistake: Mistake) -> list[Picture]:
    """The crop and the heatmap of a mistake, which are side by side in one image."""
    what = f"{mistake.row.get('label')} crop of {mistake.row.get('video')}"
    drawn = _pixels(mistake.image)
    if drawn is None:
        return [Picture(None, what)]
    width = drawn.shape[1] // 2
    return [
        Picture(thumbnail(drawn[:, :width]), what),
        Picture(thumbnail(drawn[:, width:]), f"heatmap of the {what}"),
    ]


def _pixels(path: Path) -> npt.NDArray[np.uint8] | None:
    try:
        if not path.is_file():
            return None
        with Image.open(io.BytesIO(path.read_bytes()), formats=("PNG",)) as image:
            if image.width < 2 or image.width * image.height > 4_000_000:
                return None
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
