"""Workers on the nodes of a Ray cluster: one Ray task per call.

Ray restarts nothing by itself. A call whose worker dies raises `WorkerDied`, as locally; a call
that was lost with its node, or whose node could not read or write a file, runs again elsewhere.
Each new worker process is checked before its first call. A node that fails the check when the run
starts is an error; one that joins later is excluded.
"""

import os
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from dfdc_prep.errors import SourceUnreachable, StorageError, WorkersError
from dfdc_prep.parallel.processes import Usage, Watch, WorkerDied, WorkerTimeout, limit_memory
from dfdc_prep.parallel.ray_cluster import Node, head_is_reachable, nodes

#: Seconds between two looks at the timeouts, and at the nodes.
_POLL_SECONDS, _NODES_SECONDS = 0.5, 5.0
#: Seconds after which a head that does not answer counts as lost. Ray waits for a minute, and then
#: ends the process.
_HEAD_LOST_SECONDS = 20.0
#: Seconds after which a call that was cancelled and has not ended is cancelled again.
_CANCEL_SECONDS = 30.0
#: Seconds that the check of a node may take, its start included.
_CHECK_SECONDS = 120.0
#: Attempts at a call that is lost with its node, or that cannot read or write a file.
_ATTEMPTS = 4
#: Seconds until the second attempt at a call; twice as long for each further one.
_BACKOFF = 1.0
#: Exceptions that are a fault of a node or a disk rather than of the call.
_RETRIED = (SourceUnreachable, StorageError, OSError)
#: What a call tells the driver: its worker is not fit for the run, the call began, its result,
#: the exception it raised.
_UNFIT, _STARTED, _RESULT, _RAISED = "unfit", "started", "result", "raised"


@dataclass(eq=False)
class _Call:
    """A call that was submitted. Times are by the clock, seconds."""

    payload: bytes  # the pickled function and arguments
    future: "Future[Any]" = field(default_factory=Future)
    attempt: int = 1  # raised when the call runs again for no fault of its own
    due: float = 0.0  # when it is to be started
    watch: Watch | None = None  # of the worker that began it, None if none has
    worker: tuple[str, int] = ("", 0)  # its node and its process there
    looked: Any = None  # what the node is asked about the worker's usage
    cancelled: float | None = None  # when it was cancelled, since it took too long


class RayWorkers:
    """Worker processes on the nodes of the Ray cluster that this process is connected to.

    Args:
        most: maximum number of workers.
        timeout: CPU time that a call may use, seconds; see `processes.Watch`.
        prepare: called with `args` in every new worker; an exception means that its node is not
            fit for the run, which raises WorkersError if it is there at the start.
    """

    is_local = False

    def __init__(
        self, most: int, timeout: float, prepare: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        import ray

        self._ray: Any = ray
        self._most = most
        self._timeout = timeout
        self._running: dict[Any, _Call] = {}
        self._waiting: list[_Call] = []
        self._excluded: list[str] = []
        self._head_seen, self._head_lost = time.monotonic(), False
        setup = self._ray.cloudpickle.dumps((prepare, args))
        self._check, self._look, self._function = _remote_functions(
            self._ray, uuid.uuid4().hex, setup
        )
        self._perform = self._function
        self._nodes: list[Node] = []
        self._refresh_nodes()
        self._check_nodes()

    @property
    def count(self) -> int:
        return max(1, min(self._most, sum(node.cores for node in self._nodes)))

    def submit(self, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        submitted = _Call(self._ray.cloudpickle.dumps((call, args)))
        self._start(submitted)
        return submitted.future

    def wait(self, futures: "Collection[Future[Any]]") -> "set[Future[Any]]":
        while True:
            done = {future for future in futures if future.done()}
            if done:
                return done
            if time.monotonic() > self._nodes_due:
                self._refresh_nodes()
            now = time.monotonic()
            due = [call for call in self._waiting if call.due <= now]
            self._waiting = [call for call in self._waiting if call.due > now]
            for call in due:
                self._start(call)
            for task in self._ready():
                self._receive(task)
            self._cancel_overdue()

    def stop(self) -> None:
        for task in self._running if not self._head_lost else ():
            with suppress(Exception):
                self._ray.cancel(task, force=True)

    def _start(self, call: _Call) -> None:
        call.watch, call.looked, call.cancelled = None, None, None
        self._running[self._perform.remote(call.payload)] = call

    def _retry_later(self, call: _Call) -> None:
        call.due = time.monotonic() + _BACKOFF * 2 ** (call.attempt - 1)
        call.attempt += 1
        self._waiting.append(call)

    def _ready(self) -> list[Any]:
        """The tasks with a message to read; waits for one a short time."""
        tasks = list(self._running)
        if not tasks:
            time.sleep(_POLL_SECONDS / 10)
            return []
        ready, _ = self._ray.wait(tasks, num_returns=1, timeout=_POLL_SECONDS)
        if ready and len(tasks) > 1:
            ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
        return list(ready)

    def _receive(self, task: Any) -> None:
        """Take the next message of a task."""
        call = self._running[task]
        try:
            kind, value = self._ray.get(next(task))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            del self._running[task]
            self._handle_failure(call, error)
            return
        if kind == _STARTED:
            node, process, began = value
            call.worker = node, process
            call.watch = Watch(self._timeout, began)
            return
        del self._running[task]
        if kind == _UNFIT:
            self._exclude_node(*value)
            self._start(call)
        elif kind == _RAISED and isinstance(value, _RETRIED) and call.attempt < _ATTEMPTS:
            self._retry_later(call)
        elif kind == _RAISED:
            call.future.set_exception(value)
        else:
            call.future.set_result(value)

    def _handle_failure(self, call: _Call, error: Exception) -> None:
        """Handle a call that ended without a result."""
        known = self._ray.exceptions
        # A large result is kept on its node until it is read, and is lost with it.
        if isinstance(error, known.NodeDiedError | known.OutOfMemoryError | known.ObjectLostError):
            if call.attempt < _ATTEMPTS:
                self._retry_later(call)
                return
        elif call.cancelled is not None:
            call.future.set_exception(WorkerTimeout())
            return
        elif isinstance(error, known.RayTaskError):  # such as a result that cannot be pickled
            call.future.set_exception(error)
            return
        elif not isinstance(error, known.WorkerCrashedError | StopIteration):
            text = " ".join(str(error).split())[:400]
            raise WorkersError(
                f"expected the Ray cluster to run a task, found {type(error).__name__}: {text}; "
                "run the same command again to resume"
            ) from error
        call.future.set_exception(WorkerDied(type(error).__name__))  # type: ignore[no-untyped-call]

    def _cancel_overdue(self) -> None:
        now = time.monotonic()
        for task, call in self._running.items():
            late = call.cancelled is not None or self._is_over(call, now)
            if late and (call.cancelled is None or now - call.cancelled > _CANCEL_SECONDS):
                # A plain cancel first would keep a later one with force from ending a call in C.
                call.cancelled = now
                self._ray.cancel(task, force=True)

    def _is_over(self, call: _Call, now: float) -> bool:
        """Whether a call takes too long, as far as its node has answered."""
        if call.watch is None or now - call.watch.moved < self._timeout:
            return False
        if call.looked is None:
            node, process = call.worker
            call.looked = self._look.options(**_on(node)).remote(process)
        if not self._ray.wait([call.looked], timeout=0)[0]:
            return False
        answer, call.looked = call.looked, None
        try:
            found = self._ray.get(answer)
        except self._ray.exceptions.RayError:  # the node is lost, as the call will be
            return False
        return call.watch.is_over(found and Usage(*found), now)

    def _refresh_nodes(self) -> None:
        self._nodes_due = time.monotonic() + _NODES_SECONDS
        if not head_is_reachable(self._ray):
            if time.monotonic() - self._head_seen > _HEAD_LOST_SECONDS:
                self._head_lost = True
                raise WorkersError(
                    "expected the head of the Ray cluster to answer, found that it is lost; start "
                    "the cluster again, then run the same command again to resume"
                )
            return
        self._head_seen = time.monotonic()
        found = nodes(self._ray)
        self._nodes = [node for node in found if node.id not in self._excluded]
        if not self._nodes:
            raise WorkersError(
                "expected a node of the Ray cluster with a free core, found none; run the same "
                "command again when there is one"
            )

    def _check_nodes(self) -> None:
        """Check all nodes at once; raise WorkersError for the first that is not fit."""
        answers = [(node, self._check.options(**_on(node.id)).remote()) for node in self._nodes]
        for node, answer in answers:
            if problem := self._problem(node, answer):
                raise WorkersError(
                    f"expected every node of the Ray cluster to be fit for this run, found node "
                    f"{node.address}: {problem}; correct it, or stop that node"
                )
        self._refresh_nodes()

    def _problem(self, node: Node, answer: Any) -> str | None:
        """Why a node is not fit, None if it is, or is found to have ended."""
        until = time.monotonic() + _CHECK_SECONDS
        while True:
            try:
                problem: str | None = self._ray.get(answer, timeout=_NODES_SECONDS)
                return problem
            except self._ray.exceptions.RayError as error:
                self._refresh_nodes()
                # A node that ended a moment ago still counts as alive for some time.
                if node not in self._nodes:
                    return None
                if time.monotonic() > until:
                    return f"no answer ({type(error).__name__})"
                if not isinstance(error, self._ray.exceptions.GetTimeoutError):
                    time.sleep(1.0)
                    answer = self._check.options(**_on(node.id)).remote()

    def _exclude_node(self, node: str, problem: str) -> None:
        """Send no more calls to a node that is not fit."""
        if node in self._excluded:
            return
        self._excluded.append(node)
        address = next((each.address for each in nodes(self._ray) if each.id == node), node)
        tqdm.write(f"node {address} is excluded: {problem}", file=sys.stderr)
        self._refresh_nodes()
        others = f"!in({','.join(self._excluded)})"
        self._perform = self._function.options(label_selector={"ray.io/node-id": others})


def _on(node: str) -> dict[str, Any]:
    """The options of a task that runs on one node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, False)}


def _remote_functions(ray: Any, run: str, setup: bytes) -> tuple[Any, Any, Any]:
    """The remote functions that check a node, look at a worker there, and perform a call.

    They are pickled by value, because they are local functions, so that they start even on a
    node without this package and can say so.
    """

    def check() -> str | None:
        try:
            from dfdc_prep.parallel.ray_workers import prepare_once
        except Exception as error:
            return f"dfdc-prep cannot be imported there ({type(error).__name__}: {error})"
        return prepare_once(run, setup)

    def look(process: int) -> tuple[float, bool] | None:
        from dfdc_prep.parallel import processes

        return processes.usage_of(process)

    def perform(payload: bytes) -> Iterator[tuple[str, Any]]:
        from ray import get_runtime_context

        node = get_runtime_context().get_node_id()
        if problem := check():
            yield _UNFIT, (node, problem)
            return
        from dfdc_prep.parallel.ray_workers import perform_call

        yield from perform_call(node, payload)

    once = {"max_retries": 0, "retry_exceptions": False}
    beside = ray.remote(num_cpus=0, **once)
    performing = ray.remote(num_cpus=1, num_returns="streaming", **once)(perform)
    return beside(check), beside(look), performing


#: Identifies the run that this process of a node is prepared for.
_prepared: str | None = None


def prepare_once(run: str, setup: bytes) -> str | None:
    """Prepare this process for a run by a pickled `Setup`; return why it is not fit, if so."""
    global _prepared
    if _prepared == run:
        return None
    from ray import cloudpickle

    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            sizes = [int(line.split()[1]) << 10 for line in status if line.startswith("VmData:")]
        limit_memory(sizes[0])  # Ray's own, private memory that is mapped already, is not counted
        prepare, args = cloudpickle.loads(setup)
        prepare(*args)
    except Exception as error:
        return str(error) or type(error).__name__
    _prepared = run
    return None


def perform_call(node: str, payload: bytes) -> Iterator[tuple[str, Any]]:
    """Run a call; yield that it began (where, and CPU time used before), then what came of it."""
    from ray import cloudpickle

    call, args = cloudpickle.loads(payload)
    yield _STARTED, (node, os.getpid(), time.process_time())
    try:
        result = call(*args)
    except Exception as error:
        yield _RAISED, error
    else:
        yield _RESULT, result
