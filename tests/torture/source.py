"""Sources that disappear or become unreadable while `extract` is running."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from manifests.labels import FAILURES
from tests.torture.command import MAIN, Done, ended, run, started, tail
from tests.torture.disk import tmpfs
from tests.torture.folders import TIMED, difference, digest, litter
from tests.torture.scene import DETECTOR, Scene
from tests.torture.trial import SKIPPED, Trial

_ROOM = 64 << 20
#: Reading this file from its start fails with EIO, as on a broken disk.
_FAILING = "/proc/self/mem"


def trials(scene: Scene, draw: random.Random, count: int) -> Iterator[Trial]:
    """Yield trials: each kind in turn, at random moments, the first and last moment included."""
    ways = {"removed": removed, "deleted": deleted, "unmounted": unmounted, "failing": failing}
    seconds, wanted = _undisturbed(scene)
    for number in range(count):
        way = list(ways)[number % len(ways)]
        share = {0: 0.0, 1: 1.0}.get(number // len(ways), draw.random())
        name = f"{way} at {share:.3f}, trial {number}"
        folder = scene.place("source")
        try:
            done, again = ways[way](scene, folder, 0.2 + share * (seconds - 0.2))
        except PermissionError as error:
            yield Trial(f"source {way}", name, SKIPPED, str(error))
            continue
        yield Trial(f"source {way}", name, *_judged(done, again, folder / "out", wanted))


def removed(scene: Scene, folder: Path, moment: float) -> tuple[Done, Done]:
    """Move the folder away and back."""
    source = _copied(scene, folder / "dfdc")
    done = _harmed(folder, moment, lambda: source.rename(folder / "elsewhere"))
    (folder / "elsewhere").rename(source)
    return done, run(_words(folder), folder)


def deleted(scene: Scene, folder: Path, moment: float) -> tuple[Done, Done]:
    """Delete the clips one by one, then copy all of them again."""
    source = _copied(scene, folder / "dfdc")
    done = _harmed(folder, moment, lambda: shutil.rmtree(source))
    _copied(scene, source)
    return done, run(_words(folder), folder)


def unmounted(scene: Scene, folder: Path, moment: float) -> tuple[Done, Done]:
    """Unmount the disk; mount another one with the same clips in its place."""
    source = folder / "dfdc"
    with tmpfs(source, _ROOM):
        _copied(scene, source)
        gone = ["umount", "-l", str(source)]
        done = _harmed(folder, moment, lambda: subprocess.run(gone, check=True))
        with tmpfs(source, _ROOM):
            _copied(scene, source)
            again = run(_words(folder), folder)
        # What `tmpfs` unmounts at its end.
        subprocess.run(["mount", "-t", "tmpfs", "torture", str(source)], check=True)
    return done, again


def failing(scene: Scene, folder: Path, moment: float) -> tuple[Done, Done]:
    """Make every clip opened from now on fail with an input/output error."""
    source = _copied(scene, folder / "dfdc")

    def harm() -> None:
        for clip in source.rglob("*.mp4"):
            clip.with_suffix(".bad").symlink_to(_FAILING)
            os.replace(clip.with_suffix(".bad"), clip)

    done = _harmed(folder, moment, harm)
    shutil.rmtree(source)
    _copied(scene, source)
    return done, run(_words(folder), folder)


def _copied(scene: Scene, source: Path) -> Path:
    shutil.copytree(scene.source, source, dirs_exist_ok=True)
    return source


def _words(folder: Path) -> tuple[str, ...]:
    options = ("--frames", "5", "--workers", "2", *DETECTOR)
    return (*MAIN, "extract", str(folder / "dfdc"), str(folder / "out"), *options)


def _undisturbed(scene: Scene) -> tuple[float, dict[str, str]]:
    """How long the run takes on this machine, and its output."""
    folder = scene.place("whole-source")
    _copied(scene, folder / "dfdc")
    began = time.monotonic()
    done = run(_words(folder), folder)
    assert done.code == 0, done.err
    return time.monotonic() - began, digest(folder / "out", TIMED)


def _harmed(folder: Path, moment: float, harm: Callable[[], object]) -> Done:
    with started(_words(folder), folder) as process:
        time.sleep(moment)
        harm()
        return ended(process)


def _judged(done: Done, again: Done, out: Path, wanted: dict[str, str]) -> tuple[str, str]:
    """The run reports an error or had finished, and the same command then completes it."""
    if fault := done.fault((0, 1)):
        return fault
    if done.code == 1 and done.err.count("error: ") != 1:
        return "lost", f"no sentence: {done.err[-300:]!a}"
    if fault := again.fault((0,)):
        return fault[0], f"run again: {fault[1]}"
    journal = (out / "journal.jsonl").read_text()
    if blamed := [status for status in FAILURES if f'"{status}"' in journal]:
        return "lost", f"clips were called {blamed[0]}"
    if odd := difference(digest(out, TIMED), wanted) or litter(out):
        return "lost", odd
    return "survived", f"code {done.code}: {tail(done.err)}"
