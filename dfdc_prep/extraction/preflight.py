"""Checks in a worker on another machine that its work will be that of this machine.

A clip that such a worker could not read would otherwise look damaged, and crops made by other
versions would differ.
"""

import os
import platform
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors.registry import DetectorChoice, find_model
from dfdc_prep.errors import DfdcPrepError, WorkersError
from dfdc_prep.extraction.clip import CropOptions
from dfdc_prep.extraction.transfer import Transfer
from dfdc_prep.extraction.worker import init_worker
from dfdc_prep.output_folder import package_versions
from dfdc_prep.storage.urls import is_url

#: Prefix of the files that a check writes into the output folder.
_PREFIX = ".preflight"
_ATTEMPTS, _BACKOFF = 3, 1.0


@dataclass(frozen=True)
class Expected:
    """What a worker must find on its machine.

    Attributes:
        versions: of Python and of the packages that affect the crops.
        clip: a clip that it must be able to read; None if the run has none.
        token: name of a file in the output folder, which shows that the folder is the same one;
            None in a bucket.
    """

    versions: dict[str, str]
    clip: Clip | None
    token: str | None


@contextmanager
def expectation(transfer: Transfer, clips: Iterable[Clip]) -> Iterator[Expected]:
    """Yield what the workers must find; the token exists while they may start."""
    clip = next((clip for clip in clips if clip.size is not None), None)
    if not isinstance(transfer.out, Path):
        yield Expected(_versions(), clip, None)
        return
    token = f"{_PREFIX}-{uuid.uuid4().hex}"
    path = transfer.out / token
    path.touch()
    try:
        yield Expected(_versions(), clip, token)
    finally:
        with suppress(OSError):
            path.unlink()


def init_remote_worker(
    expected: Expected, transfer: Transfer, options: CropOptions, choice: DetectorChoice
) -> None:
    """Check this machine, then set up a worker process on it.

    Raises:
        WorkersError, ModelError: a version, the weights, the source or the output folder is not
            that of the machine that runs the command.
    """
    found = _versions()
    for name in sorted(expected.versions.keys() | found):
        wanted = expected.versions.get(name, "none")
        if found.get(name, "none") != wanted:
            raise WorkersError(f"expected {name} {wanted}, found {found.get(name, 'none')}")
    local = find_model(choice)
    _retrying(partial(_check_folders, transfer, expected))
    init_worker(transfer, options, local)


def _versions() -> dict[str, str]:
    return {"Python": platform.python_version(), **package_versions()}


def _check_folders(transfer: Transfer, expected: Expected) -> None:
    """Check that this machine has the same source and output folder as the one of the command."""
    clip = expected.clip
    transfer.check_access(clip)
    if clip is not None and not is_url(clip.path):
        found = os.stat(clip.path).st_size
        if found != clip.size:
            raise WorkersError(f"expected {clip.size:,} bytes in {clip.path}, found {found:,}")
    if not isinstance(transfer.out, Path) or expected.token is None:
        return
    if not (transfer.out / expected.token).exists():
        raise WorkersError(f"expected the same folder at {transfer.out}, found another or none")
    probe = transfer.out / f"{_PREFIX}-{uuid.uuid4().hex}"
    probe.touch()
    probe.unlink()


def _retrying(check: Callable[[], None]) -> None:
    """Try a check several times: a disk or a bucket may be out of reach for a moment."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            check()
            return
        except (DfdcPrepError, OSError):
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_BACKOFF * attempt)
