"""The engines that run the workers: processes on this machine, or a Ray cluster.

The processes come from a fork server. A worker started from scratch needs a quarter of a second to
import NumPy, OpenCV and FFmpeg, longer than many clips take. One that is forked from a server that
has imported them is ready at once, and so is the replacement for one that died. Forking the server
is safe because it has started no threads; forking the main process would not be.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfdc_prep.errors import WorkersError

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from dfdc_prep.parallel.processes import Setup, Workers

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)
#: Imported first by the fork server. Importing it acts on the process, so nothing else may.
_PARENT_DEATH = "dfdc_prep.parallel.parent_death"


@dataclass(frozen=True)
class Engine:
    """Where workers run."""

    name: str = LOCAL  # one of `ENGINES`
    address: str | None = None  # the Ray cluster's head, host:port; None for this machine's cluster
    insecure: bool = False  # accept a Ray cluster that does not ask for a token

    def __post_init__(self) -> None:
        if self.name == LOCAL and (self.address or self.insecure):
            raise WorkersError(
                "expected --engine ray with --address or --insecure-cluster, found --engine local; "
                "add --engine ray, or leave these options out"
            )


@contextmanager
def connected(engine: Engine) -> Iterator[None]:
    """Be connected to the cluster of an engine; the workers on this machine need none.

    Raises:
        WorkersError: the Ray cluster cannot be used.
    """
    if engine.name == LOCAL:
        yield
        return
    from dfdc_prep.parallel.ray_cluster import connect

    ray = connect(engine.address, engine.insecure)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def running_workers(
    engine: Engine, count: int | None, calls: int, timeout: float, setup: "Setup"
) -> "Iterator[Workers]":
    """Start the workers of an engine that is connected; stop them at the end.

    Args:
        count: number of workers; None for one per core, of this machine or of the cluster.
        calls: number of calls expected; more workers are not started.
        timeout: CPU time that a call may use, seconds; see `processes.Watch`.
        setup: a function that prepares every new worker, and its arguments.

    Raises:
        WorkersError: a node of the Ray cluster is not fit for the work.
    """
    workers: Workers
    if engine.name == LOCAL:
        from dfdc_prep.parallel.processes import LocalWorkers
        from dfdc_prep.parallel.threads import available_cores

        workers = LocalWorkers(min(count or available_cores(), max(1, calls)), timeout, *setup)
    else:
        from dfdc_prep.parallel.ray_workers import RayWorkers

        workers = RayWorkers(max(1, min(count or calls, calls)), timeout, *setup)
    try:
        yield workers
    finally:
        workers.stop()


def forkserver_context(module: str) -> "BaseContext":
    """Start the fork server if necessary and return its multiprocessing context.

    Call it early: the server imports in the background while the caller continues. Repeated
    calls are cheap. The project runs on systems that can fork; its file locks need one too.

    Args:
        module: the one whose functions the workers run; the server imports it for all of them.
    """
    import multiprocessing
    import signal
    from multiprocessing import forkserver, resource_tracker

    # Ctrl-C sends SIGINT to every process of the terminal, but only the main process should
    # handle it and stop the workers. The server inherits the blocked signal mask. Start the
    # resource tracker first, since starting it would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.set_forkserver_preload([_PARENT_DEATH, module])
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")
