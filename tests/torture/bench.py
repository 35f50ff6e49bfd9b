"""Tries mutated files in long-lived processes, since starting one per mutant takes seconds.

A mutant that kills or hangs its process counts as lost and affects no other mutant.
"""

import multiprocessing
import random
import resource
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from click import Command
from click.testing import CliRunner
from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from tests.torture.command import tail
from tests.torture.folders import listing, strayed
from tests.torture.scene import Scene
from tests.torture.trial import Trial

#: Seconds a mutant may take, starting the process included.
PATIENCE = 180.0
#: Bytes a process may allocate: decoding a decompression bomb runs out of memory.
MEMORY = 6 << 30
End = tuple[str, str]
#: Creates a random mutant in a folder, runs commands on it and returns the outcome.
Try = Callable[[Scene, Path, random.Random], End]
#: What is tried: its kind, how, and the seed of the lot, which names the trial too.
Job = tuple[str, Try, str]


def invoke(command: Command, words: list[str], folder: Path, but: list[Path]) -> End:
    """Run a command in this process; check how it ended and which files it touched.

    Args:
        folder: the folder of the trial; nothing in it may change except in `but`.
    """
    before = listing(folder, but)
    with warnings.catch_warnings(record=True):
        done = CliRunner().invoke(command, words)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the command's own handler goes with it
    what = f"{words[0]}: " if words else ""
    if done.exception and not isinstance(done.exception, SystemExit):
        return "traceback", what + tail(f"{type(done.exception).__name__}: {done.exception}")
    if done.exit_code not in (0, 1, 2, 3):
        return "lost", f"{what}exit code {done.exit_code}"
    if done.exit_code == 1 and not _one_sentence(done.stderr, done.stdout):
        return "lost", f"{what}no one sentence: {done.stderr[-300:]!a}"
    if stray := strayed(before, listing(folder, but)):
        return "outside", what + stray
    return "survived", f"{words[0]} {done.exit_code}"


def _one_sentence(err: str, out: str) -> bool:
    """Whether the error is one line of limited length; `verify` prints its faults instead."""
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    if not err and " fault" in out:
        return True
    return len(said) == 1 and err.splitlines()[-1] == said[0] and len(said[0]) < 5000


def all_of(ends: Iterator[End]) -> End:
    """The first end that is a loss, else the last end."""
    end = ("survived", "")
    for end in ends:
        if end[0] != "survived":
            return end
    return end


def _prepare() -> None:
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which such an end leaks
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _one(attempt: Try, root: Path, name: str, seed: str) -> End:
    scene = Scene(root)
    return attempt(scene, scene.place(name), random.Random(seed))


def trials(scene: Scene, jobs: list[Job], workers: int = 2) -> Iterator[Trial]:
    """Run every job in separate processes."""
    pool = ProcessPool(workers, context=multiprocessing.get_context("spawn"), initializer=_prepare)
    with pool:
        started: list[Future[End]] = [
            pool.schedule(
                partial(_one, attempt), (scene.root, f"mutant-{n}", seed), timeout=PATIENCE
            )
            for n, (_, attempt, seed) in enumerate(jobs)
        ]
        for future, (kind, _, seed) in zip(started, jobs, strict=True):
            try:
                end = future.result()
            except TimeoutError:
                end = "hang", f"not done in {PATIENCE:g} s"
            except ProcessExpired as error:
                end = "lost", f"its process died with {error.exitcode}"
            except Exception as error:
                end = "lost", f"the trial itself: {type(error).__name__}: {error}"
            yield Trial(kind, seed, *end)
