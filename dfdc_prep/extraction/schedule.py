"""Submits the clips of the families to worker processes and collects their results.

A clip that times out, kills its worker or raises an unexpected exception fails alone: its
row in the clip log records the failure, and the other clips are not affected.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

from dfdc_prep.catalog.clips import Clip, Family
from dfdc_prep.errors import OutputError, SourceUnreachable, StorageError
from dfdc_prep.extraction.clip import ClipResult, CropOptions, Relatives
from dfdc_prep.extraction.family_queue import FamilyQueue
from dfdc_prep.extraction.transfer import Prefetcher, Transfer, missing
from dfdc_prep.extraction.worker import extract_in_worker
from dfdc_prep.parallel.processes import (
    MAX_ATTEMPTS,
    TASKS_PER_WORKER,
    PoolBroken,
    WorkerDied,
    Workers,
    WorkerTimeout,
)
from manifests.labels import TIMEOUT


@dataclass(frozen=True)
class _Task:
    """A clip that was submitted to a worker."""

    queue: FamilyQueue
    clip: Clip
    relatives: Relatives
    attempt: int


def extract_families(
    families: Iterable[Family],
    start: Callable[[], Workers],
    transfer: Transfer,
    options: CropOptions,
    timeout: float,
) -> Iterator[FamilyQueue]:
    """Process families in worker processes; yield each when all its clips are done.

    The largest families run first, so that the workers finish at about the same time.

    Args:
        start: starts the workers; `init_worker` prepares them.
        transfer: where the crops go.
        timeout: CPU time that a clip may use, seconds.

    Raises:
        OutputError: a worker cannot write below `out`.
        SourceUnreachable: the system cannot read a clip file.
        StorageError: a bucket cannot be reached or written.
        WorkersError: workers cannot be started, or keep dying before they begin a clip; a cluster
            is lost.
    """
    pool = start()
    prefetcher = Prefetcher(transfer, pool.count if pool.is_local else 0)
    try:
        largest_first = sorted(families, key=lambda family: (-family.size, family.name))
        yield from _Scheduler(pool, transfer, prefetcher, options, timeout).run(iter(largest_first))
    finally:
        prefetcher.close()
        pool.stop()


class _Scheduler:
    """Keeps the workers supplied with tasks and collects the results per family."""

    def __init__(
        self,
        workers: Workers,
        transfer: Transfer,
        prefetcher: Prefetcher,
        options: CropOptions,
        timeout: float,
    ) -> None:
        self._workers = workers
        self._transfer = transfer
        self._prefetcher = prefetcher
        self._options = options
        self._timeout = timeout
        self._open: list[FamilyQueue] = []
        self._tasks: dict[Future[ClipResult], _Task] = {}

    def run(self, families: Iterator[Family]) -> Iterator[FamilyQueue]:
        """Process the families in order; yield each when all its clips are done."""
        while True:
            self._fill_workers(families)
            # A family whose clips are all missing is finished without any task.
            yield from self._finished()
            if not self._tasks and not self._open:
                return
            for future in self._workers.wait(self._tasks.keys()):
                self._handle_result(future)
            yield from self._finished()

    def _fill_workers(self, families: Iterator[Family]) -> None:
        while len(self._tasks) < TASKS_PER_WORKER * self._workers.count:
            if not (self._start_next_clip() or self._open_next_family(families)):
                return

    def _open_next_family(self, families: Iterator[Family]) -> bool:
        family = next(families, None)
        if family is None:
            return False
        self._open.append(FamilyQueue(family, self._options.share_boxes, self._options.compare))
        return True

    def _start_next_clip(self) -> bool:
        """Submit the next clip that can run, or record it as missing; False if there is none."""
        for queue in self._open:
            if ready := queue.next_clip():
                clip, relatives = ready
                if clip.size is None:
                    queue.record_result(clip, missing(clip, self._options))
                else:
                    self._submit(_Task(queue, clip, relatives, 1))
                return True
        return False

    def _submit(self, task: _Task) -> None:
        self._prefetcher.start(task.clip)
        future = self._workers.submit(extract_in_worker, task.clip, task.relatives)
        self._tasks[future] = task

    def _handle_result(self, future: Future[ClipResult]) -> None:
        task = self._tasks.pop(future)
        try:
            result = future.result()
        except PoolBroken:
            self._submit(task)
            return
        except WorkerDied:
            if task.attempt < MAX_ATTEMPTS:
                self._submit(replace(task, attempt=task.attempt + 1))
                return
            result = self._failure(task, "crashed", f"its worker died {MAX_ATTEMPTS} times")
        except WorkerTimeout:
            used = f"not finished within {self._timeout:g} s of CPU time"
            result = self._failure(task, TIMEOUT, f"{used}; raise --timeout")
        except (SourceUnreachable, StorageError):
            raise
        except OSError as error:
            raise OutputError(
                f"expected to write crops below {self._transfer.out}, found "
                f"{error.strerror or error}; free disk space and run the same command again"
            ) from error
        except Exception as error:  # a fault of this code costs its clip, not the run
            result = self._failure(task, "crashed", f"{type(error).__name__}: {error}")
        self._prefetcher.discard(task.clip)
        task.queue.record_result(task.clip, result)

    def _failure(self, task: _Task, status: str, reason: str) -> ClipResult:
        """Remove the clip's crops and return its failure; raise if its file is unreachable."""
        version = self._transfer.reachable_version(task.clip)
        self._transfer.remove_crops(task.clip)
        text = f"{task.clip.video}: {reason}".splitlines()[0]
        return ClipResult(status, text, self._options.frames, version=version)

    def _finished(self) -> Iterator[FamilyQueue]:
        """Remove the families that are done from the open ones, and yield them."""
        done = [queue for queue in self._open if queue.done]
        self._open = [queue for queue in self._open if not queue.done]
        yield from done
