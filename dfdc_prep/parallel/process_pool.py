"""Where the work runs: processes on this machine today.

Behind the same two calls, `submit` and `stop`, a cluster engine can stand. A worker that
dies is replaced by the pool and costs only the call it was running; a call that outlasts
its time is ended with its worker.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Collection
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, Protocol

from pebble import CONSTS, ProcessExpired, ProcessPool
from pebble.pool.process import WORKERS_NAME

from dfdc_prep.errors import WorkersError
from dfdc_prep.parallel.forkserver import nursery

#: What a worker may allocate, bytes; a clip that wants more fails alone.
MEMORY_LIMIT = 3 << 30

#: Raised by a call's future where its worker died.
WorkerDied = ProcessExpired
#: Raised by a call's future where the pool fell apart before a worker had taken the call.
PoolBroken = BrokenProcessPool
#: Pools that may fall apart, one after the other, before a run is given up.
_POOLS = 5
#: Seconds between two looks of the pool at its workers, and the least that stopping it takes.
CONSTS.sleep_unit = 0.02
#: Seconds between two looks at whether the pool still stands.
_LOOK = 1.0
#: Raised by a call's future where it took longer than allowed.
WorkerTimeout = TimeoutError


class Workers(Protocol):
    """Runs calls somewhere, several at a time."""

    @property
    def count(self) -> int:
        """How many calls run at once."""
        ...

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Run a picklable call; its future raises WorkerDied or WorkerTimeout where it ends so.

        PoolBroken means that the call was never begun and may be submitted again.

        Raises:
            WorkersError: no worker can be started, or none lives long enough to begin a call.
        """
        ...

    def wait(self, futures: "Collection[Future[Any]]") -> "set[Future[Any]]":
        """Those of the futures that are done, once one is."""
        ...

    def stop(self) -> None:
        """End all calls at once and every worker with them."""
        ...


class LocalWorkers:
    """Processes on this machine.

    Args:
        count: how many.
        timeout: seconds a call may take.
        prepare: called with `args` in every new worker.
    """

    def __init__(
        self, count: int, timeout: float, prepare: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        self.count = count
        self._timeout = timeout
        self._setup = (prepare, args)
        self._broken = 0
        self._open: set[Future[Any]] = set()
        self._begin()

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        try:
            return self._schedule(call, args)
        except RuntimeError:
            # A pool gives itself up where a worker dies that has no call yet.
            self._broken += 1
            if self._broken == _POOLS:
                raise WorkersError(
                    f"expected {self.count} worker processes to live, found that they died "
                    f"{_POOLS} times before their first clip; free some memory, allow more open "
                    "files and processes, or give fewer --workers"
                ) from None
            self.stop()
            self._give_up()
            self._begin()
            return self.submit(call, *args)

    def wait(self, futures: "Collection[Future[Any]]") -> "set[Future[Any]]":
        while True:
            done, _ = wait(futures, _LOOK, return_when=FIRST_COMPLETED)
            self._open -= done
            if any(future.exception() is None for future in done):
                self._broken = 0
            if done:
                return done
            if not self._pool.active:
                self._give_up()

    def stop(self) -> None:
        wait([self._beginning])
        self._pool.stop()  # type: ignore[no-untyped-call]
        # Ended before the pool takes away what a worker that is half begun would open.
        workers = [p for p in multiprocessing.active_children() if p.name == WORKERS_NAME]
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
        self._pool.join()

    def _give_up(self) -> None:
        """End the calls of a pool that is gone: it leaves some of them open for ever."""
        for future in self._open:
            with suppress(InvalidStateError):
                future.set_exception(PoolBroken())
        self._open.clear()

    def _begin(self) -> None:
        self._pool = ProcessPool(
            max_workers=self.count,
            context=nursery(),
            initializer=_prepare,
            initargs=self._setup,
        )
        # In a thread, since an interrupt reaches the main one alone: it must not find a worker
        # half begun that nobody knows of yet.
        thread = ThreadPoolExecutor(1)
        self._beginning = thread.submit(lambda: self._pool.active)
        thread.shutdown(wait=False)

    def _schedule(self, call: Callable[..., Any], args: tuple[Any, ...]) -> "Future[Any]":
        self._beginning.result()
        future: Future[Any] = self._pool.schedule(call, args=args, timeout=self._timeout)
        self._open.add(future)
        return future


def _prepare(prepare: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    prepare(*args)
