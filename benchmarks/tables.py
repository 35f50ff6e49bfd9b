"""Time and memory of balance, split and audit, from 100,000 rows to 10,000,000.

A fifth of the rows are REAL clips, each with four FAKE ones of its family, in random order,
one crop per clip: as many names as a table of that length can have. Every step works on all
rows. Each size runs in a separate process, so that its peak memory is its own.

    python -m benchmarks.tables
    python -m benchmarks.tables --largest 1000000
"""

import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.audit import audit
from manifests.balancing.balance import BalanceOptions, balance
from manifests.splitting.split import SplitPlan, add_split_column, assign_splits

STEPS = ("balance", "split", "audit")


def make_table(rows: int, seed: int = 42) -> pa.Table:
    """The manifest columns that matter, `rows` / 5 families of five clips, in random order."""
    clip = np.random.RandomState(seed).permutation(rows)
    original = clip // 5 * 5
    real = clip == original
    video, family = names(clip), names(original)
    return pa.table(
        {
            "video": video,
            "part": pc.binary_join_element_wise(
                "dfdc_train_part", pa.array(original % 50).cast(pa.string()), "_"
            ),
            "label": pa.array(["FAKE", "REAL"]).take(pa.array(real.astype(np.int8))),
            "original": pc.if_else(pa.array(real), pa.scalar(None, pa.string()), family),
            "family": family,
            "frame": pa.array(np.zeros(rows, np.int32)),
            "face": pa.array(np.zeros(rows, np.int32)),
        }
    )


def names(clip: np.ndarray) -> pa.Array:
    """File names whose order is independent of that of the numbers."""
    mixed = pa.array(clip * 7_368_787 % 99_999_989 + 1_000_000_000)
    return pc.binary_join_element_wise(mixed.cast(pa.string()), ".mp4", "")


def measure(rows: int) -> list[float]:
    """Seconds of each step, and the peak memory of the process in bytes."""
    table = make_table(rows)
    seconds = []

    def timed(step: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = step()
        seconds.append(time.perf_counter() - start)
        return result

    balanced = timed(lambda: balance(table, BalanceOptions(per_class=rows // 5)))
    assert balanced.per_class == rows // 5
    del balanced
    split = timed(lambda: assign_splits(table, SplitPlan.parse("56/24/20")))
    assert not split.leaking
    assert not split.shortfall.any()
    table = add_split_column(table, split)
    del split
    assert not timed(lambda: audit(table)).leaking
    return [*seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]


@click.command()
@click.option("--largest", default=10_000_000, show_default=True, help="Rows of the last table.")
@click.option("--only", type=int, hidden=True, help="Measure this size in this process.")
def main(largest: int, only: int | None) -> None:
    """Print a table of seconds and memory, and the ratio between successive sizes."""
    if only:
        print(*measure(only))
        return
    print(f"{'rows':>11} {'families':>10}", *(f"{step:>9}" for step in STEPS), "      all  peak MB")
    totals = {}
    rows = 100_000
    while rows <= largest:
        command = [sys.executable, "-m", "benchmarks.tables", "--only", str(rows)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        *seconds, peak = (float(word) for word in said.split())
        totals[rows] = sum(seconds)
        shown = " ".join(f"{value:8.2f}s" for value in [*seconds, totals[rows]])
        print(f"{rows:>11,} {rows // 5:>10,} {shown} {peak / 1e6:8,.0f}", flush=True)
        rows *= 10
    for rows in list(totals)[1:]:
        fewer = rows // 10
        fair = 10 * math.log(rows) / math.log(fewer)
        print(
            f"{fewer:,} -> {rows:,} rows: {totals[rows] / totals[fewer]:.1f} times the time; "
            f"rows x log rows grow {fair:.1f} times"
        )


if __name__ == "__main__":
    main()
