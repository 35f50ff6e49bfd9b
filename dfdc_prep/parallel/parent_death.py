"""Imported in the nursery alone: whoever is forked there dies with it.

The pool of a nursery that died takes its workers for dead as well, and takes away what one
that is half begun would open. It would tell of that in a traceback, and be of no use.
"""

import ctypes
import os
import signal
import sys

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


class _Bond:
    """Ties the first process forked from here to this one; those it forks are its own."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._nursery: int | None = os.getpid()

    def tie(self) -> None:
        """Have the kernel end this process when its parent ends."""
        if self._nursery is None:
            return
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._nursery:  # it ended before the kernel knew
            os._exit(1)
        self._nursery = None


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_Bond().tie)
