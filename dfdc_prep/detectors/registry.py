"""Which detector a run uses, decided once before the workers start."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.detectors import weights
from dfdc_prep.detectors.base import Detector
from dfdc_prep.errors import ModelError

AUTO = "auto"
DETECTORS = ("yunet", "hog", "cnn", "hog+cnn")


@dataclass(frozen=True)
class DetectorChoice:
    """A detector by name, with the weights it needs.

    Attributes:
        name: one of `DETECTORS`.
        model: path of YuNet's weights, None for the others.
        model_sha256: their SHA-256, pinned in `run.json`.
        why: one line for the user where `auto` decided, else None.
    """

    name: str
    model: str | None = None
    model_sha256: str | None = None
    why: str | None = None


def choose_detector(asked: str = AUTO, model: Path | None = None) -> DetectorChoice:
    """Settle on a detector; `auto` is YuNet where its weights are to be had, else HOG.

    Args:
        asked: `auto` or one of `DETECTORS`.
        model: YuNet's weights; else DFDC_PREP_YUNET, the cache, a download.

    Raises:
        ModelError: YuNet was asked for and its weights are not to be had.
    """
    if asked not in (AUTO, *DETECTORS):
        raise ModelError(
            f"expected a detector of {', '.join(DETECTORS)}, found {asked!r} noted by an earlier "
            "run; name one by --detector, or begin that run anew"
        )
    if asked not in (AUTO, "yunet"):
        return DetectorChoice(asked)
    named = model or os.environ.get(weights.PATH_VARIABLE)
    try:
        path = weights.given_weights(Path(named)) if named else weights.cached_weights()
    except ModelError as error:
        if named or asked == "yunet":
            raise
        return DetectorChoice("hog", why=f"detector hog, since yunet cannot be used: {error}")
    why = f"detector yunet, weights {path}" if asked == AUTO else None
    return DetectorChoice("yunet", str(path.resolve()), weights.sha256_of(path), why)


def make_detector(choice: DetectorChoice) -> Detector:
    """Load the chosen detector. Slow libraries are imported only for the one that needs them.

    Raises:
        ModelError: its weights or packages are missing.
    """
    if choice.name == "yunet":
        from dfdc_prep.detectors.yunet import YuNet

        return YuNet(Path(choice.model or ""))
    from dfdc_prep.detectors.dlib_detectors import Cnn, Hog, HogThenCnn

    makers: dict[str, Callable[[], Detector]] = {"hog": Hog, "cnn": Cnn, "hog+cnn": HogThenCnn}
    return makers[choice.name]()
