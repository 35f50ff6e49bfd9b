"""Worker processes that run calls in parallel on this machine.

Another backend, such as a cluster scheduler, can implement the `Workers` protocol. The pool
replaces a worker that dies, so only the call it was running fails. A call that takes too long, by
what its worker uses, is ended together with its worker.
"""

import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from itertools import count as numbers
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pebble import CONSTS, ProcessExpired, ProcessPool
from pebble.pool.process import WORKERS_NAME

from dfdc_prep.errors import WorkersError
from dfdc_prep.parallel.forkserver import forkserver_context

#: Memory limit of a worker in bytes; a clip that needs more fails without affecting others.
MEMORY_LIMIT = 3 << 30

#: Raised by a call's future when its worker died.
WorkerDied = ProcessExpired
#: Raised by a call's future when the pool broke before a worker had started the call.
PoolBroken = BrokenProcessPool
#: Number of consecutive broken pools after which the run fails.
_MAX_BROKEN_POOLS = 5
#: Seconds between the pool's checks of its workers; stopping it takes at least as long.
CONSTS.sleep_unit = 0.02
#: Seconds between checks whether the pool is still active, and of what the calls have used.
_POLL_SECONDS = 1.0
#: Raised by a call's future when the call took too long.
WorkerTimeout = CancelledError
#: A worker's report that it begins a call: the call's number, its process, its CPU time so far.
_REPORT = struct.Struct("=QQd")


class Workers(Protocol):
    """Runs calls in parallel."""

    @property
    def count(self) -> int:
        """Number of calls that run at the same time."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether the workers run on this machine, and see its scratch folder."""
        ...

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Schedule a picklable call and return its future.

        The future raises WorkerDied if the worker died, WorkerTimeout if the call took too
        long, and PoolBroken if the call never started and may be submitted again.

        Raises:
            WorkersError: no worker can be started, or all die before they start a call.
        """
        ...

    def wait(self, futures: "Collection[Future[Any]]") -> "set[Future[Any]]":
        """Block until at least one future is done and return all that are."""
        ...

    def stop(self) -> None:
        """End all calls and all workers immediately."""
        ...


class LocalWorkers:
    """A pool of worker processes on this machine.

    Args:
        count: number of processes.
        timeout: CPU time that a call may use, seconds; see `Watch`.
        prepare: called with `args` in every new worker.
    """

    is_local = True

    def __init__(
        self, count: int, timeout: float, prepare: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        self.count = count
        self._timeout = timeout
        self._reports, reporter = multiprocessing.Pipe(duplex=False)
        self._initializer_args = (prepare, args, dict(os.environ), reporter)
        self._broken_pools = 0
        self._numbers = numbers()
        self._pending: dict[Future[Any], int] = {}
        self._watched: dict[int, tuple[int, Watch]] = {}
        self._looked = time.monotonic()
        self._start()

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        try:
            return self._schedule(call, args)
        except RuntimeError:
            # The pool breaks when an idle worker dies.
            self._broken_pools += 1
            if self._broken_pools == _MAX_BROKEN_POOLS:
                raise WorkersError(
                    f"expected {self.count} running worker processes, found that they died "
                    f"{_MAX_BROKEN_POOLS} times before their first clip; free memory, raise the "
                    "limits on open files and processes, or pass fewer --workers"
                ) from None
            self.stop()
            self._fail_pending()
            self._start()
            return self.submit(call, *args)

    def wait(self, futures: "Collection[Future[Any]]") -> "set[Future[Any]]":
        while True:
            done, _ = wait(futures, _POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._read_reports()
            for future in done:
                self._watched.pop(self._pending.pop(future, -1), None)
            self._cancel_overdue()
            if any(not each.cancelled() and each.exception() is None for each in done):
                self._broken_pools = 0
            if done:
                return done
            if not self._pool.active:
                self._fail_pending()

    def stop(self) -> None:
        wait([self._started])
        self._pool.stop()  # type: ignore[no-untyped-call]
        # Kill them before the pool removes files that a starting worker would open.
        workers = [p for p in multiprocessing.active_children() if p.name == WORKERS_NAME]
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
        self._pool.join()

    def _fail_pending(self) -> None:
        """Fail the pending calls of a broken pool, which would never complete otherwise."""
        for future in self._pending:
            with suppress(InvalidStateError):
                if not future.cancelled():
                    future.set_exception(PoolBroken())
                else:  # nobody else says so to those who wait
                    future.set_running_or_notify_cancel()
        self._pending.clear()
        self._watched.clear()

    def _read_reports(self) -> None:
        """Watch the calls that began."""
        while self._reports.poll():
            number, process, began = _REPORT.unpack(self._reports.recv_bytes())
            watch = Watch.start(self._timeout, began, time.monotonic())
            self._watched[number] = process, watch

    def _cancel_overdue(self) -> None:
        """End the calls that take too long, and their workers."""
        now = time.monotonic()
        if now - self._looked < _POLL_SECONDS:
            return
        self._looked = now
        for future, number in self._pending.items():
            process, watch = self._watched.get(number, (0, None))
            if watch and watch.is_over(usage_of(process), now):
                future.cancel()

    def _start(self) -> None:
        self._pool = ProcessPool(
            max_workers=self.count,
            context=forkserver_context(),
            initializer=_initialize_worker,
            initargs=self._initializer_args,
        )
        # Start the pool in a thread: only the main thread receives KeyboardInterrupt, which
        # could otherwise leave a started worker that the pool has not registered.
        thread = ThreadPoolExecutor(1)
        self._started = thread.submit(lambda: self._pool.active)
        thread.shutdown(wait=False)

    def _schedule(self, call: Callable[..., Any], args: tuple[Any, ...]) -> "Future[Any]":
        self._started.result()
        number = next(self._numbers)
        future: Future[Any] = self._pool.schedule(_report_and_call, args=(number, call, args))
        self._pending[future] = number
        return future


#: Where this worker reports the calls that it begins.
_reporter: Connection | None = None


def _report_and_call(number: int, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Report that a call begins, and run it."""
    assert _reporter is not None, "_initialize_worker was not called"
    _reporter.send_bytes(_REPORT.pack(number, os.getpid(), time.process_time()))
    return call(*args)


def _initialize_worker(
    prepare: Callable[..., None],
    args: tuple[Any, ...],
    environment: dict[str, str],
    reporter: Connection,
) -> None:
    """Restore the default SIGTERM action, limit the memory, and call `prepare`.

    Args:
        environment: the variables of the main process. The fork server has those of the moment
            when it started, so credentials that were set later would be missing.
    """
    global _reporter
    _reporter = reporter
    os.environ.update(environment)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    limit_memory()
    prepare(*args)


def limit_memory(used: int = 0) -> None:
    """Limit the memory of this process to MEMORY_LIMIT and what it has `used` already, bytes."""
    if sys.platform == "linux":
        import resource

        limit = MEMORY_LIMIT + used
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


#: A worker that uses less than this share of a core while it could run makes no progress.
_LEAST_SHARE = 0.01


class Usage(NamedTuple):
    """What a process has used.

    Attributes:
        cpu: seconds of CPU time of all its threads, in user and system mode.
        runnable: whether it is running or waiting for a core.
    """

    cpu: float
    runnable: bool


def usage_of(pid: int) -> Usage | None:
    """What a process of this machine has used; None if it has ended, or the system does not say."""
    if sys.platform != "linux":
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in brackets, may contain anything; state, ..., utime and stime follow (proc(5)).
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), fields[0] == "R")


@dataclass
class Watch:
    """Watches one call.

    Attributes:
        timeout: seconds of CPU time that the call may use, and seconds by the clock that its
            worker may pass without progress.
        began: CPU time that the worker had used when the call began.
        moved: time by the clock of its last progress.
        cpu: CPU time that it had used then.
    """

    timeout: float
    began: float
    moved: float
    cpu: float

    @classmethod
    def start(cls, timeout: float, began: float, now: float) -> "Watch":
        """Watch a call that begins."""
        return cls(timeout, began, now, began)

    def is_over(self, usage: Usage | None, now: float) -> bool:
        """Whether the call takes too long; where the system says nothing, the clock decides."""
        if usage is not None:
            if usage.cpu - self.began > self.timeout:
                return True
            if usage.runnable or usage.cpu - self.cpu > _LEAST_SHARE * self.timeout:
                self.moved, self.cpu = now, usage.cpu
        return now - self.moved > self.timeout


Task = TypeVar("Task")
Result = TypeVar("Result")

#: Number of attempts at a task whose worker dies.
MAX_ATTEMPTS = 2
#: Tasks submitted per worker: one runs, one waits, so that no worker is idle.
TASKS_PER_WORKER = 2


class TaskRun(Generic[Task, Result]):
    """Calls a function for every task, a few at a time.

    Args:
        workers: the pool.
        call: a picklable function of one task.
    """

    def __init__(self, workers: Workers, call: Callable[[Task], Result]) -> None:
        self._workers = workers
        self._call = call
        self._running: dict[Future[Result], tuple[Task, int]] = {}

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Yield each task with its result as it finishes.

        The result is None if the task's worker timed out, or died in every attempt.

        Raises:
            WorkersError: workers cannot be started.
            Exception: what a call raised.
        """
        waiting = iter(tasks)
        while True:
            self._fill(waiting)
            if not self._running:
                return
            for future in self._workers.wait(self._running.keys()):
                yield from self._finish(future)

    def _fill(self, waiting: Iterator[Task]) -> None:
        while len(self._running) < TASKS_PER_WORKER * self._workers.count:
            for task in waiting:
                self._submit(task, 1)
                break
            else:
                return

    def _submit(self, task: Task, attempt: int) -> None:
        future: Future[Any] = self._workers.submit(self._call, task)
        self._running[future] = task, attempt

    def _finish(self, future: "Future[Result]") -> Iterator[tuple[Task, Result | None]]:
        task, attempt = self._running.pop(future)
        result: Result | None = None
        try:
            result = future.result()
        except PoolBroken:
            self._submit(task, attempt)
            return
        except WorkerDied:
            if attempt < MAX_ATTEMPTS:
                self._submit(task, attempt + 1)
                return
        except WorkerTimeout:
            pass
        yield task, result
