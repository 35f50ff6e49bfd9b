"""Selects the detector of a run and its weights, once before the workers start; loads it in each.

Importing this module is cheap. To add a detector, write a module with a class that implements
`base.Detector`, and name it in `DETECTORS` and `make_detector`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_prep.errors import ModelError
from manifests.files import file_sha256
from manifests.folders import path_meant

if TYPE_CHECKING:
    from dfdc_prep.detectors.base import Detector

AUTO = "auto"
DETECTORS = ("yunet", "hog", "cnn", "hog+cnn", "bright-hog+cnn")
#: What `auto` takes without YuNet's weights: it missed least in dark frames, docs/extract.md.
FALLBACK = "bright-hog+cnn"
#: Those that find landmarks.
LANDMARK_DETECTORS = ("yunet",)

#: YuNet's weights.
FILE_NAME = "face_detection_yunet_2026may.onnx"
SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
_URL = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{FILE_NAME}"
#: Timeout of the download in seconds.
_TIMEOUT = 4.0
#: Environment variables with the path of the weights, and with another URL for the same file.
PATH_VARIABLE, URL_VARIABLE = "DFDC_PREP_YUNET", "DFDC_PREP_YUNET_URL"


@dataclass(frozen=True)
class DetectorChoice:
    """The detector of a run and its weights."""

    name: str  # one of `DETECTORS`
    model: str | None = None  # path of YuNet's weights, None for other detectors
    model_sha256: str | None = None  # hexadecimal SHA-256 of the weights, recorded in `run.json`
    # what was found in the place of YuNet's weights if `auto` fell back for want of them, else None
    missing: str | None = None

    def __str__(self) -> str:
        if self.missing:
            return f"{self.name}, since YuNet's weights are missing"
        return f"{self.name}, weights {self.model}" if self.model else self.name

    def advice(self) -> list[tuple[str, str]]:
        """How to get the weights that are missing, as names and what is said; none if none are."""
        if not self.missing:
            return []
        return [
            ("YuNet's weights", f"missing: {self.missing}, none in {_cache()}"),
            ("download", _URL),
            ("SHA-256", SHA256),
            ("give the file by", f"--detector-model FILE, or {PATH_VARIABLE}=FILE"),
            ("without it", f"detector {self.name}, which takes longer: docs/extract.md"),
        ]


def choose_detector(requested: str = AUTO, model: Path | None = None) -> DetectorChoice:
    """Choose a detector; `auto` means YuNet if its weights are available, else `FALLBACK`.

    Args:
        requested: `auto` or one of `DETECTORS`.
        model: path of YuNet's weights, which may have another hash than `SHA256`. If None, the
            environment variable DFDC_PREP_YUNET, the cache and a download are tried in this order.

    Raises:
        ModelError: the name is unknown, or YuNet's weights were requested explicitly and are
            not available.
    """
    if requested not in (AUTO, *DETECTORS):
        raise ModelError(
            f"expected one of the detectors {', '.join(DETECTORS)}, found {requested!r} recorded "
            "by an earlier run; give another one with --detector, or start that run again"
        )
    if requested not in (AUTO, "yunet"):
        return DetectorChoice(requested)
    given = model or os.environ.get(PATH_VARIABLE)
    if given:
        path = Path(given)
        if not path.is_file():
            raise ModelError(
                f"expected YuNet's weights at {path}, found no file; "
                + (
                    path_meant(path)
                    or f"download {_URL} to that path, or leave out --detector-model"
                )
            )
    else:
        try:
            path = _cached_weights()
        except _NoWeights as found:
            if requested == AUTO:
                return DetectorChoice(FALLBACK, missing=str(found))
            raise ModelError(
                f"expected YuNet's weights in {_cache()} or as a download, found {found}; download "
                f"{_URL} (SHA-256 {SHA256}) and give it by --detector-model or {PATH_VARIABLE}, or "
                f"use --detector {FALLBACK}"
            ) from found
    return DetectorChoice("yunet", str(path.resolve()), file_sha256(path))


def find_model(choice: DetectorChoice) -> DetectorChoice:
    """Return the choice of another machine with the path of the same weights on this one.

    Raises:
        ModelError: the weights are neither at the same path, nor named by DFDC_PREP_YUNET, nor in
            the cache; nothing is downloaded.
    """
    if choice.model is None:
        return choice
    for path in (choice.model, os.environ.get(PATH_VARIABLE), str(_cache() / FILE_NAME)):
        if path and os.path.isfile(path) and file_sha256(Path(path)) == choice.model_sha256:
            return replace(choice, model=path)
    raise ModelError(
        f"expected the weights with SHA-256 {choice.model_sha256}, found none at {choice.model}, "
        f"in {PATH_VARIABLE} or in the cache; copy them there"
    )


def make_detector(choice: DetectorChoice) -> "Detector":
    """Load the chosen detector, importing only the libraries that it needs.

    Raises:
        ModelError: its weights or packages are missing or invalid.
    """
    if choice.name == "yunet":
        from dfdc_prep.detectors.yunet import YuNet

        return YuNet(Path(choice.model or ""))
    from dfdc_prep.detectors.dlib_detectors import BrightHogThenCnn, Cnn, Hog, HogThenCnn

    constructors: dict[str, Callable[[], Detector]] = {
        "hog": Hog,
        "cnn": Cnn,
        "hog+cnn": HogThenCnn,
        "bright-hog+cnn": BrightHogThenCnn,
    }
    return constructors[choice.name]()


def _cache() -> Path:
    import pooch  # imported here because workers receive the path and never download

    return Path(pooch.os_cache("dfdc-prep"))


class _NoWeights(Exception):
    """The weights are neither in the cache nor to be had; the message says what was found."""


def _cached_weights() -> Path:
    """The path of the cached weights, which are downloaded at first use; their hash is checked."""
    import pooch

    from dfdc_prep.progress import tell

    pooch.get_logger().setLevel("WARNING")
    url = os.environ.get(URL_VARIABLE, _URL)
    if not (_cache() / FILE_NAME).exists():  # an address that does not answer takes its time
        tell(f"downloading YuNet's weights from {url}")
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=f"sha256:{SHA256}",
                fname=FILE_NAME,
                path=_cache(),
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
            )
        )
    except ValueError as error:
        raise _NoWeights("a downloaded file with another SHA-256") from error
    except OSError as error:
        raise _NoWeights(f"no connection ({type(error).__name__})") from error
