"""Locates YuNet's weights: a given file, the cache, or a download verified by its hash."""

import os
from pathlib import Path

from dfdc_prep.errors import ModelError

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
