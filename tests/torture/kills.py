"""Kill a run at a random moment, run it again, and compare its bytes with an undisturbed run."""

import csv
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.processes import forkserver_of, workers_of
from tests.torture.command import MAIN, Done, ended, run, started, tail
from tests.torture.folders import TIMED, difference, digest, listing, litter, strayed
from tests.torture.scene import DETECTOR, FIT, SMALL, Scene
from tests.torture.trial import Trial

#: How a run is ended, and how often of a hundred.
HOWS = {"tree": 35, "parent": 15, "worker": 15, "term": 20, "int": 15}
#: The commands, and how often of a hundred.
COMMANDS = {"extract": 42, "import": 14, "identify": 14, "balance": 8, "shard": 16, "fit": 6}
#: Seconds an orphaned worker is given to notice that its parent is gone.
_ORPHANED = 20.0


@dataclass(frozen=True)
class Work:
    """A command that can be killed: its arguments and its output."""

    words: tuple[str, ...]
    out: Path
    left: Callable[[], dict[str, str]]


def work(command: str, scene: Scene, folder: Path) -> Work:
    """The command in its own folder."""
    out = folder / "out"
    if command == "extract":
        words = (
            *MAIN,
            "extract",
            str(scene.source),
            str(out),
            "--frames",
            "5",
            "--masks",
            *DETECTOR,
        )
        return Work((*words, "--workers", "2"), out, lambda: digest(out, TIMED))
    if command == "import":
        crops = scene.crops
        words = (*MAIN, "import", str(crops / "images"), str(crops / "crops.csv"), str(out))
        return Work(words, out, lambda: digest(out))
    if command == "balance":
        out.mkdir(exist_ok=True)
        shutil.copyfile(scene.imported / "manifest.parquet", out / "manifest.parquet")
        return Work((*MAIN, "balance", str(out)), out, lambda: digest(out))
    if command == "identify":
        shutil.copytree(scene.imported, out)
        words = (*MAIN, "identify", str(out), "--workers", "2")
        return Work(words, out, lambda: digest(out))
    if command == "shard":
        words = (*MAIN, "shard", str(scene.imported), str(out), "--shards", "4")
        return Work(words, out, lambda: digest(out))
    words = ("-c", FIT, str(scene.shards), *SMALL, "--out", str(out))
    return Work(words, out, lambda: _figures(out))


def _figures(run_folder: Path) -> dict[str, str]:
    """The history of a run to four digits, since rounding depends on the threads."""
    with open(run_folder / "history.csv", newline="", encoding="utf-8") as file:
        rows = [{k: f"{float(v):.3g}" for k, v in row.items()} for row in csv.DictReader(file)]
    whole = dict.fromkeys(("model.keras", "metrics.json", "report.txt"), "there")
    return {str(n): str(row) for n, row in enumerate(rows)} | {
        name: said for name, said in whole.items() if (run_folder / name).is_file()
    }


def trials(
    scene: Scene, draw: random.Random, count: int, commands: dict[str, int] = COMMANDS
) -> Iterator[Trial]:
    """Yield kills, each with a random command, method and moment."""
    known: dict[str, tuple[float, dict[str, str]]] = {}
    for number in range(count):
        (command,) = draw.choices(list(commands), list(commands.values()))
        if command not in known:
            known[command] = undisturbed(command, scene)
        (how,) = draw.choices(list(HOWS), list(HOWS.values()))
        seconds, wanted = known[command]
        moment = draw.uniform(0.25, seconds)
        name = f"{how} at {moment:.2f} s of {seconds:.2f}, trial {number}"
        end, why = _killed(work(command, scene, scene.place("kill")), how, moment, wanted, draw)
        yield Trial(f"kill {command}", name, end, why)


def undisturbed(command: str, scene: Scene) -> tuple[float, dict[str, str]]:
    """How long a command takes on this machine, and its output."""
    chosen = work(command, scene, scene.place(f"whole-{command}"))
    started_at = time.monotonic()
    done = run(chosen.words, chosen.out.parent)
    assert done.code == 0, done.err
    return time.monotonic() - started_at, chosen.left()


def _killed(
    chosen: Work, how: str, moment: float, wanted: dict[str, str], draw: random.Random
) -> tuple[str, str]:
    folder = chosen.out.parent
    before = listing(folder, [chosen.out])
    with started(chosen.words, folder) as process:
        with suppress(psutil.Error, ProcessLookupError, FileNotFoundError):
            _wait(process.pid, moment, at_work=how in ("term", "int"))
            _strike(process.pid, how, draw)
        done = ended(process)
        orphans = _orphans(process.pid) if how == "parent" else ""
    if orphans:
        return "hang", orphans
    # After SIGKILL nothing can report; a worker that was starting may print a traceback.
    judged = Done(done.code, "", "") if how in ("tree", "parent") else done
    if fault := judged.fault(_ends(how)):
        return fault
    again = run(chosen.words, folder)
    if fault := again.fault((0,)):
        return fault[0], f"run again: {fault[1]}"
    if odd := difference(chosen.left(), wanted) or litter(chosen.out):
        return "lost", odd
    stray = strayed(before, listing(folder, [chosen.out]))
    return ("outside", stray) if stray else ("survived", tail(done.err))


def _ends(how: str) -> tuple[int, ...]:
    """The exit codes a killed command may have; 0 if it had finished."""
    if how in ("tree", "parent"):
        return (0, -signal.SIGKILL)
    # Python ends itself by SIGINT, 130 to a shell, where the interrupt fell into text it ran.
    return (0,) if how == "worker" else (0, 130, -signal.SIGINT)


def _wait(pid: int, moment: float, at_work: bool) -> None:
    """Wait for a number of seconds, or until the process ends.

    Args:
        at_work: also wait until the command handles signals; before that
            there is nothing to lose, and Python handles them itself.
    """
    until = time.monotonic() + moment
    process = psutil.Process(pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() >= until and (not at_work or _answers(pid)):
            return
        time.sleep(0.01)


def _answers(pid: int) -> bool:
    """Whether the process has installed its SIGTERM handler, as every command does."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _strike(pid: int, how: str, draw: random.Random) -> None:
    if how == "tree":
        os.killpg(pid, signal.SIGKILL)
    elif how == "parent":
        os.kill(pid, signal.SIGKILL)
    elif how == "worker":
        # The fork server is as likely to be killed as one of its workers.
        if alive := [*workers_of(pid), *forkserver_of(pid)]:
            draw.choice(alive).kill()
    elif how == "int":
        os.killpg(pid, signal.SIGINT)  # as a terminal sends it: to the whole group
    else:
        os.kill(pid, signal.SIGTERM)


def _orphans(group: int) -> str:
    """Workers that outlive their parent for long; "" if none does."""
    until = time.monotonic() + _ORPHANED
    alive: list[int] = []
    while time.monotonic() < until:
        alive = [p.pid for p in psutil.process_iter() if _in_group(p, group)]
        if not alive:
            return ""
        time.sleep(0.1)
    return f"{len(alive)} workers outlive their parent by {_ORPHANED:g} s"


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.Error):
        return False
