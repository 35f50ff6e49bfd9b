"""A thread pool that cancels all its work on the first failure or interrupt."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from types import TracebackType
from typing import TypeVar

from dfdc_prep.parallel.cpu_count import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cancelled(Exception):
    """Raised in a worker thread to cancel it; never escapes the pool."""


class ThreadPool:
    """A pool of worker threads.

    Args:
        workers: number of threads, None for one per available core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._executor = ThreadPoolExecutor(workers or available_cores())
        self._cancelled = Event()

    def __enter__(self) -> "ThreadPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._cancelled.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def map(
        self, work: Callable[["ThreadPool", Item], Result], items: Iterable[Item]
    ) -> list[Result]:
        """Call `work(pool, item)` for every item and return the results in item order.

        Raises:
            Exception: the first failure, raised as soon as it happens.
        """
        futures = [self._executor.submit(work, self, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for failed in (future for future in futures if future in done and future.exception()):
            self._cancelled.set()
            failed.result()
        return [future.result() for future in futures]

    def check_cancelled(self) -> None:
        """Raise `Cancelled` if the pool is stopping; worker functions call it once per record."""
        if self._cancelled.is_set():
            raise Cancelled
