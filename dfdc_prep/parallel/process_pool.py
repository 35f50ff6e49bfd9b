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
from collections.abc import Callable, Collection
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
from typing import Any, Protocol

from pebble import CONSTS, ProcessExpired, ProcessPool
from pebble.pool.process import WORKERS_NAME

from dfdc_prep.errors import WorkersError
from dfdc_prep.parallel.forkserver import forkserver_context
from dfdc_prep.parallel.usage import Watch, usage_of

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
        timeout: CPU time that a call may use, seconds; see `usage.Watch`.
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
