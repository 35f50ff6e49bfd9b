"""Threads: how many, a pool that ends on the first failure or interrupt, a count of records."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from threading import Event, Lock
from typing import TypeVar

from dfdc_prep.progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return the cores this process may use, respecting CPU affinity (container, scheduler)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Cancelled(Exception):
    """Raised in a worker thread to cancel it; never escapes the pool."""


class ThreadPool(AbstractContextManager["ThreadPool"]):
    """A pool of worker threads.

    Args:
        workers: number of threads, None for one per available core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._executor = ThreadPoolExecutor(workers or available_cores())
        self._cancelled = Event()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
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


class RecordBar(AbstractContextManager["RecordBar"]):
    """Counts records and their bytes, from any thread."""

    def __init__(self, name: str, records: int | None) -> None:
        self._bar = Progress(records, "records", name)
        self._lock = Lock()
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count one record of `size` bytes."""
        with self._lock:
            self._bytes += size
            if not self._bar.disable:
                elapsed = self._bar.format_dict["elapsed"] or 1e-9
                self._bar.set_postfix_str(f"{self._bytes / elapsed / 1e6:.0f} MB/s", refresh=False)
            self._bar.update()

    def __exit__(self, *_: object) -> None:
        self._bar.close()
