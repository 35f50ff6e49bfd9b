"""The engines that run the workers: processes on this machine, or a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfdc_prep.errors import WorkersError
from dfdc_prep.parallel.threads import available_cores

if TYPE_CHECKING:
    from dfdc_prep.parallel.processes import Workers

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)
#: A function that prepares a worker, and its arguments.
Setup = tuple[Callable[..., None], tuple[Any, ...]]


@dataclass(frozen=True)
class Engine:
    """Where workers run.

    Attributes:
        name: one of `ENGINES`.
        address: of the Ray cluster's head, host:port; None or `auto` for the cluster that this
            machine is a node of.
        insecure: accept a Ray cluster that does not ask for a token.
    """

    name: str = LOCAL
    address: str | None = None
    insecure: bool = False

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

    ray = connect(engine)
    try:
        yield
    finally:
        ray.shutdown()


def start_workers(
    engine: Engine,
    count: int | None,
    calls: int,
    timeout: float,
    setup: Setup,
) -> "Workers":
    """Start the workers of an engine that is connected.

    Args:
        count: number of workers; None for one per core, of this machine or of the cluster.
        calls: number of calls expected; more workers are not started.
        timeout: CPU time that a call may use, seconds; see `usage.Watch`.
        setup: a function that prepares every new worker, and its arguments.

    Raises:
        WorkersError: a node of the Ray cluster is not fit for the work.
    """
    most = max(1, calls)
    if engine.name == LOCAL:
        from dfdc_prep.parallel.processes import LocalWorkers

        return LocalWorkers(min(count or available_cores(), most), timeout, *setup)
    from dfdc_prep.parallel.ray_workers import RayWorkers

    return RayWorkers(min(count, most) if count else most, timeout, *setup)
