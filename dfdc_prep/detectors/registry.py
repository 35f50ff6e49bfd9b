"""Selects the detector of a run, once before the workers start, and loads it in each worker."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dfdc_prep.detectors.base import Detector
from dfdc_prep.errors import ModelError
from manifests.files import file_sha256

AUTO = "auto"
DETECTORS = ("yunet", "hog", "cnn", "hog+cnn")
#: Those that find landmarks.
LANDMARK_DETECTORS = ("yunet",)


@dataclass(frozen=True)
class DetectorChoice:
    """The detector of a run and its weights.

    Attributes:
        name: one of `DETECTORS`.
        model: path of YuNet's weights, None for other detectors.
        model_sha256: hexadecimal SHA-256 of the weights, recorded in `run.json`.
        why: a one-line explanation for the user if `auto` was requested, else None.
    """

    name: str
    model: str | None = None
    model_sha256: str | None = None
    why: str | None = None


def choose_detector(requested: str = AUTO, model: Path | None = None) -> DetectorChoice:
    """Choose a detector; `auto` means YuNet if its weights are available, else HOG.

    Args:
        requested: `auto` or one of `DETECTORS`.
        model: path of YuNet's weights. If None, the environment variable DFDC_PREP_YUNET, the
            cache and a download are tried in this order.

    Raises:
        ModelError: the name is unknown, or YuNet's weights were requested explicitly and are
            not available.
    """
    if requested not in (AUTO, *DETECTORS):
        raise ModelError(
            f"expected one of the detectors {', '.join(DETECTORS)}, found {requested!r} recorded "
            "by an earlier run; pass another one with --detector, or start that run again"
        )
    if requested not in (AUTO, "yunet"):
        return DetectorChoice(requested)
    given = model or os.environ.get(PATH_VARIABLE)
    try:
        path = given_weights(Path(given)) if given else cached_weights()
    except ModelError as error:
        if given or requested == "yunet":
            raise
        return DetectorChoice("hog", why=f"detector hog, since yunet cannot be used: {error}")
    why = f"detector yunet, weights {path}" if requested == AUTO else None
    return DetectorChoice("yunet", str(path.resolve()), file_sha256(path), why)


def find_model(choice: DetectorChoice) -> DetectorChoice:
    """Return the choice of another machine with the path of the same weights on this one.

    Raises:
        ModelError: the weights are neither at the same path, nor named by DFDC_PREP_YUNET, nor in
            the cache; nothing is downloaded.
    """
    if choice.model is None:
        return choice
    places = [choice.model, os.environ.get(PATH_VARIABLE), str(cache_path())]
    for path in places:
        if path and os.path.isfile(path) and file_sha256(Path(path)) == choice.model_sha256:
            return replace(choice, model=path)
    raise ModelError(
        f"expected the weights with SHA-256 {choice.model_sha256}, found none at {choice.model}, "
        f"in {PATH_VARIABLE} or in the cache; copy them there"
    )


def make_detector(choice: DetectorChoice) -> Detector:
    """Load the chosen detector, importing only the libraries that it needs.

    Raises:
        ModelError: its weights or packages are missing or invalid.
    """
    if choice.name == "yunet":
        from dfdc_prep.detectors.yunet import YuNet

        return YuNet(Path(choice.model or ""))
    from dfdc_prep.detectors.dlib_detectors import Cnn, Hog, HogThenCnn

    constructors: dict[str, Callable[[], Detector]] = {
        "hog": Hog,
        "cnn": Cnn,
        "hog+cnn": HogThenCnn,
    }
    return constructors[choice.name]()


FILE_NAME = "face_detection_yunet_2026may.onnx"
SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
URL = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{FILE_NAME}"
#: Timeout of the download in seconds.
TIMEOUT = 4.0

PATH_VARIABLE = "DFDC_PREP_YUNET"
URL_VARIABLE = "DFDC_PREP_YUNET_URL"


def given_weights(path: Path) -> Path:
    """Check a path given by the user. The file may have another hash than `SHA256`.

    Raises:
        ModelError: the file does not exist.
    """
    if not path.is_file():
        raise ModelError(
            f"expected YuNet's weights at {path}, found no file; "
            f"download {URL} to that path, or omit --detector-model"
        )
    return path


def cache_path() -> Path:
    """Where the cache keeps the weights, whether or not they are there."""
    import pooch

    return Path(pooch.os_cache("dfdc-prep")) / FILE_NAME


def cached_weights() -> Path:
    """Return the path of the cached weights, downloading them at first use.

    The environment variable DFDC_PREP_YUNET_URL overrides the URL, but not the hash.

    Raises:
        ModelError: the weights are not cached and the download failed or has another hash.
    """
    import pooch  # imported here because workers receive the path and never download

    pooch.get_logger().setLevel("WARNING")
    cache = Path(pooch.os_cache("dfdc-prep"))
    try:
        return Path(
            pooch.retrieve(
                os.environ.get(URL_VARIABLE, URL),
                known_hash=f"sha256:{SHA256}",
                fname=FILE_NAME,
                path=cache,
                downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
            )
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"expected YuNet's weights in {cache} or as a download, found {_reason(error)}; "
            f"pass a copy with --detector-model or {PATH_VARIABLE}, or use --detector hog"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "a downloaded file with another SHA-256"
    return f"no connection ({type(error).__name__})"
