"""Two runs on one output folder: the second must refuse at once, naming the first."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations

from tests.torture.command import PATIENCE, ended, run, started
from tests.torture.folders import difference
from tests.torture.kills import Work, undisturbed, work
from tests.torture.scene import Scene
from tests.torture.trial import Trial

COMMANDS = ("extract", "import", "balance", "shard", "fit")
#: Those that write a whole folder, each of which may meet another one at work on its own.
_OF_FOLDERS = ("extract", "import", "shard", "fit")
#: Where a command says that it is writing, relative to the folder its output lies in.
_LOCKS = ("out/.lock", ".out.lock", "out/.balanced.parquet.lock")


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Run each command twice at once, and each beside another; the first must not be affected."""
    names = [name for name in COMMANDS if not (short and name == "fit")]
    known = {name: undisturbed(name, scene)[1] for name in names}
    pairs = [(name, name) for name in names]
    pairs += permutations([name for name in _OF_FOLDERS if name in names], 2)
    for first, second in pairs:
        folder = scene.place("twice")
        chosen = [work(name, scene, folder) for name in (first, second)]
        yield Trial("twice", f"{second} beside {first}", *_twice(*chosen, known[first]))


def _twice(chosen: Work, other: Work, wanted: dict[str, str]) -> tuple[str, str]:
    folder = chosen.out.parent
    with started(chosen.words, folder) as first:
        if not _stopped_as_it_writes(first, chosen):
            return "skipped", "the first was done before it was seen to write"
        second = run(other.words, folder)
        os.killpg(first.pid, signal.SIGCONT)
        done = ended(first)
    if fault := done.fault((0,)):
        return fault[0], f"the first: {fault[1]}"
    if odd := difference(chosen.left(), wanted):
        return "lost", odd
    if fault := second.fault((1,)):
        return fault[0], f"the second: {fault[1]}"
    # Another command may see what the first has laid there before it asks for the lock.
    if other.words == chosen.words and f"process {first.pid}" not in second.err:
        return "lost", f"does not name the first: {second.err!a}"
    return "survived", ""


def _stopped_as_it_writes(first: "subprocess.Popen[str]", chosen: Work) -> bool:
    """Suspend a command while it holds the lock of its output; False if it ended."""
    until = time.monotonic() + PATIENCE
    while first.poll() is None and time.monotonic() < until:
        if _holds_a_lock(first.pid, chosen):
            os.killpg(first.pid, signal.SIGSTOP)
            if _holds_a_lock(first.pid, chosen):
                return True
            os.killpg(first.pid, signal.SIGCONT)
    return False


def _holds_a_lock(pid: int, chosen: Work) -> bool:
    for lock in _LOCKS:
        with suppress(OSError):
            if f"process {pid}" in (chosen.out.parent / lock).read_text():
                return True
    return False
