"""YuNet's weights: a given file, the cache, or one checked download."""

import hashlib
import os
from pathlib import Path

from dfdc_prep.errors import ModelError

FILE_NAME = "face_detection_yunet_2026may.onnx"
SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
URL = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{FILE_NAME}"
#: Seconds to wait for the other side before going on without.
PATIENCE = 4.0

PATH_VARIABLE = "DFDC_PREP_YUNET"
URL_VARIABLE = "DFDC_PREP_YUNET_URL"


def given_weights(path: Path) -> Path:
    """A file the user named. Other weights than the known ones are allowed, and recorded.

    Raises:
        ModelError: there is no such file.
    """
    if not path.is_file():
        raise ModelError(
            f"expected YuNet's weights at {path}, found no file; "
            f"download {URL} to it, or leave --detector-model out"
        )
    return path


def cached_weights() -> Path:
    """The known weights from the cache, fetched into it at first use.

    The address can be changed by DFDC_PREP_YUNET_URL; the hash cannot.

    Raises:
        ModelError: not cached, and not reachable or altered on the way.
    """
    import pooch  # here, since workers are told the path and need no downloads

    pooch.get_logger().setLevel("WARNING")
    cache = Path(pooch.os_cache("dfdc-prep"))
    try:
        return Path(
            pooch.retrieve(
                os.environ.get(URL_VARIABLE, URL),
                known_hash=f"sha256:{SHA256}",
                fname=FILE_NAME,
                path=cache,
                downloader=pooch.HTTPDownloader(timeout=PATIENCE),
            )
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"expected YuNet's weights in {cache} or to fetch, found {_reason(error)}; "
            f"give a copy by --detector-model or {PATH_VARIABLE}, or use --detector hog"
        ) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "a file with another SHA-256 at the other end"
    return f"no connection ({type(error).__name__})"
