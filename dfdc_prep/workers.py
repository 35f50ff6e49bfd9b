"""Where the work runs: processes on this machine today.

Behind the same two calls, `submit` and `stop`, a cluster engine can stand. A worker that
dies is replaced by the pool and costs only the call it was running; a call that outlasts
its time is ended with its worker. Workers are spawned: forking after OpenCV, FFmpeg or
TensorFlow have started threads can hang the child.
"""

import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from pebble import ProcessExpired, ProcessPool

#: What a worker may allocate, bytes; a clip that wants more fails alone.
MEMORY_LIMIT = 3 << 30

#: Raised by a call's future where its worker died.
WorkerDied = ProcessExpired
#: Raised by a call's future where it took longer than allowed.
WorkerTimeout = TimeoutError


class Workers(Protocol):
    """Runs calls somewhere, several at a time."""

    @property
    def count(self) -> int:
        """How many calls run at once."""
        ...

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Run a picklable call; its future raises WorkerDied or WorkerTimeout where it ends so."""
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
        self._pool = ProcessPool(
            max_workers=count,
            context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=(prepare, args),
        )

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        future: Future[Any] = self._pool.schedule(call, args=args, timeout=self._timeout)
        return future

    def stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _prepare(prepare: Callable[..., None], args: tuple[Any, ...]) -> None:
    # An interrupt at the keyboard reaches the whole group: the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    prepare(*args)
