"""Moves clips and crops between a bucket and the scratch folder of the machine that works on them.

A clip is fetched whole, because its index lies at its end, and removed when it is done. The
scheduler's process fetches the clips that wait for a worker; a worker on another machine fetches
its own. A worker writes the crops of a clip into scratch and puts them when the clip is done.
"""

import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from dfdc_prep.catalog.clips import Clip
from dfdc_prep.detectors.base import Detector
from dfdc_prep.errors import SourceUnreachable, StorageError
from dfdc_prep.extraction.clip import ClipResult, CropOptions, Relatives, extract_clip
from dfdc_prep.extraction.crops_out import CROPS, crop_files, crop_folder
from dfdc_prep.storage.place import open_place
from dfdc_prep.storage.urls import Location, Url, is_url
from dfdc_prep.video.source_file import check_reachable, file_version

#: Seconds between two looks at whether a clip has been fetched.
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Transfer:
    """Where clips come from and crops go; sent to the workers.

    Attributes:
        out: the output folder.
        scratch: a folder for what is under way; None if neither clips nor crops are in a bucket.
        host: the machine on which `scratch` is removed at the end.
    """

    out: Location
    scratch: Path | None = None
    host: str = field(default_factory=socket.gethostname)

    def extract(
        self, clip: Clip, options: CropOptions, detector: Detector, relatives: Relatives
    ) -> ClipResult:
        """Extract one clip where it lies; see `extract_clip`. Runs in a worker.

        Raises:
            StorageError: a bucket cannot be reached or written.
        """
        if isinstance(self.out, Path) and self.scratch is None:
            version = self._version(clip)  # before it is decoded: it may be replaced
            result = extract_clip(clip, self.out, options, detector, relatives)
            return replace(result, version=version)
        with ExitStack() as stack:
            try:
                here = stack.enter_context(self._staged(clip))
            except FileNotFoundError:  # only of the clip: a lost output is no fault of the clip's
                return missing(clip, options)
            folder = stack.enter_context(self._crops_folder(clip))
            staged = self._staged_relatives(relatives)
            others = [stack.enter_context(self._kept(each)) for each in relatives.others]
            staged = replace(staged, others=tuple(each for each in others if each))
            version = self._version(clip)
            result = extract_clip(here, folder, options, detector, staged)
            result = replace(result, version=version)
            if isinstance(self.out, Url):
                names = crop_files(result.rows)
                open_place(self.out).put({n: (folder / n).read_bytes() for n in names})
        if result.boxes:
            result = replace(result, boxes=replace(result.boxes, origin=clip))
        return result

    def check_access(self, clip: Clip | None) -> None:
        """Read a clip and write an object as the work will; for a check before it starts.

        Raises:
            FileNotFoundError: the clip is not there.
            SourceUnreachable, StorageError: a place cannot be reached or written.
        """
        if clip is not None:
            with self._staged(clip) as here:
                check_reachable(Path(here.path))
        if isinstance(self.out, Url):
            name = f".check-{_process()}"
            place = open_place(self.out)
            place.put({name: b""})
            place.remove([name])

    def reachable_version(self, clip: Clip) -> str | None:
        """Check that the file of a clip that failed exists, and return its version.

        Raises:
            SourceUnreachable, StorageError: it does not, or cannot be reached.
        """
        if not is_url(clip.path):
            return self._version(clip)
        folder, name = _object(clip)
        if name not in open_place(folder).list(name):
            raise SourceUnreachable(
                f"expected to read {clip.path}, found no such object; run the same command again"
            )
        return clip.version

    def _version(self, clip: Clip) -> str | None:
        return clip.version if is_url(clip.path) else file_version(Path(clip.path))

    def remove_crops(self, clip: Clip) -> None:
        """Remove the crops of a clip that failed."""
        if isinstance(self.out, Path):
            shutil.rmtree(crop_folder(self.out, clip), ignore_errors=True)
            return
        place = open_place(self.out)
        place.remove(place.list(f"{CROPS}/{clip.part}/{clip.folder}"))

    def staged_path(self, clip: Clip) -> Path:
        """The path of a clip's copy; it keeps the clip's name, which hints at its format."""
        assert self.scratch is not None
        key = hashlib.sha256(clip.path.encode()).hexdigest()[:32]
        return self.scratch / "clips" / key / Path(clip.path).name

    @contextmanager
    def _staged(self, clip: Clip) -> Iterator[Clip]:
        """Yield the clip with the path of its copy, which is removed at the end."""
        if not is_url(clip.path):
            yield clip
            return
        path = self.staged_path(clip)
        try:
            self._fetch_once(clip, path)
            yield replace(clip, path=str(path))
        finally:
            path.unlink(missing_ok=True)

    def _fetch_once(self, clip: Clip, path: Path) -> None:
        """Fetch a clip, unless it is there, or on its way."""
        path.parent.mkdir(parents=True, exist_ok=True)
        while fetching_mark(path).exists() and not path.exists():
            time.sleep(_POLL_SECONDS)
        if not path.exists():
            fetch(clip, path)

    @contextmanager
    def _kept(self, clip: Clip) -> Iterator[Clip | None]:
        """Yield a clip whose turn comes later with the path of its copy; None if it is gone.

        The copy is kept until then, but on the other machines of a cluster, on which another may
        have that turn.
        """
        if not is_url(clip.path):
            yield clip
            return
        path = self.staged_path(clip)
        try:
            self._fetch_once(clip, path)
        except FileNotFoundError:
            yield None
            return
        try:
            yield replace(clip, path=str(path))
        finally:
            if socket.gethostname() != self.host:
                path.unlink(missing_ok=True)

    def _staged_relatives(self, relatives: Relatives) -> Relatives:
        """Fetch the original that a fake is compared with, unless it is the last one fetched."""
        original, boxes = relatives.original, relatives.boxes
        if original is None or not is_url(original.path):
            return relatives
        path = self.staged_path(original)
        path = path.parents[2] / f"original-{_process()}" / path.parent.name / path.name
        if not path.exists():
            shutil.rmtree(path.parents[1], ignore_errors=True)
            path.parent.mkdir(parents=True)
            try:
                fetch(original, path)
            except FileNotFoundError as error:
                raise SourceUnreachable(
                    f"expected to read {original.path} once more, found that it was removed; run "
                    "the same command again"
                ) from error
        here = replace(original, path=str(path))
        if boxes and boxes.origin == original:
            boxes = replace(boxes, origin=here)
        return replace(relatives, boxes=boxes, original=here)

    @contextmanager
    def _crops_folder(self, clip: Clip) -> Iterator[Path]:
        """Yield the folder below which the crops are written."""
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


class Prefetcher:
    """Fetches clips that wait for a worker, a few at a time.

    Args:
        transfer: knows where their copies go.
        count: clips fetched at the same time; 0 if the workers are on other machines.
    """

    def __init__(self, transfer: Transfer, count: int) -> None:
        self._transfer = transfer
        self._threads = ThreadPoolExecutor(count) if count else None
        self._fetches: dict[str, Future[None]] = {}

    def start(self, clip: Clip) -> None:
        """Begin to fetch a clip; returns at once. A failure is left to the worker to report."""
        if self._threads is None or not is_url(clip.path):
            return
        path = self._transfer.staged_path(clip)
        # A clip that is tried again may still be on its way, or be there.
        earlier = self._fetches.get(clip.path)
        if earlier and (not earlier.done() or path.exists()):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fetching_mark(path).touch()
        self._fetches[clip.path] = self._threads.submit(self._fetch, clip, path)

    def discard(self, clip: Clip) -> None:
        """Remove what is left here of a clip that is done."""
        fetch = self._fetches.pop(clip.path, None)
        if fetch is None:
            return
        path = self._transfer.staged_path(clip)
        if fetch.cancel():
            fetching_mark(path).unlink(missing_ok=True)
        else:
            fetch.add_done_callback(lambda _: path.unlink(missing_ok=True))

    def close(self) -> None:
        """Fetch nothing more."""
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, clip: Clip, path: Path) -> None:
        try:
            with suppress(OSError, StorageError, SourceUnreachable):
                fetch(clip, path)
        finally:
            fetching_mark(path).unlink(missing_ok=True)


def _process() -> str:
    """Identify this process among those that may share the scratch folder, on any machine."""
    return f"{socket.gethostname()}-{os.getpid()}"


def missing(clip: Clip, options: CropOptions) -> ClipResult:
    """The result of a clip that metadata names and that is not there."""
    reason = f"expected {clip.video} in {clip.part}, found no such file"
    return ClipResult("missing", reason, options.frames, version=clip.version)


def fetch(clip: Clip, path: Path) -> None:
    """Copy a clip to a path, whole.

    Raises:
        FileNotFoundError: it does not exist.
        SourceUnreachable: it has another size than when it was listed.
        StorageError: it cannot be reached.
    """
    folder, name = _object(clip)
    open_place(folder).fetch(name, path)
    if clip.size is not None and path.stat().st_size != clip.size:
        found = path.stat().st_size
        path.unlink()
        raise SourceUnreachable(
            f"expected {clip.size:,} bytes in {clip.path}, found {found:,}: the object was "
            "replaced; run the same command again"
        )


def fetching_mark(path: Path) -> Path:
    """The file that exists while the scheduler's process fetches a clip."""
    return path.with_name(".fetching")


def _object(clip: Clip) -> tuple[Url, str]:
    url = Url(clip.path)
    return url.parent, url.name
