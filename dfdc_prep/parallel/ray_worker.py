"""Code that runs in a worker process of a Ray cluster. It imports neither Ray nor the engine."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from dfdc_prep.parallel.engine import Setup
from dfdc_prep.parallel.processes import limit_memory

#: What a call tells the driver: its worker is not fit for the run, the call began, its result,
#: the exception it raised.
UNFIT, STARTED, RESULT, RAISED = "unfit", "started", "result", "raised"
Message = tuple[str, Any]

#: Identifies the run that this process is prepared for.
_prepared: str | None = None


def prepare_once(run: str, load: Callable[[], Setup]) -> str | None:
    """Prepare this process for a run; return why it is not fit, None if it is.

    Args:
        run: identifies the run.
        load: returns the function that prepares the worker.
    """
    global _prepared
    if _prepared == run:
        return None
    try:
        limit_memory(_data_bytes())
        prepare, args = load()
        prepare(*args)
    except Exception as error:
        return str(error) or type(error).__name__
    _prepared = run
    return None


def perform(call: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[Message]:
    """Run a call; yield that it began, then its result or its exception.

    That it began comes with this process's number and the CPU time that it has used.
    """
    yield STARTED, (os.getpid(), time.process_time())
    try:
        result = call(*args)
    except Exception as error:
        yield RAISED, error
    else:
        yield RESULT, result


def _data_bytes() -> int:
    """Private memory that this process has mapped already, which is Ray's own."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
