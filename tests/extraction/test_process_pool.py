"""Workers that die between two calls, or before their first."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from dfdc_prep.parallel.process_pool import LocalWorkers
from tests.processes import nursery_of, workers_of


def nothing() -> None:
    """Prepares nothing."""


@pytest.mark.parametrize("nursery_too", [False, True])
def test_who_dies_between_two_calls_costs_none(nursery_too: bool) -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        first = workers.submit(os.getpid)
        workers.wait([first])
        for dead in [*(nursery_of(os.getpid()) if nursery_too else []), *workers_of()]:
            dead.kill()
        time.sleep(0.5)
        second = workers.submit(os.getpid)
        assert workers.wait([second]) == {second}
        assert second.result() != first.result()
    finally:
        workers.stop()


def test_workers_stopped_as_they_begin_say_nothing() -> None:
    stopping = """
import os
from dfdc_prep.parallel.process_pool import LocalWorkers
if __name__ == "__main__":
    for _ in range(20):
        workers = LocalWorkers(2, 60.0, os.getpid, ())
        workers.submit(os.getpid)
        workers.stop()
"""
    ended = subprocess.run([sys.executable, "-c", stopping], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_workers_do_not_hear_an_interrupt() -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        call = workers.submit(time.sleep, 1.0)
        for _ in range(50):
            for worker in workers_of():
                with suppress(psutil.Error):
                    worker.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert workers.wait([call]) == {call}
        assert call.exception() is None
    finally:
        workers.stop()


def test_workers_die_with_their_nursery() -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        workers.wait([workers.submit(os.getpid)])
        (worker,), (nursery,) = workers_of(), nursery_of(os.getpid())
        nursery.kill()
        worker.wait(5.0)
    finally:
        workers.stop()
