"""Resampled measures beside scikit-learn's measures of weighted images."""

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn import metrics as sk

from training.measures import intervals, ranking
from training.measures.intervals import FamilyBootstrap

IMAGES, FAMILIES = 200, 12


@pytest.fixture(scope="module")
def drawn():
    """Labels, scores with ties, families."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, IMAGES)
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 1)
    return labels, scores, rng.integers(0, FAMILIES, IMAGES)


def weights_of(families, seed=42):
    """The weight of each image in each resample, drawn again."""
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(FAMILIES, np.full(FAMILIES, 1 / FAMILIES), size=intervals.SAMPLES)
    return draws[:, families].astype(float)


def equal_error_rate(labels, scores, weights):
    """The usual one: where the interpolated ROC curve meets the other diagonal."""
    false, true, _ = sk.roc_curve(labels, scores, sample_weight=weights)
    return brentq(lambda x: 1 - x - np.interp(x, false, true), 0, 1)


def test_resampled_measures_are_those_of_weighted_images(drawn):
    labels, scores, families = drawn
    resampled = FamilyBootstrap(families).rankings(labels, scores)
    for at, weights in list(enumerate(weights_of(families)))[::50]:
        kept = weights > 0
        given = labels[kept], scores[kept]
        weighted = {"sample_weight": weights[kept]}
        assert resampled["auc"][at] == pytest.approx(sk.roc_auc_score(*given, **weighted))
        average = sk.average_precision_score(*given, **weighted)
        assert resampled["average_precision"][at] == pytest.approx(average)
        assert resampled["eer"][at] == pytest.approx(equal_error_rate(*given, weights[kept]))


def test_means_are_weighted_by_family(drawn):
    _, scores, families = drawn
    expected = [np.average(scores, weights=w) for w in weights_of(families)]
    assert FamilyBootstrap(families).means(scores) == pytest.approx(np.array(expected))


def test_the_size_of_the_parts_changes_nothing(drawn, monkeypatch):
    labels, scores, families = drawn
    whole = FamilyBootstrap(families).rankings(labels, scores)
    monkeypatch.setattr(ranking, "_MAX_WEIGHTS", 3 * IMAGES)
    for name, values in FamilyBootstrap(families).rankings(labels, scores).items():
        assert (values == whole[name]).all()


def test_a_resample_without_a_label_is_undefined():
    labels, scores = np.array([0, 1]), np.array([0.2, 0.9])
    auc = FamilyBootstrap(["a", "b"]).rankings(labels, scores)["auc"]
    assert 300 < np.isnan(auc).sum() < 700
    assert (auc[~np.isnan(auc)] == 1).all()
