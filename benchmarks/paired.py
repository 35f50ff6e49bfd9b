"""How often the intervals of docs/evaluate.md hold the true value, in simulated tests.

    python -m benchmarks.paired --tests 1000

Families of 1 to 30 clips. Two models score each clip; their scores share effects of the label, the
family and the clip. The true difference is that of normal scores, or of 4,000 simulated families.
"""

import click
import numpy as np
from scipy.stats import norm

from dfdc_prep.run_files import TPR_AT, OperatingPoint
from training.evaluation.intervals import MIN_FAMILIES, families_by_label
from training.evaluation.metrics import measure
from training.evaluation.paired import COMPARED, delong, difference, estimates
from training.evaluation.predictions import Level

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


@click.command()
@click.option("--tests", type=int, default=1000)
@click.option("--case", type=int, help="One of the cases, from 0.")
@click.option("--singles", is_flag=True, help="Also the intervals of TPR and Brier of one model.")
def main(tests: int, case: int | None, singles: bool) -> None:
    for number, (families, most, *distances) in enumerate(CASES):
        if case not in (None, number):
            continue
        rng, true = np.random.default_rng(number), truths(distances)
        held: dict[str, list[bool]] = {}
        for _ in range(tests):
            labels, of, logits = drawn(rng, families, most, distances)
            if min(families_by_label(labels, of).values()) < MIN_FAMILIES:
                continue
            found = [estimates(Level(labels, each, of), of) for each in logits]
            for name in COMPARED:
                a, b = (each[name] for each in found)
                low, high = difference(a, b, of).interval
                held.setdefault(name, []).append(low <= true[name][0] - true[name][1] <= high)
                if name == "auc" and distances[0] == distances[1] and most == 2:
                    held.setdefault("DeLong", []).append(delong(a, b, labels) > 0.05)
            if singles:
                one = measure(Level(labels, logits[0], of), OperatingPoint())
                for name, rate in TPR_AT.items():
                    low, high = one[name].interval
                    if low is not None:
                        share = norm.sf(norm.isf(rate) - distances[0])
                        held.setdefault(name, []).append(low <= share <= high)
        shares = ", ".join(f"{n} {100 * np.mean(v):.1f} ({len(v)})" for n, v in held.items())
        print(
            f"{families} families of 1 to {most}, {distances}: {true['auc']}: {shares}", flush=True
        )


if __name__ == "__main__":
    main()
