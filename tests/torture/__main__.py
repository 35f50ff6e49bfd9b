"""`python -m tests.torture`: harm done on purpose, and a table of what survived it."""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from tests.torture import clips, code, disk, kills, leaks, limits, models, names, tables, twice
from tests.torture.scene import Scene
from tests.torture.trial import Table, Trial

#: Kinds of harm that count as trials, and their share of a hundred.
SHARES = {kills: 70, disk: 15, limits: 15}
#: Kinds of mutants: clips get --mutants, everything else the same number once more.
TABLE_SHARES = {tables: 80, models: 20}


def everything(
    scene: Scene, seed: int, trials: int, mutants: int, short: bool
) -> Iterator[Trial]:
    """All kinds, each with its own random numbers, so that one can be done again alone."""
    for kind, share in SHARES.items():
        count = max(1, round(trials * share / 100))
        yield from kind.trials(scene, random.Random(f"{seed} {kind.__name__}"), count)
    yield from clips.trials(scene, random.Random(f"{seed} clips"), mutants)
    for kind, share in TABLE_SHARES.items():
        count = max(1, round(mutants * share / 100))
        yield from kind.trials(scene, random.Random(f"{seed} {kind.__name__}"), count)
    for once in (names, twice, code, leaks):
        yield from once.trials(scene, random.Random(f"{seed} {once.__name__}"), short)


@click.command()
@click.option("--trials", default=200, show_default=True, help="Kills, full disks, limits.")
@click.option("--mutants", default=1000, show_default=True, help="Clips, and as many other files.")
@click.option("--seed", default=7, show_default=True)
@click.option("--short", is_flag=True, help="8 trials, 40 mutants, no training.")
@click.option("--only", multiple=True, help="Only this kind, as kills or clips.")
def main(trials: int, mutants: int, seed: int, short: bool, only: tuple[str, ...]) -> None:
    """Harm every command, print what survived, and exit with 1 where anything was lost."""
    table, start = Table(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as root:
        for trial in everything(Scene(Path(root)), seed, trials, mutants, short):
            table.add(trial)
    click.echo(table.text())
    click.echo(f"seed {seed}, {time.monotonic() - start:,.0f} s")
    sys.exit(1 if table.lost else 0)


if __name__ == "__main__":
    main()
