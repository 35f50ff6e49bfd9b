"""The section about the worst mistakes of a run, with their heatmaps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfdc_prep.reports.page import Group, Groups, Picture, Section, Text, thumbnail
from dfdc_prep.reports.run.run_files import Mistake
from manifests.pictures.images import ImageError, open_image, to_rgb
from manifests.wording import counted


def mistakes_section(mistakes: Sequence[Mistake], metrics: dict[str, Any] | None) -> list[Section]:
    """The most confident mistakes with their heatmaps; empty for a run without results."""
    title = "Worst mistakes"
    if not mistakes:
        if metrics is None:
            return []
        images = metrics["image"]["images"]
        wrong = sum(metrics["image"]["confusion"][row][1 - row] for row in (0, 1))
        said = (
            "There is no folder of mistakes; dfdc-prep evaluate writes it."
            if wrong
            else f"Every image was predicted correctly, of {counted(images, 'image')}."
        )
        return [Section(title, [Text(said)])]
    groups = []
    for mistake in mistakes:
        row = mistake.row
        score = float(row.get("score") or "nan")
        line = f"{row.get('label')} with P(FAKE) {score:.4f}, frame {row.get('frame') or '–'}"
        groups.append(Group(_pictures(mistake), f"{line}, {row.get('part')}/{row.get('video')}"))
    note = "Bright places speak for FAKE (Grad-CAM). They show where the model looked, not why."
    caption = "The most confident mistakes, one of each clip: crop, heatmap and, if known, mask"
    texts = [Text(note), *_localization(metrics)]
    return [Section(title, [*texts, Groups(caption, groups)])]


def _localization(metrics: dict[str, Any] | None) -> list[Text]:
    """How much of the heatmaps lies on the masks; empty if there are none."""
    found = (metrics or {}).get("localization") or {}
    if not isinstance(found, dict) or not found.get("images"):
        return []
    return [
        Text(
            f"Of {found['images']:,} images with a forged face, the heatmap is largest on the mask "
            f"in {100 * found['pointing_game']:.1f} %; {100 * found['energy']:.1f} % of its energy "
            f"lies there. The masks cover {100 * found['area']:.1f} %."
        )
    ]


def _pictures(mistake: Mistake) -> list[Picture]:
    """The crop, the heatmap and perhaps the mask of a mistake, side by side in one image."""
    what = f"{mistake.row.get('label')} crop of {mistake.row.get('video')}"
    drawn = _pixels(mistake.image)
    if drawn is None:
        return [Picture(None, what)]
    height, width = drawn.shape[:2]
    parts = np.array_split(drawn, 3 if width >= 3 * height else 2, axis=1)
    names = (what, f"heatmap of the {what}", f"mask of the {what}: white is forged")
    return [Picture(thumbnail(part), name) for part, name in zip(parts, names, strict=False)]


def _pixels(path: Path) -> npt.NDArray[np.uint8] | None:
    try:
        if not path.is_file():
            return None
        with open_image(path, ("PNG",), max_pixels=4_000_000) as image:
            return None if image.width < 2 else to_rgb(image)
    except (OSError, ImageError):
        return None
