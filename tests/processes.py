"""The processes of a run, seen from outside."""

import os
from contextlib import suppress

import psutil

_NURSERY = "multiprocessing.forkserver"


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    """The worker processes below a process, this one by default: the nursery's children."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid or os.getpid()).children(recursive=True):
            with suppress(psutil.Error):
                if _forked(child) and _forked(psutil.Process(child.ppid())):
                    found.append(child)
    return found


def nursery_of(pid: int) -> list[psutil.Process]:
    """The nursery of a process, where it has begun one."""
    with suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children() if _forked(child)]
    return []


def _forked(process: psutil.Process) -> bool:
    return _NURSERY in " ".join(process.cmdline())
