"""Sends the clips of the families to the workers, and takes what comes back, whatever it is.

A clip that hangs, kills its worker or finds a fault in this code costs its own row and
nothing else.
"""

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.detectors import DetectorChoice
from dfdc_prep.errors import OutputError, SourceUnreachable
from dfdc_prep.extraction.clip import Boxes, ClipResult, CropOptions, crop_folder
from dfdc_prep.extraction.family_queue import FamilyWork
from dfdc_prep.extraction.worker import extract_here, prepare
from dfdc_prep.parallel.process_pool import (
    LocalWorkers,
    PoolBroken,
    WorkerDied,
    Workers,
    WorkerTimeout,
)
from dfdc_prep.video.source_file import check_reachable

#: Times a clip is tried whose worker died.
TRIES = 2
#: Clips handed out per worker: one runs, one waits, so that no worker does.
_AHEAD = 2


@dataclass(frozen=True)
class _Flight:
    """A clip on its way through a worker."""

    work: FamilyWork
    clip: Clip
    boxes: Boxes | None
    attempt: int


def conduct(
    families: Iterable[Family],
    out: Path,
    options: CropOptions,
    choice: DetectorChoice,
    workers: int,
    timeout: float,
) -> Iterator[FamilyWork]:
    """Run families through worker processes, and yield each when all its clips are done.

    The largest come first, so that at the end no worker is long alone.

    Args:
        workers: how many processes.
        timeout: seconds a clip may take.

    Raises:
        OutputError: a worker cannot write below `out`.
        SourceUnreachable: a clip cannot be read, through no fault of its bytes.
        WorkersError: workers cannot be started, or do not live.
    """
    pool = LocalWorkers(workers, timeout, prepare, (out, options, choice))
    try:
        largest_first = sorted(families, key=lambda family: (-family.size, family.name))
        yield from _Conductor(pool, out, options, timeout).run(iter(largest_first))
    finally:
        pool.stop()


class _Conductor:
    def __init__(self, workers: Workers, out: Path, options: CropOptions, timeout: float) -> None:
        self._workers = workers
        self._out = out
        self._options = options
        self._timeout = timeout
        self._open: list[FamilyWork] = []
        self._flights: dict[Future[ClipResult], _Flight] = {}

    def run(self, families: Iterator[Family]) -> Iterator[FamilyWork]:
        while True:
            self._hand_out(families)
            # A missing clip is done without having flown.
            yield from self._landed()
            if not self._flights and not self._open:
                return
            for future in self._workers.wait(self._flights.keys()):
                self._take(future)
            yield from self._landed()

    def _hand_out(self, families: Iterator[Family]) -> None:
        while len(self._flights) < _AHEAD * self._workers.count:
            if not (self._send_one() or self._open_next(families)):
                return

    def _open_next(self, families: Iterator[Family]) -> bool:
        family = next(families, None)
        if family is None:
            return False
        self._open.append(FamilyWork(family, self._options.share_boxes))
        return True

    def _send_one(self) -> bool:
        for work in self._open:
            if task := work.next_clip():
                clip, boxes = task
                if clip.size is None:
                    reason = f"expected {clip.video} in {clip.part}, found no such file"
                    work.take(clip, ClipResult("missing", reason, self._options.frames))
                else:
                    self._send(_Flight(work, clip, boxes, 1))
                return True
        return False

    def _send(self, flight: _Flight) -> None:
        future = self._workers.submit(extract_here, flight.clip, flight.boxes)
        self._flights[future] = flight

    def _take(self, future: Future[ClipResult]) -> None:
        flight = self._flights.pop(future)
        try:
            result = future.result()
        except PoolBroken:
            self._send(flight)
            return
        except WorkerDied:
            if flight.attempt < TRIES:
                self._send(_Flight(flight.work, flight.clip, flight.boxes, flight.attempt + 1))
                return
            result = self._failed(flight, "crashed", f"its worker died {TRIES} times")
        except WorkerTimeout:
            result = self._failed(
                flight, "timeout", f"not done in {self._timeout:g} s; give more by --timeout"
            )
        except SourceUnreachable:
            raise
        except OSError as error:
            raise OutputError(
                f"expected to write crops below {self._out}, found {error.strerror or error}; "
                "make room and run the same command again"
            ) from error
        except Exception as error:
            result = self._failed(flight, "crashed", f"{type(error).__name__}: {error}")
        flight.work.take(flight.clip, result)

    def _failed(self, flight: _Flight, status: str, reason: str) -> ClipResult:
        """The result of a clip that ended its worker, if its source is there still."""
        check_reachable(Path(flight.clip.path))
        shutil.rmtree(crop_folder(self._out, flight.clip), ignore_errors=True)
        text = f"{flight.clip.video}: {reason}".splitlines()[0]
        return ClipResult(status, text, self._options.frames)

    def _landed(self) -> Iterator[FamilyWork]:
        done = [work for work in self._open if work.done]
        self._open = [work for work in self._open if not work.done]
        yield from done
