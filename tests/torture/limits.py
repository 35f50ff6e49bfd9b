"""Few open files, little memory: either an error message or the complete output."""

import random
import resource
from collections.abc import Iterator
from functools import partial

from tests.torture.command import run
from tests.torture.folders import difference
from tests.torture.kills import undisturbed, work
from tests.torture.scene import Scene
from tests.torture.trial import Trial

#: The commands, and how often of a hundred.
COMMANDS = {"extract": 50, "import": 15, "balance": 10, "shard": 20, "fit": 5}
#: Megabytes up to which memory is limited, where 2,500 would always be too few.
MOST_MEMORY = {"fit": 6000}
#: With so many open files every command works (fit: see FIT_FILES).
FILES = 64


def trials(
    scene: Scene, draw: random.Random, count: int, commands: dict[str, int] = COMMANDS
) -> Iterator[Trial]:
    """Yield trials with randomly drawn limits."""
    wanted: dict[str, dict[str, str]] = {}
    for number in range(count):
        (command,) = draw.choices(list(commands), list(commands.values()))
        if command not in wanted:
            _, wanted[command] = undisturbed(command, scene)
        kind, limit, value = _limit(draw, MOST_MEMORY.get(command, 2500))
        must_work = kind == "files 64"
        chosen = work(command, scene, scene.place("limits"))
        done = run(
            chosen.words, chosen.out.parent, partial(resource.setrlimit, limit, (value, value))
        )
        fault = done.fault((0,) if must_work else (0, 1, 3))
        if not fault and done.code == 0 and (odd := difference(chosen.left(), wanted[command])):
            fault = "lost", odd
        again = run(chosen.words, chosen.out.parent)
        if not fault and (again.code or difference(chosen.left(), wanted[command])):
            fault = "lost", f"run again without the limit: exit code {again.code}"
        yield Trial(
            f"limit {kind}", f"{command} with {value:,}, trial {number}",
            *(fault or ("survived", f"code {done.code}")),
        )  # fmt: skip


def _limit(draw: random.Random, most_memory: int) -> tuple[str, int, int]:
    kind = draw.choice(("files 64", "files", "memory", "memory"))
    if kind == "files 64":
        return kind, resource.RLIMIT_NOFILE, FILES
    if kind == "files":
        return kind, resource.RLIMIT_NOFILE, draw.randint(12, FILES)
    return kind, resource.RLIMIT_DATA, draw.randint(60, most_memory) << 20
