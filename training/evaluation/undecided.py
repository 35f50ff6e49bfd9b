"""The scores that do not tell REAL from FAKE: the undecided band of a tested model."""

from typing import Any

import numpy as np

from dfdc_prep.run_files import Interval, Undecided
from manifests.labels import FAKE, REAL
from training.evaluation.bootstrap import Floats, Ints

#: Share of the images of a label that may lie on the other's side of the band.
ERROR_RATE = 0.1


def undecided_band(
    labels: Ints, scores: Floats, families: Any, auc: Interval, few: str | None
) -> Undecided:
    """The band of P(FAKE) in which a model should not call a face REAL or FAKE.

    Above it lie at most a tenth of the REAL faces of a new family, below it at most a tenth of the
    FAKE ones: conformal quantiles by label, with equal weight for each family and the weight of one
    for the family to come (Lee, Barber and Willett, "Distribution-free inference with hierarchical
    data", 2023). It holds for families like those tested. Where the labels are so far apart that
    the quantiles change places, the band is the gap between them. It is the whole range if the
    ROC-AUC may be 0.5, or if its interval is undefined.

    Args:
        labels, scores, families: of the images tested; the scores are calibrated.
        auc: 95 % interval of their ROC-AUC.
        few: why there is none, see `intervals.too_few`.
    """
    if auc.low is None or auc.high is None:
        return Undecided(0.0, 1.0, f"the model was tested on {few}")
    if auc.low <= 0.5:
        why = (
            f"with a ROC-AUC between {auc.low:.2f} and {auc.high:.2f}, the test does not show "
            "that the model tells REAL from FAKE better than chance"
        )
        return Undecided(0.0, 1.0, why)
    of = np.asarray(families)
    real, fake = labels == 0, labels == 1
    above_real = _upper_quantile(scores[real], of[real])
    below_fake = 1 - _upper_quantile(1 - scores[fake], of[fake])
    why = (
        f"about {100 * ERROR_RATE:.0f} % of the {REAL} faces of the test score higher, and as many "
        f"of the {FAKE} ones lower"
    )
    low, high = sorted((above_real, below_fake))
    return Undecided(low, high, why)


def _upper_quantile(scores: Floats, families: Any) -> float:
    """The score that a face of a new family exceeds with a probability of at most ERROR_RATE.

    1 if there are too few families for one.
    """
    _, index, sizes = np.unique(families, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[index] * (len(sizes) + 1))
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) >= 1 - ERROR_RATE - 1e-9
    return float(scores[order][np.argmax(reached)]) if reached.any() else 1.0
