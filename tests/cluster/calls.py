"""Runs calls on the Ray cluster whose address is given, and prints what became of each as JSON.

Started by the tests as a program, so that the functions below are sent to the nodes by value.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

TIMEOUT = 3.0


def nothing() -> None:
    """Prepare no worker."""


def exit_at_once() -> None:
    os._exit(1)


def hang_in_c() -> None:
    """Hang with the interpreter's lock held, so that no Python code runs."""
    import ctypes

    ctypes.PyDLL("libc.so.6").sleep(600)


def fill_memory() -> int:
    return len(bytearray(8 << 30))


def refuse() -> None:
    from dfdc_prep.errors import ClipError

    raise ClipError("expected a clip", "truncated")


def fail_once(mark: str) -> str:
    """Raise an input/output error at the first attempt."""
    if not os.path.exists(mark):
        open(mark, "x").close()
        raise OSError(5, "Input/output error")
    return "read"


def double(number: int) -> int:
    return 2 * number


def main(address: str, mark: str) -> None:
    from dfdc_prep.parallel.engine import Engine, connected
    from dfdc_prep.parallel.ray_workers import RayWorkers

    stack = ExitStack()
    stack.enter_context(connected(Engine("ray", address)))
    workers = RayWorkers(2, TIMEOUT, nothing, ())
    calls: dict[str, tuple[Callable[..., Any], *tuple[Any, ...]]] = {
        "dies": (exit_at_once,),
        "hangs": (hang_in_c,),
        "too much memory": (fill_memory,),
        "raises": (refuse,),
        "input/output error": (fail_once, mark),
        "works": (double, 21),
    }
    began = time.monotonic()
    futures: dict[Future[Any], str] = {workers.submit(*call): name for name, call in calls.items()}
    ends = {}
    while futures:
        for future in workers.wait(futures.keys()):
            error = future.exception()
            ends[futures.pop(future)] = type(error).__name__ if error else future.result()
    ends["seconds"] = time.monotonic() - began
    workers.stop()
    stack.close()
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    main(*sys.argv[1:])
