"""Finds the worker processes of a run from outside."""

import os
from contextlib import suppress

import psutil

_FORKSERVER = "multiprocessing.forkserver"


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    """The worker processes below a process (default: this one): children of its fork server."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid or os.getpid()).children(recursive=True):
            with suppress(psutil.Error):
                if _is_forkserver(child) and _is_forkserver(psutil.Process(child.ppid())):
                    found.append(child)
    return found


def forkserver_of(pid: int) -> list[psutil.Process]:
    """The fork server of a process, empty if it has not started one."""
    with suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children() if _is_forkserver(child)]
    return []


def _is_forkserver(process: psutil.Process) -> bool:
    """Whether a process is a fork server or was forked from one: both share a command line."""
    return _FORKSERVER in " ".join(process.cmdline())
