"""Splits of a simulated DFDC whose actors are known, by family and by person.

Used by `python -m benchmarks.identities --table metadata.csv`. The families are those of the
table, and as many of them again at random as DFDC's training set has more originals; every
original is given one of 486 actors. How many originals an actor of DFDC filmed is not
published, so an even and an uneven distribution are tried.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.auditing.audit import audit
from manifests.balancing.balance import BalanceOptions, balance
from manifests.splitting.split import SplitPlan, add_split_column, assign_splits
from manifests.tables.codes import factorize_sorted

ORIGINALS, ACTORS, PER_CLASS = 19_154, 486, 16_000


def simulate(table: pa.Table, seed: int = 42) -> None:
    """Print the leak of the family-safe split by actor, and the split by actor."""
    whole = with_more_families(table, seed)
    chosen = balance(whole, BalanceOptions(PER_CLASS)).table
    for name, weights in actor_weights(seed).items():
        (family,), names = factorize_sorted(chosen["family"])
        actor = np.random.default_rng(seed).choice(ACTORS, len(names), p=weights)
        identity = pa.array([f"actor {each:03d}" for each in actor]).take(pa.array(family))
        rows = chosen.append_column("identity", identity)
        print(f"\n{name}: {len(names):,} families of {len(set(actor))} actors in the chosen crops")
        for group_by in ("original", "identity"):
            report(rows, SplitPlan.parse("56/24/20", group_by))


def report(rows: pa.Table, plan: SplitPlan) -> None:
    """Split and audit; print rows off the counts, and what crosses the splits."""
    found = assign_splits(rows, plan)
    people = audit(add_split_column(rows, found)).people
    assert people is not None
    pairs = rows.append_column("at", found.names).group_by(["identity", "at"]).aggregate([])
    splits = pairs.group_by("identity").aggregate([("at", "count")])
    crossing = pc.sum(pc.greater(splits["at_count"], 1)).as_py()
    print(f"by {plan.group_by}: {found.shortfall.sum():,} rows off, {crossing} actors crossing")
    for leak in people.leaks:
        print(f"  {leak.text('actors')}")


def with_more_families(table: pa.Table, seed: int) -> pa.Table:
    """The table, and copies of random families under new names up to `ORIGINALS` families."""
    (family,), names = factorize_sorted(table["family"])
    more = np.random.default_rng(seed).choice(len(names), max(0, ORIGINALS - len(names)), False)
    copied = table.filter(pa.array(np.isin(family, more))).select(["video", "label", "family"])
    for column in ("video", "family"):
        renamed = pc.binary_join_element_wise("copy", copied[column], "_")
        copied = copied.set_column(copied.column_names.index(column), column, renamed)
    own = table.select(["video", "label", "family"])
    joined = pa.concat_tables([own, copied])
    original = pc.if_else(
        pc.equal(joined["label"], "FAKE"), joined["family"], pa.scalar(None, pa.string())
    )
    return joined.append_column("original", original)


def actor_weights(seed: int) -> dict[str, np.ndarray]:
    """Chances of each actor to be the one filmed, float64 [ACTORS]."""
    uneven = np.random.default_rng(seed).lognormal(0, 1, ACTORS)
    return {
        "every actor as likely": np.full(ACTORS, 1 / ACTORS),
        "uneven (lognormal)": uneven / uneven.sum(),
    }
