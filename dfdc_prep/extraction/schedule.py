"""The order of the clips: within a family, first the one that provides boxes; large families first.

A clip that times out, kills its worker or raises an unexpected exception fails alone: its
row in the clip log records the failure, and the other clips are not affected.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.errors import OutputError, SourceUnreachable, StorageError
from dfdc_prep.extraction.clip import (
    Boxes,
    ClipResult,
    CropOptions,
    Given,
    Relatives,
    missing_clip,
)
from dfdc_prep.extraction.worker import Transfer, extract_in_worker, fetch, fetching_mark
from dfdc_prep.parallel.processes import MAX_ATTEMPTS, Tasks, WorkerDied, Workers, WorkerTimeout
from dfdc_prep.storage.urls import is_url
from manifests.labels import FAKE, REAL, TIMEOUT

#: Statuses of an original that decodes, at least in part.
_DECODES = ("ok", "no_face", "truncated")


class FamilyQueue:
    """The clips of one family and their results; bookkeeping without I/O.

    With shared boxes, one clip runs at a time until one of them yields boxes with a face; the
    rest then run with these boxes. If fakes are compared with their original, they wait until it
    is done. Otherwise, all clips can run at once.
    """

    def __init__(self, family: Family, share_boxes: bool, compare: bool) -> None:
        self.family = family
        self.results: dict[Clip, ClipResult] = {}
        self._waiting = deque(family.clips)
        self._share = share_boxes
        self._compare = compare
        self._running = 0
        self._boxes: Boxes | None = None

    @property
    def done(self) -> bool:
        """Whether every clip has its result."""
        return len(self.results) == len(self.family.clips)

    def next_clip(self) -> tuple[Clip, Relatives] | None:
        """The next clip that can run now and what it needs to know; None if no clip can run."""
        if not self._waiting:
            return None
        clip = self._waiting[0]
        needs_boxes = self._share and not self._has_faces
        needs_original = (
            self._compare
            and clip.label == FAKE
            and any(
                other.label == REAL and other not in self.results for other in self.family.clips
            )
        )
        if self._running and (needs_boxes or needs_original):
            return None
        self._running += 1
        self._waiting.popleft()
        shares = self._share and self._boxes is None
        sharing = tuple(other for other in self._waiting if shares and other.size is not None)
        return clip, Relatives(self._boxes, self._original_of(clip), sharing)

    def record_result(self, clip: Clip, result: ClipResult) -> None:
        """Store the result of a clip, and its boxes if the family has none yet."""
        self._running -= 1
        self.results[clip] = result
        if not self._share or self._has_faces or not result.boxes:
            return
        # Boxes without a face still fix which frames of the other clips are sampled.
        if self._boxes is None or any(result.boxes.faces):
            self._boxes = result.boxes

    @property
    def _has_faces(self) -> bool:
        return self._boxes is not None and any(self._boxes.faces)

    def _original_of(self, clip: Clip) -> Clip | None:
        """The original that a fake is compared with, None if there is none that decodes.

        If the clip it was made from is itself a fake, that is the family's original.
        """
        if not self._compare or clip.label != FAKE:
            return None
        for name in (clip.original, self.family.name):
            named = [
                other
                for other, result in self.results.items()
                if other.label == REAL and result.status in _DECODES and other.video == name
            ]
            if named:
                return min(named, key=lambda other: (other.part != clip.part, other))
        return None


class Scheduler:
    """Keeps prepared workers supplied with clips and collects the results per family.

    Args:
        given: what is known of a clip, asked when its turn comes, so that clips share no boxes.
    """

    def __init__(
        self,
        workers: Workers,
        transfer: Transfer,
        options: CropOptions,
        timeout: float,
        given: Callable[[Clip], Given] | None = None,
    ) -> None:
        self._transfer = transfer
        self._options = options
        self._timeout = timeout
        self._given = given
        self._prefetcher = Prefetcher(transfer, workers.count if workers.is_local else 0)
        self._tasks = Tasks[tuple[FamilyQueue, Clip]](workers)
        self._open: list[FamilyQueue] = []

    def run(self, families: Iterable[Family]) -> Iterator[FamilyQueue]:
        """Process families; yield each when all its clips are done.

        The largest run first, so that the workers finish at about the same time.

        Raises:
            OutputError: a worker cannot write below the output folder.
            SourceUnreachable: the system cannot read a clip file.
            StorageError: a bucket cannot be reached or written.
            WorkersError: workers cannot be started, or keep dying before they begin a clip; a
                cluster is lost.
        """
        waiting = iter(sorted(families, key=lambda family: (-family.size, family.name)))
        try:
            while True:
                while not self._tasks.is_full:
                    if self._start_next_clip():
                        continue
                    family = next(waiting, None)
                    if family is None:
                        break
                    options = self._options
                    shared = options.share_boxes and self._given is None
                    self._open.append(FamilyQueue(family, shared, options.compare))
                if not self._tasks:  # families whose clips are all missing are done as well
                    yield from self._finished()
                    return
                for (queue, clip), future in self._tasks.finished():
                    queue.record_result(clip, self._result_of(clip, future))
                yield from self._finished()
        finally:
            self._prefetcher.close()

    def _start_next_clip(self) -> bool:
        """Submit the next clip that can run, or record it as missing; False if there is none."""
        for queue in self._open:
            if ready := queue.next_clip():
                clip, relatives = ready
                if clip.size is None:
                    queue.record_result(clip, missing_clip(clip, self._options))
                else:
                    if self._given:
                        relatives = replace(relatives, given=self._given(clip))
                    self._prefetcher.start(clip)
                    self._tasks.submit((queue, clip), extract_in_worker, clip, relatives)
                return True
        return False

    def _result_of(self, clip: Clip, future: "Future[ClipResult]") -> ClipResult:
        try:
            return future.result()
        except WorkerDied:
            return self._failure(clip, "crashed", f"its worker died {MAX_ATTEMPTS} times")
        except WorkerTimeout:
            used = f"not finished within {self._timeout:g} s of CPU time"
            return self._failure(clip, TIMEOUT, f"{used}; raise --timeout")
        except (SourceUnreachable, StorageError):
            raise
        except OSError as error:
            raise OutputError(
                f"expected to write crops below {self._transfer.out}, found "
                f"{error.strerror or error}; free disk space and run the same command again"
            ) from error
        except Exception as error:  # a fault of this code costs its clip, not the run
            return self._failure(clip, "crashed", f"{type(error).__name__}: {error}")
        finally:
            self._prefetcher.discard(clip)

    def _failure(self, clip: Clip, status: str, reason: str) -> ClipResult:
        """Remove the clip's crops and return its failure; raise if its file is unreachable."""
        version = self._transfer.reachable_version(clip)
        self._transfer.remove_crops(clip)
        text = f"{clip.video}: {reason}".splitlines()[0]
        return ClipResult(status, text, self._options.frames_of(clip), version=version)

    def _finished(self) -> Iterator[FamilyQueue]:
        """Remove the families that are done from the open ones, and yield them."""
        done = [queue for queue in self._open if queue.done]
        self._open = [queue for queue in self._open if not queue.done]
        yield from done


class Prefetcher:
    """Fetches clips that wait for a worker, `count` at a time; 0 for workers elsewhere."""

    def __init__(self, transfer: Transfer, count: int) -> None:
        self._transfer = transfer
        self._threads = ThreadPoolExecutor(count) if count else None
        self._fetches: dict[str, Future[None]] = {}

    def start(self, clip: Clip) -> None:
        """Begin to fetch a clip; returns at once. A failure is left to the worker to report."""
        if self._threads is None or not is_url(clip.path):
            return
        path = self._transfer.copy_of(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # it is there if the length of the clip was needed before
            fetching_mark(path).touch()

            def fetch_marked() -> None:
                try:
                    with suppress(OSError, StorageError, SourceUnreachable):
                        fetch(clip, path)
                finally:
                    fetching_mark(path).unlink(missing_ok=True)

            self._fetches[clip.path] = self._threads.submit(fetch_marked)

    def discard(self, clip: Clip) -> None:
        """Remove what is left here of a clip that is done."""
        if self._threads is None or not is_url(clip.path):
            return
        path, earlier = self._transfer.copy_of(clip), self._fetches.pop(clip.path, None)
        if earlier is None or earlier.cancel():
            fetching_mark(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        else:
            earlier.add_done_callback(lambda _: path.unlink(missing_ok=True))

    def close(self) -> None:
        """Fetch nothing more."""
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
