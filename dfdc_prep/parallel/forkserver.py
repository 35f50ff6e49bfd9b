"""The process that workers are forked from: it has imported what they need, and done nothing.

A worker begun from scratch imports NumPy, OpenCV and FFmpeg for a quarter of a second, which
is longer than many a clip takes. Forked from a process that holds them it is ready at once,
and so is the one that replaces a worker that died. Forking is safe there and not in the
run's own process: nothing in the nursery has started a thread.
"""

import multiprocessing
import signal
import sys
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext

#: What the nursery imports, and its workers with it. They look at the program as well that
#: began the run, which is the command line most of the time.
_IMPORTED = ["dfdc_prep.parallel.parent_death", "cli", "dfdc_prep.extraction.worker"]


def nursery() -> BaseContext:
    """Where workers begin. Called early, it imports while the caller goes on; cheap to repeat.

    Systems that cannot fork start each worker from scratch.
    """
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    # An interrupt at the keyboard reaches every process of the terminal: it is for the run to
    # end them. Who is begun here inherits the mask, and the tracker would unblock it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.set_forkserver_preload(_IMPORTED)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")
