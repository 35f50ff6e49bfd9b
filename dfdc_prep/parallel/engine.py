"""The engines that run the workers: processes on this machine, or a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfdc_prep.errors import WorkersError

if TYPE_CHECKING:
    from dfdc_prep.parallel.processes import Setup, Workers

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)


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
                "add --engine ray, or omit these options"
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
