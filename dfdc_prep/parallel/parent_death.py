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
_libc = ctypes.CDLL(None, use_errno=True)
_server: int | None = os.getpid()  # None in a worker


def _die_with_server() -> None:
    """Have the kernel kill a direct child of the server when it ends, but not its children."""
    global _server
    if _server is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != _server:  # it died before prctl took effect
            os._exit(1)
        _server = None


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_die_with_server)
