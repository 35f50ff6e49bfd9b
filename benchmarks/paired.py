"""How often the intervals of docs/evaluate.md hold the true value, in simulated tests.

    python -m benchmarks.paired --tests 1000
    python -m benchmarks.paired --of rates
    python -m benchmarks.paired --of gaps

Families of 1 to 30 clips. Two models score each clip; their scores share effects of the label, the
family and the clip. The true difference is that of normal scores, or of 4,000 simulated families.
"""

import click
import numpy as np
from scipy.stats import norm

from dfdc_prep.run_files import TPR_AT
from manifests.labels import REAL
from training.evaluation.attributes import attribute_rows
from training.measures.intervals import MIN_FAMILIES, FamilyIntervals, families_by_label
from training.measures.paired import COMPARED, delong, difference, estimates
from training.measures.predictions import Level
from training.measures.ranking import rankings

#: Families, clips of a family at most, distances of the labels under either model.
CASES = (
    (200, 30, 1.0, 1.0),
    (200, 30, 1.5, 1.2),
    (200, 30, 2.5, 2.2),
    (200, 30, 3.5, 3.0),
    (200, 30, 4.5, 4.5),
    (200, 2, 1.5, 1.2),
    (50, 30, 1.5, 1.2),
    (20, 30, 2.5, 2.2),
)
#: Variances of the family and of the clip, which both models share in part, and of the rest: 1.
FAMILY, CLIP, REST = 0.25, 0.35, 0.4
#: Groups of an attribute.
GROUPS = 4
WHERE = {"set": "simulated", "split": "test", "model": "model"}


def drawn(rng, families, most, distances):
    """Labels and families of clips, and their logits under two models."""
    sizes = np.full(families, 2) if most == 2 else rng.integers(1, most + 1, families)
    of = np.repeat(np.arange(families), sizes)
    first = np.r_[True, np.diff(of) > 0]
    labels = np.where(first, rng.random(len(of)) < 0.2, 1).astype(np.int64)
    if most == 2:
        labels = np.tile([0, 1], families)
    else:  # a third of all clips is REAL
        labels[~first] = rng.random((~first).sum()) < 0.75
    shared = rng.normal(0, np.sqrt(FAMILY / 2), families)[of] + rng.normal(
        0, np.sqrt(CLIP / 2), len(of)
    )
    logits = []
    for distance in distances:
        own = rng.normal(0, np.sqrt(FAMILY / 2), families)[of]
        rest = rng.normal(0, np.sqrt(CLIP / 2 + REST), len(of))
        logits.append(distance * (labels - 0.5) + shared + own + rest)
    return labels, of, logits


def truths(distances):
    """The true ROC-AUC and accuracy of normal scores of variance 1, by measure and model."""
    auc = [float(norm.cdf(d / np.sqrt(2))) for d in distances]
    return {"auc": auc, "accuracy": [float(norm.cdf(d / 2)) for d in distances]}


def differences(rng, families, most, distances):
    """Of two models."""
    true = truths(distances)
    labels, of, logits = drawn(rng, families, most, distances)
    if min(families_by_label(labels, of).values()) < MIN_FAMILIES:
        return
    found = [estimates(Level(labels, each, of), of) for each in logits]
    for name in COMPARED:
        a, b = (each[name] for each in found)
        low, high = difference(a, b, of).interval
        yield name, low <= true[name][0] - true[name][1] <= high
        if name == "auc" and distances[0] == distances[1] and most == 2:
            yield "DeLong", delong(a, b, labels) > 0.05


def rates(rng, families, most, distances):
    """Of the TPR of one model at 1 % and 5 % FPR."""
    labels, of, logits = drawn(rng, families, most, distances)
    found = rankings(labels, logits[0])
    intervals = FamilyIntervals(labels, of).rankings(logits[0], {n: found[n] for n in TPR_AT})
    reals = families_by_label(labels, of)[REAL]
    for name, rate in TPR_AT.items():
        low, high = intervals[name]
        if low is None or reals * rate < 1:  # as in `measure`
            continue
        yield name, low <= norm.sf(norm.isf(rate) - distances[0]) <= high


def gaps(rng, families, most, distances):
    """Of the largest gap of one model's groups: GROUPS of families, then of clips.

    The last group has the second distance, the others have the first.
    """
    labels, of, (logits, _) = drawn(rng, families, most, distances)
    for kind, chosen in (
        ("families", rng.integers(GROUPS, size=families)[of]),
        ("clips", rng.integers(GROUPS, size=len(of))),
    ):
        last = chosen == GROUPS - 1
        shifted = logits + last * (distances[1] - distances[0]) * (labels - 0.5)
        level = Level(labels, shifted, of)
        _, found = attribute_rows(level, "group", [str(each) for each in chosen], WHERE)
        for gap in found:
            true = truths(distances)["auc" if gap.measure == "auc" else "accuracy"]
            own, other = (true[name == str(GROUPS - 1)] for name in (gap.group, gap.other))
            yield f"{gap.measure} by {kind}", gap.low <= own - other <= gap.high
            if distances[0] == distances[1]:
                yield f"{gap.measure} by {kind}, Holm", gap.p_holm > 0.05


@click.command()
@click.option("--tests", type=int, default=1000)
@click.option("--case", type=int, help="One of the cases, from 0.")
@click.option("--of", "what", type=click.Choice(["differences", "rates", "gaps"]),
              default="differences")  # fmt: skip
def main(tests: int, case: int | None, what: str) -> None:
    simulated = {"differences": differences, "rates": rates, "gaps": gaps}[what]
    for number, (families, most, *distances) in enumerate(CASES):
        if case not in (None, number):
            continue
        rng = np.random.default_rng(number)
        held: dict[str, list[bool]] = {}
        for _ in range(tests):
            for name, holds in simulated(rng, families, most, distances):
                held.setdefault(name, []).append(holds)
        shares = ", ".join(f"{n} {100 * np.mean(v):.1f} ({len(v)})" for n, v in held.items())
        print(f"{families} families of 1 to {most}, {distances}: {shares}", flush=True)


if __name__ == "__main__":
    main()
