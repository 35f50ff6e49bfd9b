"""Two runs on one output folder: the second refuses at once and names the first."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

from tests.torture.command import PATIENCE, ended, run, started
from tests.torture.folders import difference
from tests.torture.kills import Work, undisturbed, work
from tests.torture.scene import Scene
from tests.torture.trial import Trial

COMMANDS = ("extract", "import", "balance", "shard", "fit")
#: Where a command says that it is writing, relative to the folder its output lies in.
_LOCKS = ("out/.lock", ".out.lock", "out/.balanced.parquet.lock")


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Each command, twice at once; the first must not be disturbed."""
    for command in COMMANDS[:4] if short else COMMANDS:
        _, wanted = undisturbed(command, scene)
        end, why = _twice(work(command, scene, scene.place("twice")), wanted)
        yield Trial("twice", f"{command} twice", end, why)


def _twice(chosen: Work, wanted: dict[str, str]) -> tuple[str, str]:
    folder = chosen.out.parent
    with started(chosen.words, folder) as first:
        if not _stopped_as_it_writes(first, chosen):
            return "skipped", "the first was done before it was seen to write"
        second = run(chosen.words, folder)
        os.killpg(first.pid, signal.SIGCONT)
        done = ended(first)
    if fault := done.fault((0,)):
        return fault[0], f"the first: {fault[1]}"
    if odd := difference(chosen.left(), wanted):
        return "lost", odd
    if fault := second.fault((1,)):
        return fault[0], f"the second: {fault[1]}"
    if f"process {first.pid}" not in second.err:
        return "lost", f"does not name the first: {second.err!a}"
    return "survived", ""


def _stopped_as_it_writes(first: "subprocess.Popen[str]", chosen: Work) -> bool:
    """Stop a command in its tracks while it holds the lock of its output; False if it ended."""
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
