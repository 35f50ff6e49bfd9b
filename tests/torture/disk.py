"""Disks that are full at a random point or read-only, and output folders that are removed."""

import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.torture.command import ended, run, started
from tests.torture.folders import difference, listing, litter, strayed
from tests.torture.kills import Work, undisturbed, work
from tests.torture.scene import Scene
from tests.torture.trial import SKIPPED, Trial

#: The commands, and how often of a hundred.
COMMANDS = {"extract": 40, "import": 20, "balance": 10, "shard": 22, "fit": 8}
#: The harms, and how often of a hundred.
HARMS = {"full": 45, "small files": 20, "read-only": 15, "removed": 20}
_ENOUGH = 512 << 20


@contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[Callable[..., None]]:
    """Mount a small disk; yield a function that remounts it with other options.

    Raises:
        PermissionError: this user may not mount.
    """
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "torture", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        raise PermissionError("needs the right to mount a tmpfs")

    def again(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield again
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def trials(
    scene: Scene, draw: random.Random, count: int, commands: dict[str, int] = COMMANDS
) -> Iterator[Trial]:
    """Yield trials of faulty disks, each with a random command and moment."""
    harms = {"full": full, "small files": small, "read-only": sealed, "removed": removed}
    known: dict[str, tuple[float, dict[str, str], int]] = {}
    for number in range(count):
        (command,) = draw.choices(list(commands), list(commands.values()))
        (harm,) = draw.choices(list(HARMS), list(HARMS.values()))
        if command not in known:
            seconds, wanted = undisturbed(command, scene)
            left = scene.root / "trials" / f"whole-{command}" / "out"
            known[command] = seconds, wanted, sum(p.stat().st_size for p in left.rglob("*"))
        seconds, wanted, size = known[command]
        folder = scene.place("disk")
        share = draw.random()
        name = f"{command} at {share:.3f}, trial {number}"
        try:
            said = harms[harm](command, scene, folder, share, size, seconds, wanted)
            yield Trial(f"disk {harm}", name, *said)
        except PermissionError as error:
            yield Trial(f"disk {harm}", name, SKIPPED, str(error))


def full(
    command: str, scene: Scene, folder: Path, share: float, size: int, seconds: float, wanted: dict
) -> tuple[str, str]:
    """A disk with room for a share of the output; then a larger one."""
    room = max(1 << 16, int(share * 1.1 * size))
    if command == "balance":
        room += (scene.imported / "manifest.parquet").stat().st_size
    with tmpfs(folder / "disk", room) as again:
        chosen = work(command, scene, folder / "disk")
        return _harmed(
            chosen, wanted, lambda: run(chosen.words, folder), lambda: again(f"size={_ENOUGH}")
        )


def small(
    command: str, scene: Scene, folder: Path, share: float, size: int, seconds: float, wanted: dict
) -> tuple[str, str]:
    """Limit the size of every file to a share of the largest; needs no privileges."""
    chosen = work(command, scene, folder)
    most = max(1024, int(share**3 * min(size, 4 << 20)))
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
    return _harmed(chosen, wanted, lambda: run(chosen.words, folder, limit), lambda: None)


def sealed(
    command: str, scene: Scene, folder: Path, share: float, size: int, seconds: float, wanted: dict
) -> tuple[str, str]:
    """A disk that is read-only, and writable later."""
    with tmpfs(folder / "disk", _ENOUGH) as again:
        chosen = work(command, scene, folder / "disk")
        again("ro")
        return _harmed(chosen, wanted, lambda: run(chosen.words, folder), lambda: again("rw"))


def removed(
    command: str, scene: Scene, folder: Path, share: float, size: int, seconds: float, wanted: dict
) -> tuple[str, str]:
    """Remove the output folder while the command is running."""
    chosen = work(command, scene, folder)

    def harm():  # type: ignore[no-untyped-def]
        with started(chosen.words, folder) as process:
            time.sleep(share * seconds)
            for path in [chosen.out, *folder.glob(".out*")]:
                while path.is_dir():  # as often as the command is just writing into it
                    shutil.rmtree(path, ignore_errors=True)
            return ended(process)

    def repair() -> None:
        if command == "balance":
            work(command, scene, folder)

    return _harmed(chosen, wanted, harm, repair)


def _harmed(chosen: Work, wanted: dict, harm, repair) -> tuple[str, str]:  # type: ignore
    """Run with the fault, which may be reported as an error; after repair, a run must succeed."""
    top = chosen.out.parent
    before = listing(top, [chosen.out])
    done = harm()
    if fault := done.fault((0, 1, 3)):
        return fault
    if done.code == 1 and done.err.count("error: ") != 1:
        return "lost", f"no sentence: {done.err[-300:]!a}"
    repair()
    again = run(chosen.words, top)
    if fault := again.fault((0,)):
        return fault[0], f"run again: {fault[1]}"
    if odd := difference(chosen.left(), wanted) or litter(chosen.out):
        return "lost", odd
    stray = strayed(before, listing(top, [chosen.out]))
    return ("outside", stray) if stray else ("survived", f"code {done.code}")
