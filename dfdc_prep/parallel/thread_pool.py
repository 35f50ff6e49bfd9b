"""Threads that work through a list; the first failure, or an interrupt, stops them all."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from types import TracebackType
from typing import TypeVar

from dfdc_prep.parallel.cpu_count import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """Raised inside a thread whose crew is going home; nobody else sees it."""


class Crew:
    """A pool of threads, one a core unless told otherwise."""

    def __init__(self, workers: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(workers or available_cores())
        self._stop = Event()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[["Crew", Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results in the order of the items.

        Raises:
            Exception: what an item failed with, at once and not when its turn comes.
        """
        futures = [self._pool.submit(work, self, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for failed in (future for future in futures if future in done and future.exception()):
            self._stop.set()
            failed.result()
        return [future.result() for future in futures]

    def check(self) -> None:
        """Leave the work if the crew is stopping; call it once a record."""
        if self._stop.is_set():
            raise Stopped
