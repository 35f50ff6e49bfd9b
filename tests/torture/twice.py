"""Two runs on one output folder: the second refuses at once and names the first."""

import random
import time
from collections.abc import Iterator

from tests.torture.command import ended, run, started
from tests.torture.folders import difference
from tests.torture.kills import undisturbed, work
from tests.torture.scene import Scene
from tests.torture.trial import Trial


def trials(scene: Scene, draw: random.Random, short: bool) -> Iterator[Trial]:
    """Each command that takes long, twice at once; the first must not be disturbed."""
    for command in (
        ("extract", "shard", "import") if short else ("extract", "shard", "import", "fit")
    ):
        _seconds, wanted = undisturbed(command, scene)
        chosen = work(command, scene, scene.place("twice"))
        with started(chosen.words, chosen.out.parent) as first:
            second = None
            while first.poll() is None and (second is None or second.code == 0):
                if not (chosen.out.exists() or list(chosen.out.parent.glob(".out*"))):
                    time.sleep(0.005)
                    continue
                second = run(chosen.words, chosen.out.parent)
                break
            done = ended(first)
        name = f"{command} twice"
        if fault := done.fault((0,)):
            yield Trial("twice", name, fault[0], f"the first: {fault[1]}")
        elif odd := difference(chosen.left(), wanted):
            yield Trial("twice", name, "lost", odd)
        elif second is None or second.code == 0:
            yield Trial("twice", name, "skipped", "the first was done before the second began")
        elif fault := second.fault((1,)):
            yield Trial("twice", name, fault[0], f"the second: {fault[1]}")
        elif f"process {first.pid}" not in second.err:
            yield Trial("twice", name, "lost", f"does not name the first: {second.err!a}")
        else:
            yield Trial("twice", name)
