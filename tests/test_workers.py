"""Workers that die between two calls, or before their first."""

import os
import signal
import time
from contextlib import suppress

import psutil

from dfdc_prep.workers import LocalWorkers


def nothing() -> None:
    """Prepares nothing."""


def test_a_worker_that_dies_idle_costs_no_call() -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        first = workers.submit(os.getpid)
        workers.wait([first])
        os.kill(first.result(), signal.SIGKILL)
        time.sleep(0.5)
        second = workers.submit(os.getpid)
        assert workers.wait([second]) == {second}
        assert second.result() != first.result()
    finally:
        workers.stop()


def test_workers_do_not_hear_an_interrupt() -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        call = workers.submit(time.sleep, 1.0)
        with suppress(psutil.Error):
            for _ in range(50):
                for child in psutil.Process().children():
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.send_signal(signal.SIGINT)
                time.sleep(0.02)
        assert workers.wait([call]) == {call}
        assert call.exception() is None
    finally:
        workers.stop()
