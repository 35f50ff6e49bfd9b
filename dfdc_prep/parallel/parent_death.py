"""Import this module in the fork server only: it makes workers die with the server.

When the fork server dies, the pool considers its workers dead too and removes files that a
worker still starting up would open. Such a worker would print a traceback and do no work.
"""

import ctypes
import os
import signal
import sys

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


class _ParentDeathSignal:
    """Ends the direct children of this process when it dies, but not their own children."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._parent: int | None = os.getpid()

    def arm(self) -> None:
        """Ask the kernel to kill this process when its parent ends. Runs after each fork."""
        if self._parent is None:
            return
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._parent:  # the parent died before prctl took effect
            os._exit(1)
        self._parent = None


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_ParentDeathSignal().arm)
