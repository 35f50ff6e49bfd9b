"""Worker processes that run calls in parallel on this machine, and tasks for them.

The pool replaces a worker that dies, so only the call it was running fails. A call that takes too
long is ended together with its worker. On a machine that is busy with other work, a healthy clip
takes any time by the clock. So a call may use so many seconds of CPU time; and a worker that
neither uses any nor waits for a core hangs.
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
from itertools import count as numbers
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pebble import CONSTS, ProcessExpired, ProcessPool
from pebble.pool.process import WORKERS_NAME

from dfdc_prep.errors import WorkersError
from dfdc_prep.parallel.engine import forkserver_context
from manifests.wording import counted

#: A function that prepares a worker, and its arguments.
Setup = tuple[Callable[..., None], tuple[Any, ...]]
#: Memory limit of a worker in bytes; a clip that needs more fails without affecting others.
MEMORY_LIMIT = 3 << 30
#: Number of attempts at a task whose worker dies.
MAX_ATTEMPTS = 2

#: Raised by a call's future: its worker died; it took too long; the pool broke before a worker
#: had started it.
WorkerDied, WorkerTimeout, PoolBroken = ProcessExpired, CancelledError, BrokenProcessPool
#: Tasks submitted per worker: one runs, one waits, so that no worker is idle.
_TASKS_PER_WORKER = 2
#: Number of consecutive broken pools after which the run fails.
_MAX_BROKEN_POOLS = 5
#: Seconds between the pool's checks of its workers; stopping it takes at least as long.
CONSTS.sleep_unit = 0.02
#: Seconds between checks whether the pool is still active, and of what the calls have used.
_POLL_SECONDS = 1.0
#: A worker's report that it begins a call: the call's number, its process, its CPU time so far.
_REPORT = struct.Struct("=QQd")
#: A worker that uses less than this share of a core while it could run makes no progress.
_LEAST_SHARE = 0.01

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers(Protocol):
    """Runs calls in parallel, on this machine or others."""

    is_local: bool  # whether the workers run on this machine, and see its scratch folder

    @property
    def count(self) -> int:
        """Number of calls that run at the same time."""
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


class Usage(NamedTuple):
    """What a process has used."""

    cpu: float  # seconds of CPU time of all its threads, in user and system mode
    runnable: bool  # whether it is running or waiting for a core


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


class Watch:
    """Watches a call that begins now.

    Args:
        timeout: seconds of CPU time, and seconds by the clock without progress.
        began: CPU time that the worker has used already.
    """

    def __init__(self, timeout: float, began: float) -> None:
        self._timeout, self._began = timeout, began
        self.moved = time.monotonic()  # its last progress, by the clock
        self._cpu = began  # what the worker had used then

    def is_over(self, usage: Usage | None, now: float) -> bool:
        """Whether the call takes too long; where the system says nothing, the clock decides."""
        if usage is not None:
            if usage.cpu - self._began > self._timeout:
                return True
            if usage.runnable or usage.cpu - self._cpu > _LEAST_SHARE * self._timeout:
                self.moved, self._cpu = now, usage.cpu
        return now - self.moved > self._timeout


class LocalWorkers:
    """A pool of `count` worker processes on this machine.

    Args:
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
        while True:
            number = next(self._numbers)
            try:
                self._started.result()
                future: Future[Any] = self._pool.schedule(_report_and_call, (number, call, args))
            except RuntimeError as error:  # the pool breaks when an idle worker dies
                self._broken_pools += 1
                if self._broken_pools == _MAX_BROKEN_POOLS:
                    raise WorkersError(
                        f"expected {counted(self.count, 'running worker process')}, found that "
                        f"they died {_MAX_BROKEN_POOLS} times before their first clip; free "
                        "memory, raise the limits on open files and processes, or give fewer "
                        "--workers"
                    ) from error
                self.stop()
                self._fail_pending()
                self._start()
            else:
                self._pending[future] = number
                return future

    def wait(self, futures: "Collection[Future[Any]]") -> "set[Future[Any]]":
        while True:
            done, _ = wait(futures, _POLL_SECONDS, return_when=FIRST_COMPLETED)
            while self._reports.poll():
                number, process, began = _REPORT.unpack(self._reports.recv_bytes())
                self._watched[number] = process, Watch(self._timeout, began)
            for future in done:
                self._watched.pop(self._pending.pop(future, -1), None)
            now = time.monotonic()
            if now - self._looked >= _POLL_SECONDS:  # end calls that take too long, with the worker
                self._looked = now
                for future, number in self._pending.items():
                    process, watch = self._watched.get(number, (0, None))
                    if watch and watch.is_over(usage_of(process), now):
                        future.cancel()
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

    def _start(self) -> None:
        prepare = self._initializer_args[0]
        self._pool = ProcessPool(
            max_workers=self.count,
            context=forkserver_context(prepare.__module__),
            initializer=_initialize_worker,
            initargs=self._initializer_args,
        )
        # Start the pool in a thread: only the main thread receives KeyboardInterrupt, which
        # could otherwise leave a started worker that the pool has not registered.
        thread = ThreadPoolExecutor(1)
        self._started = thread.submit(lambda: self._pool.active)
        thread.shutdown(wait=False)


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
    global _reporter
    _reporter = reporter
    # The fork server has those of the moment when it started, without credentials set later.
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


class Tasks(Generic[Task]):
    """Calls under way, each for a task; one whose worker dies, or which never began, runs again."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._running: dict[Future[Any], tuple[Task, tuple[Any, ...], int]] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_full(self) -> bool:
        """Whether no worker needs another task."""
        return len(self) >= _TASKS_PER_WORKER * self._workers.count

    def submit(self, task: Task, *call: Any, attempt: int = 1) -> None:
        """Submit the call of a task: a picklable function and its arguments."""
        self._running[self._workers.submit(*call)] = task, call, attempt

    def finished(self) -> "Iterator[tuple[Task, Future[Any]]]":
        """Wait until at least one call ends; yield the tasks that are over, with their futures."""
        for future in self._workers.wait(self._running.keys()):
            task, call, attempt = self._running.pop(future)
            error = None if future.cancelled() else future.exception()
            if isinstance(error, PoolBroken):
                self.submit(task, *call, attempt=attempt)
            elif isinstance(error, WorkerDied) and attempt < MAX_ATTEMPTS:
                self.submit(task, *call, attempt=attempt + 1)
            else:
                yield task, future


def run_tasks(
    workers: Workers, call: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result | None]]:
    """Call a picklable function for every task, a few at a time; yield each as it finishes.

    The result is None if the task's worker timed out, or died in every attempt.

    Raises:
        WorkersError: workers cannot be started.
        Exception: what a call raised.
    """
    running, waiting = Tasks[Task](workers), iter(tasks)
    while True:
        while not running.is_full:
            for task in waiting:
                running.submit(task, call, task)
                break
            else:
                break
        if not running:
            return
        for task, future in running.finished():
            result: Result | None = None
            with suppress(WorkerDied, WorkerTimeout):
                result = future.result()
            yield task, result
