"""Runs one call per task in worker processes; a task whose worker dies or hangs fails alone."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from dfdc_prep.parallel.process_pool import PoolBroken, WorkerDied, Workers, WorkerTimeout

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
