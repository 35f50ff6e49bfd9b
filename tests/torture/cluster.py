"""Faults of a Ray cluster while `extract` runs on it; needs the package ray.

Two nodes of one core. The run must end by itself, with a sentence if not with its tables, and the
same command must then leave the bytes of an undisturbed run on this machine.
"""

import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tests.cluster.ray_cluster import PATIENCE, RayCluster, ray_cluster
from tests.torture.command import MAIN, Done, run, tail
from tests.torture.folders import TIMED, difference, digest, litter
from tests.torture.scene import DETECTOR, MODEL, Scene
from tests.torture.trial import Trial

#: How often each fault is provoked, in full and in short.
_FULL = {"worker": 6, "driver": 4, "raylet": 6, "gcs": 2, "stopped": 2, "twice": 2, "unready": 3}
_FULL |= {"storm": 4}
_SHORT = {"worker": 1, "driver": 1}
#: Most drivers that a storm kills, each after a worker of its own.
_STORM = 8
_OPTIONS = ("--frames", "32", *DETECTOR)
#: Seconds after the start, or after the first crop, within which harm is done.
_AFTER_START, _AFTER_CROP = 5.0, 2.0
Act = Callable[[RayCluster, "subprocess.Popen[str]"], None]


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Yield every fault, at random moments, in random order."""
    plain = scene.place("whole-cluster") / "out"
    done = run([*MAIN, "extract", str(scene.source), str(plain), *_OPTIONS], plain.parent)
    assert done.code == 0, done.err
    wanted = digest(plain, TIMED)
    faults = [name for name, count in (_SHORT if short else _FULL).items() for _ in range(count)]
    draw.shuffle(faults)
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        ray_cluster(Path(folder)) as cluster,
    ):
        for number, fault in enumerate(faults):
            out = scene.place("cluster") / "out"
            words = cluster.extract_words(str(scene.source), str(out), *_OPTIONS)
            if fault == "twice":
                end = _twice(cluster, words)
            elif fault == "storm":
                end = _storm(cluster, words, out)
            elif fault == "unready":
                hidden = draw.choice((scene.source, out.parent, MODEL.parent))
                end = _unready(cluster, words, hidden)
            else:
                end = _harmed(cluster, words, fault, draw)
            _repair(cluster)
            if end[0] == "survived":
                end = _again(cluster, words, out, wanted, end[1])
            yield Trial(f"cluster {fault}", f"trial {number}", *end)


def _harmed(
    cluster: RayCluster, words: tuple[str, ...], fault: str, draw: random.Random
) -> tuple[str, str]:
    """Do harm at a random moment, and see how the run ends."""
    acts = {"worker": worker, "driver": driver, "raylet": raylet, "gcs": gcs, "stopped": stopped}
    # Ray itself ends a process whose cluster is lost while it connects.
    at_work = fault == "gcs" or draw.random() < 0.75
    wait = draw.uniform(0, _AFTER_CROP if at_work else _AFTER_START)
    began, out = time.monotonic(), Path(words[4])
    with cluster.started(words) as process:
        while at_work and process.poll() is None and not any(out.glob("crops/*/*/*")):
            time.sleep(0.02)
        time.sleep(wait)
        moment = time.monotonic() - began
        acts[fault](cluster, process)
        return _judged(process, (0, -signal.SIGKILL) if fault == "driver" else (0, 1), moment)


def worker(cluster: RayCluster, process: "subprocess.Popen[str]") -> None:
    """Kill a worker that is at work."""
    for number in (1, 2):
        for each in cluster.processes(number, "ray::perform")[:1]:
            each.kill()
            return


def driver(cluster: RayCluster, process: "subprocess.Popen[str]") -> None:
    """Kill the command."""
    cluster.kill(process)


def raylet(cluster: RayCluster, process: "subprocess.Popen[str]") -> None:
    """Kill the raylet of the node on which the command does not run."""
    for each in cluster.processes(2, "raylet"):
        each.kill()


def gcs(cluster: RayCluster, process: "subprocess.Popen[str]") -> None:
    """Kill the server of the head that knows the nodes."""
    for each in cluster.processes(1, "gcs_server"):
        each.kill()


def stopped(cluster: RayCluster, process: "subprocess.Popen[str]") -> None:
    """Stop a raylet, without ending it."""
    for each in cluster.processes(2, "raylet"):
        each.suspend()


def _twice(cluster: RayCluster, words: tuple[str, ...]) -> tuple[str, str]:
    """Start a second driver on the same folder: it must refuse."""
    with cluster.started(words) as first:
        out = Path(words[4])
        until = time.monotonic() + PATIENCE
        while not (out / "journal.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.02)
        second = cluster.run(*words)
        if second.returncode != 1 or "writing it" not in second.stderr:
            return "lost", f"the second driver: {second.returncode}, {tail(second.stderr)}"
        return _judged(first, (0,), 0)


def _storm(cluster: RayCluster, words: tuple[str, ...], out: Path) -> tuple[str, str]:
    """Kill a worker, then the driver, of one run after another, as soon as each has begun."""
    kills = 0
    for _ in range(_STORM):
        with cluster.started(words) as process:
            for kill in (worker, driver):
                known = _crops(out)
                while process.poll() is None and _crops(out) == known:
                    time.sleep(0.02)
                if process.poll() is not None:
                    break
                kill(cluster, process)
                kills += 1
            done = _judged(process, (0, -signal.SIGKILL), 0)
        if done[0] != "survived":
            return done
        if process.returncode == 0:
            break
    return "survived", f"{kills} kills"


def _crops(out: Path) -> int:
    return sum(1 for _ in out.glob("crops/*/*/*"))


def _unready(cluster: RayCluster, words: tuple[str, ...], hidden: Path) -> tuple[str, str]:
    """Add a node that does not see a folder: the run must refuse to start."""
    cluster.start_node(3, without=hidden)
    done = cluster.run(*words)
    cluster.end_node(3)
    if done.returncode != 1 or "expected every node" not in done.stderr:
        return "lost", f"{done.returncode}: {tail(done.stderr)}"
    return "survived", tail(done.stderr)


def _judged(
    process: "subprocess.Popen[str]", allowed: tuple[int, ...], moment: float
) -> tuple[str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "hang", f"after {moment:.1f} s"
    done = Done(process.returncode, out, err)
    if fault := done.fault(allowed):
        return fault[0], f"at {moment:.1f} s: {fault[1]}"
    if done.code == 1 and "error: " not in done.err:
        return "lost", f"no sentence: {err[-300:]!a}"
    return "survived", f"code {done.code} at {moment:.1f} s: {tail(err)}"


def _repair(cluster: RayCluster) -> None:
    """Start again what was killed; without its head, a cluster starts from nothing."""
    for each in cluster.processes(2, "raylet"):
        with suppress(psutil.Error):
            if each.status() == psutil.STATUS_STOPPED:
                each.kill()
    if not cluster.processes(1, "gcs_server"):
        for number in (2, 1):
            cluster.end_node(number)
        cluster.start_node(1)
        cluster.start_node(2)
    elif not any(each.is_running() for each in cluster.processes(2, "raylet")):
        cluster.end_node(2)
        cluster.start_node(2)


def _again(
    cluster: RayCluster, words: tuple[str, ...], out: Path, wanted: dict[str, str], why: str
) -> tuple[str, str]:
    done = cluster.run(*words)
    if fault := Done(done.returncode, done.stdout, done.stderr).fault((0,)):
        return fault[0], f"run again: {fault[1]}"
    if odd := difference(digest(out, TIMED), wanted) or litter(out):
        return "lost", odd
    return "survived", why
