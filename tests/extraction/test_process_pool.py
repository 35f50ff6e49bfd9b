"""Worker processes: timeouts, death between calls, interrupts, stopping during start-up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from dfdc_prep.parallel.engine import forkserver_context
from dfdc_prep.parallel.processes import LocalWorkers, WorkerTimeout
from tests.processes import forkserver_of, workers_of


def nothing() -> None:
    """Do nothing: an empty worker initializer."""


@pytest.mark.parametrize("kill_forkserver", [False, True])
def test_a_death_between_two_calls_loses_no_call(kill_forkserver: bool) -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        first = workers.submit(os.getpid)
        workers.wait([first])
        for dead in [*(forkserver_of(os.getpid()) if kill_forkserver else []), *workers_of()]:
            dead.kill()
        time.sleep(0.5)
        second = workers.submit(os.getpid)
        assert workers.wait([second]) == {second}
        assert second.result() != first.result()
    finally:
        workers.stop()


def test_workers_see_variables_set_after_the_fork_server_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forkserver_context(__name__)
    monkeypatch.setenv("SET_LATER", "yes")
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        call = workers.submit(os.getenv, "SET_LATER")
        workers.wait([call])
        assert call.result() == "yes"
    finally:
        workers.stop()


def test_workers_stopped_during_start_up_print_nothing() -> None:
    stopping = """
import os
from dfdc_prep.parallel.processes import LocalWorkers
if __name__ == "__main__":
    for _ in range(20):
        workers = LocalWorkers(2, 60.0, os.getpid, ())
        workers.submit(os.getpid)
        workers.stop()
"""
    completed = subprocess.run([sys.executable, "-c", stopping], capture_output=True, text=True)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")


def test_workers_ignore_an_interrupt() -> None:
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


def test_workers_die_with_the_fork_server() -> None:
    workers = LocalWorkers(1, 60.0, nothing, ())
    try:
        workers.wait([workers.submit(os.getpid)])
        (worker,), (forkserver,) = workers_of(), forkserver_of(os.getpid())
        forkserver.kill()
        worker.wait(5.0)
    finally:
        workers.stop()


def work(seconds: float) -> str:
    """Use a core for so many seconds of CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return "done"


def work_starved(seconds: float) -> str:
    """Do the same while four other processes want the same core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    others = []
    for _ in range(4):
        others.append(os.fork())
        if not others[-1]:
            work(60.0)
            os._exit(0)
    try:
        return work(seconds)
    finally:
        for other in others:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "seconds", "is_over"), [(work, 60.0, True), (time.sleep, 60.0, True),
                                     (work_starved, 1.0, False)]
)  # fmt: skip
def test_a_timeout_counts_what_a_worker_uses(
    call: Callable[[float], object], seconds: float, is_over: bool
) -> None:
    """A starved call goes on; one that uses too much, or sleeps, ends."""
    workers = LocalWorkers(1, 1.5, nothing, ())
    try:
        began = time.monotonic()
        future = workers.submit(call, seconds)
        assert workers.wait([future]) == {future}
        if is_over:
            with pytest.raises(WorkerTimeout):
                future.result()
        else:
            assert future.result() == "done"
            assert time.monotonic() - began > 1.5
        following = workers.submit(work, 0.01)
        workers.wait([following])
        assert following.result() == "done"
    finally:
        workers.stop()
