"""What a worker process does with a clip: fetch it, extract it, put its crops.

A clip in a bucket is fetched whole, because its index lies at its end, and removed when it is done.
The crops for a bucket are written into scratch and put when the clip is done. A worker on another
machine checks first that its work will be that of the machine of the command: a clip that it could
not read would otherwise look damaged, and crops made by other versions would differ.
"""

import hashlib
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from dfdc_prep import __version__
from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors.registry import DetectorChoice, find_model, make_detector
from dfdc_prep.errors import DfdcPrepError, SourceUnreachable, WorkersError
from dfdc_prep.extraction.clip import (
    ClipExtractor,
    ClipResult,
    CropOptions,
    Relatives,
    missing_clip,
)
from dfdc_prep.extraction.crops_out import CROPS, crop_files, crop_folder
from dfdc_prep.parallel.confinement import confine
from dfdc_prep.storage.place import Place
from dfdc_prep.storage.urls import Location, Url, is_url
from dfdc_prep.video.source_file import check_reachable, clip_size, file_version

if TYPE_CHECKING:
    from dfdc_prep.parallel.processes import Setup

#: Seconds between two looks at whether a clip has been fetched.
_POLL_SECONDS = 0.005
#: Packages that affect the output.
_RECORDED_PACKAGES = [
    "av",
    "dlib-bin",
    "dlib",
    "face_recognition",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
]
#: Prefix of the files that a check writes into the output folder.
_PREFIX = ".preflight"
#: Attempts at a check, since a disk or a bucket may be out of reach for a moment, and their pause.
_ATTEMPTS, _BACKOFF = 3, 1.0


@dataclass(frozen=True)
class Transfer:
    """Where clips come from and crops go; sent to the workers."""

    out: Location  # the output folder
    scratch: Path | None = None  # for what is under way; None without a bucket
    host: str = field(default_factory=socket.gethostname)  # removes `scratch` at the end

    @contextmanager
    def fetched(self, clip: Clip, keep: bool = False) -> Iterator[Clip]:
        """Yield a clip with the path of its file on this machine; a copy is removed at the end.

        To `keep` it leaves the copy for the clip's turn, but not on the other machines of a
        cluster, on which another may have that turn. Raises as `fetch`.
        """
        if not is_url(clip.path):
            yield clip
            return
        path = self.copy_of(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            while fetching_mark(path).exists() and not path.exists():
                time.sleep(_POLL_SECONDS)
            if not path.exists():
                fetch(clip, path)
            yield replace(clip, path=str(path))
        finally:
            if not keep or socket.gethostname() != self.host:
                path.unlink(missing_ok=True)

    def fetch_beside(self, clip: Clip, kind: str) -> Clip:
        """Fetch the original or the mask video of a fake, unless it is the last one fetched."""
        if not is_url(clip.path):
            return clip
        path = self.copy_of(clip, f"{kind}-{_process()}")
        if not path.exists():
            shutil.rmtree(path.parents[1], ignore_errors=True)
            path.parent.mkdir(parents=True)
            try:
                fetch(clip, path)
            except FileNotFoundError as error:
                raise SourceUnreachable(
                    f"expected to read {clip.path} once more, found that it was removed; run "
                    "the same command again"
                ) from error
        return replace(clip, path=str(path))

    def copy_of(self, clip: Clip, folder: str = "clips") -> Path:
        """The path of a clip's copy; it keeps the clip's name, which hints at its format."""
        assert self.scratch is not None
        key = hashlib.sha256(clip.path.encode()).hexdigest()[:32]
        return self.scratch / folder / key / Path(clip.path).name

    @contextmanager
    def crops_folder(self, clip: Clip) -> Iterator[Path]:
        """Yield the folder below which the crops of a clip are written."""
        if isinstance(self.out, Path):
            yield self.out
            return
        assert self.scratch is not None
        folder = self.scratch / f"crops-{_process()}"
        (folder / CROPS).mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(crop_folder(folder, clip), ignore_errors=True)

    def put(self, folder: Path, names: Iterable[str]) -> None:
        """Put what was written into the folder for crops where it belongs."""
        if isinstance(self.out, Url):
            Place(self.out).put({name: (folder / name).read_bytes() for name in names})

    def remove_crops(self, clip: Clip) -> None:
        """Remove the crops of a clip that failed."""
        if isinstance(self.out, Path):
            shutil.rmtree(crop_folder(self.out, clip), ignore_errors=True)
        else:
            place = Place(self.out)
            place.remove(place.list(f"{CROPS}/{clip.part}/{clip.folder}"))

    def reachable_version(self, clip: Clip) -> str | None:
        """Return the version of a clip that failed; SourceUnreachable if its file is gone."""
        if is_url(clip.path):
            url = Url(clip.path)
            if url.name not in Place(url.parent).list(url.name):
                raise SourceUnreachable(
                    f"expected to read {url}, found no such object; run the same command again"
                )
        return version_of(clip)

    def check_access(self, clip: Clip | None, token: str | None) -> None:
        """Check that this machine has the source and the output folder of the command.

        Args:
            clip: a clip of the run.
            token: a file in the output folder, which shows that it is the same; None in a bucket.

        Raises:
            WorkersError: it has others. Else an error of reading or writing.
        """
        if clip is not None:
            with self.fetched(clip) as here:
                check_reachable(Path(here.path))
                size = clip_size(Path(here.path))
            if size != clip.size:
                raise WorkersError(f"expected {clip.size:,} bytes in {clip.path}, found {size:,}")
        if isinstance(self.out, Url):
            name, place = f".check-{_process()}", Place(self.out)
            place.put({name: b""})
            place.remove([name])
        elif token is not None:
            if not (self.out / token).exists():
                raise WorkersError(f"expected the same folder at {self.out}, found another or none")
            probe = self.out / _new_name()
            probe.touch()
            probe.unlink()


def fetch(clip: Clip, path: Path) -> None:
    """Copy a clip from its bucket to a path, whole.

    Raises:
        FileNotFoundError: it does not exist.
        SourceUnreachable: it has another size than when it was listed.
        StorageError: it cannot be reached.
    """
    url = Url(clip.path)
    Place(url.parent).fetch(url.name, path)
    size = path.stat().st_size
    if clip.size is not None and size != clip.size:
        path.unlink()
        raise SourceUnreachable(
            f"expected {clip.size:,} bytes in {clip.path}, found {size:,}: the object was "
            "replaced; run the same command again"
        )


def fetching_mark(path: Path) -> Path:
    """The file that exists while the scheduler's process fetches a clip."""
    return path.with_name(".fetching")


def version_of(clip: Clip) -> str | None:
    """What tells the file of a clip from another of its size."""
    return clip.version if is_url(clip.path) else file_version(Path(clip.path))


def _process() -> str:
    """Identify this process among those that may share the scratch folder, on any machine."""
    return f"{socket.gethostname()}-{os.getpid()}"


#: What a worker process keeps between clips.
_worker: tuple[Transfer, ClipExtractor] | None = None


def init_worker(
    transfer: Transfer, options: CropOptions, choice: DetectorChoice | None, confined: bool = False
) -> None:
    """Set up a worker process: one OpenCV thread, one detector; confined, it writes crops only.

    It has no detector if the faces are given.
    """
    global _worker
    if confined and isinstance(transfer.out, Path):
        confine([transfer.out / CROPS])
    cv2.setNumThreads(1)
    _worker = transfer, ClipExtractor(options, make_detector(choice) if choice else None)


def extract_in_worker(clip: Clip, relatives: Relatives) -> ClipResult:
    """Fetch one clip, extract it and put its crops, with what this process has.

    Raises:
        StorageError: a bucket cannot be reached or written.
    """
    assert _worker is not None, "init_worker was not called"
    transfer, extractor = _worker
    with ExitStack() as stack:
        try:
            here = stack.enter_context(transfer.fetched(clip))
        except FileNotFoundError:  # only of the clip: a lost output is no fault of the clip's
            return missing_clip(clip, extractor.options)
        folder = stack.enter_context(transfer.crops_folder(clip))
        if relatives.original:
            original = transfer.fetch_beside(relatives.original, "original")
            relatives = replace(relatives, original=original)
        others = []
        for other in relatives.others:
            with suppress(FileNotFoundError):  # its own turn reports that it is gone
                others.append(stack.enter_context(transfer.fetched(other, keep=True)))
        relatives = replace(relatives, others=tuple(others))
        if here.mask_video:
            mask = transfer.fetch_beside(here.mask_video, "mask")
            here = replace(here, mask_video=mask)
        version = version_of(clip)  # before it is decoded: it may be replaced
        result = extractor.extract(here, folder, relatives)
        transfer.put(folder, crop_files(result.rows))
    return replace(result, version=version)


@dataclass(frozen=True)
class Expected:
    """What a worker must find on its machine."""

    versions: dict[str, str]  # of Python and of the packages that affect the crops
    clip: Clip | None  # one that it must be able to read; None if the run has none
    token: str | None  # see `Transfer.check_access`


@contextmanager
def worker_setup(
    prepared: tuple[Transfer, CropOptions, DetectorChoice | None],
    clips: Iterable[Clip],
    is_local: bool,
    confined: bool,
) -> "Iterator[Setup]":
    """Yield the function that prepares a worker, and its arguments.

    Workers on other machines look for a token in the output folder, which exists meanwhile.
    """
    if is_local:
        yield init_worker, (*prepared, confined)
        return
    clip = next((clip for clip in clips if clip.size is not None), None)
    out = prepared[0].out
    if isinstance(out, Url):
        yield init_remote_worker, (Expected(_versions(), clip, None), *prepared)
        return
    path = out / _new_name()
    path.touch()
    try:
        yield init_remote_worker, (Expected(_versions(), clip, path.name), *prepared)
    finally:
        with suppress(OSError):
            path.unlink()


def init_remote_worker(
    expected: Expected, transfer: Transfer, options: CropOptions, choice: DetectorChoice | None
) -> None:
    """Check this machine, then set up a worker process on it.

    Raises:
        WorkersError, ModelError: a version, the weights, the source or the output folder is not
            that of the machine that runs the command.
    """
    found = _versions()
    for name in sorted(expected.versions.keys() | found):
        wanted, here = expected.versions.get(name, "none"), found.get(name, "none")
        if here != wanted:
            raise WorkersError(f"expected {name} {wanted}, found {here}")
    choice = find_model(choice) if choice else None
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            transfer.check_access(expected.clip, expected.token)
            break
        except (DfdcPrepError, OSError):
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_BACKOFF * attempt)
    init_worker(transfer, options, choice)


def package_versions() -> dict[str, str]:
    """Return the versions, by name, of this project and of the packages that affect the output."""
    from importlib.metadata import version  # imported late: it would delay every worker

    found = {"dfdc-prep": __version__}
    for name in _RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except ImportError:  # PackageNotFoundError: only one of dlib and dlib-bin is installed
            continue
    return found


def _versions() -> dict[str, str]:
    return {"Python": platform.python_version(), **package_versions()}


def _new_name() -> str:
    return f"{_PREFIX}-{os.urandom(16).hex()}"
