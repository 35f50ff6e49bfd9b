"""`python -m tests.torture`: inject faults and print a table of what survived."""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from tests.torture import (
    buckets,
    clips,
    cluster,
    code,
    disk,
    each,
    foreign,
    kills,
    leaks,
    limits,
    media,
    models,
    names,
    source,
    tables,
    twice,
    uploads,
)
from tests.torture.scene import Scene
from tests.torture.trial import LOSSES, Table, Trial

#: Kinds that count as trials, and how many of a hundred trials are one.
TRIALS = {kills: 60, disk: 25, limits: 15, source: 25}
#: Kinds of mutants: clips are --mutants, the files of these kinds as many again.
MUTANTS = {clips: 100, media: 200, foreign: 200, tables: 96, models: 4, uploads: 20}
#: Kinds that are done once each, in full or a few of them.
ONCE = (names, twice, code, leaks)
#: Kinds that are done where --only names them: no lot is drawn, so once is enough.
ASKED = (each, buckets, cluster)


def harm(
    scene: Scene, seed: int, trials: int, mutants: int, short: bool, only: tuple[str, ...]
) -> Iterator[Trial]:
    """Run all kinds, each with its own random generator, so that one can be repeated alone."""
    counts = {kind: trials * share for kind, share in TRIALS.items()}
    counts |= {kind: mutants * share for kind, share in MUTANTS.items()}
    for kind, hundredths in counts.items():
        name = kind.__name__.rpartition(".")[2]
        if (not only or name in only) and not (short and kind in (foreign, models, uploads)):
            count = max(1, round(hundredths / 100))
            options = [SHORT] if short and kind in TRIALS and kind is not source else []
            yield from kind.trials(scene, random.Random(f"{seed} {name}"), count, *options)
    for once in (*ONCE, *ASKED):
        name = once.__name__.rpartition(".")[2]
        if name in only or (not only and once in ONCE):
            yield from once.trials(scene, random.Random(f"{seed} {name}"), short)


#: The commands the short form harms: training starts too slowly.
SHORT = {"extract": 50, "import": 20, "balance": 10, "shard": 20}


@click.command()
@click.option("--trials", default=200, show_default=True, help="Kills, bad disks, limits.")
@click.option("--mutants", default=1000, show_default=True, help="Clips, and as many other files.")
@click.option("--seed", default=7, show_default=True, help="The same seed does the same harm.")
@click.option("--short", is_flag=True, help="No training, and a few of the names.")
@click.option("--only", multiple=True, help="Only this kind, as kills or clips; may be repeated.")
def main(trials: int, mutants: int, seed: int, short: bool, only: tuple[str, ...]) -> None:
    """Inject faults into every command, print a table, and exit with 1 if anything was lost."""
    table, start, ended = Table(), time.monotonic(), ", interrupted"
    with tempfile.TemporaryDirectory(prefix="torture-") as root, suppress(KeyboardInterrupt):
        for trial in harm(Scene(Path(root)), seed, trials, mutants, short, only):
            table.add(trial)
            if trial.end in LOSSES:
                click.echo(f"{trial.end}: {trial.kind}, {trial.name}: {trial.why}", err=True)
        ended = ""
    click.echo(table.text())
    click.echo(f"seed {seed}, {time.monotonic() - start:,.0f} s{ended}")
    sys.exit(1 if table.lost or ended else 0)


if __name__ == "__main__":
    main()
