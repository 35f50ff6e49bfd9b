"""Fork server with the workers' imports preloaded.

A worker started from scratch needs a quarter of a second to import NumPy, OpenCV and FFmpeg,
longer than many clips take to process. A worker forked from a server that has already imported
them is ready at once, and so is the replacement for a worker that died. Forking the server is
safe because it has started no threads; forking the main process would not be.
"""

import multiprocessing
import signal
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

#: Imported first by the fork server. Importing it acts on the process, so nothing else may.
_PRELOADED = ("dfdc_prep.parallel.parent_death",)


def forkserver_context(module: str) -> BaseContext:
    """Start the fork server if necessary and return its multiprocessing context.

    Call it early: the server imports in the background while the caller continues. Repeated
    calls are cheap. The project runs on systems that can fork; its file locks need one too.

    Args:
        module: the one whose functions the workers run; the server imports it for all of them.
    """
    # Ctrl-C sends SIGINT to every process of the terminal, but only the main process should
    # handle it and stop the workers. The server inherits the blocked signal mask. Start the
    # resource tracker first, since starting it would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.set_forkserver_preload([*_PRELOADED, module])
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")
