"""Intervals from few families and of figures near 1, and the band of scores that decide nothing."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from dfdc_prep.run_files import Interval
from training.measures.intervals import FamilyIntervals, clopper_pearson, too_few
from training.measures.metrics import undecided_band


def drawn(rng, families, distance, frames=3):
    """Labels, scores and families of a REAL and a FAKE clip a family, whose frames are alike."""
    labels = np.tile(np.repeat([0, 1], frames), families)
    of = np.repeat(np.arange(families), 2 * frames)
    people, clips = rng.normal(0, 0.5, families), rng.normal(0, 0.7, 2 * families)
    scores = distance * (labels - 0.5) + people[of] + np.repeat(clips, frames)
    return labels, scores + rng.normal(0, np.sqrt(0.26), len(labels)), of


def auc_interval(labels, scores, families):
    auc = roc_auc_score(labels, scores)
    return FamilyIntervals(labels, families).rankings(scores, {"auc": auc})["auc"]


@pytest.mark.parametrize("distance", [0, 2.3, 3.3, 4.3])
def test_the_interval_covers_the_true_auc_of_few_families(distance):
    rng, truth = np.random.default_rng(5), norm.cdf(distance / np.sqrt(2))
    found = [auc_interval(*drawn(rng, 12, distance)) for _ in range(60)]
    assert np.mean([low <= truth <= high for low, high in found]) >= 0.95
    assert all(low > 0.05 + 0.5 * (distance > 3) for low, _ in found)  # and says something


def test_a_perfect_figure_is_not_certain():
    labels, families = np.tile([0, 1], 10), np.repeat(np.arange(10), 2)
    low, high = auc_interval(labels, labels.astype(float), families)
    assert (low, high) == pytest.approx((0.025 ** (1 / 10), 1), abs=0.01)
    assert FamilyIntervals(labels, families).share(labels >= 0).low == pytest.approx(low, abs=0.01)
    assert FamilyIntervals(labels, families).share(labels < 0).low == 0


def test_two_clips_have_no_interval():
    assert auc_interval(np.array([0, 1]), np.array([0.2, 0.9]), ["a", "a"]) == (None, None)
    assert too_few(2, {"REAL": 1, "FAKE": 1}) == "2 clips: too few to say"
    assert too_few(1, {"REAL": 1, "FAKE": 0}) == "1 clip: too few to say"
    few_fakes = {"REAL": 300, "FAKE": 3}
    assert too_few(500, few_fakes) == "FAKE clips of 3 families: too few to say"
    assert too_few(500, {"REAL": 10, "FAKE": 10}) is None


def test_one_large_family_counts_little():
    sizes = np.array([1000, *[1] * 19])
    families = np.repeat(np.arange(20), sizes)
    found = FamilyIntervals(np.zeros(len(families), int), families).share(families >= 0)
    assert found.low < 0.1


def test_frames_do_not_narrow_the_interval():
    rng = np.random.default_rng(1)
    labels, scores, families = drawn(rng, 20, 2.3, frames=1)
    once = auc_interval(labels, scores, families)
    often = auc_interval(*(np.repeat(each, 10) for each in (labels, scores, families)))
    assert once == pytest.approx(often)


def test_clopper_pearson_is_scipys():
    for holds in (0, 3, 10):
        exact = binomtest(holds, 10).proportion_ci(0.95, "exact")
        assert clopper_pearson(holds / 10, 10) == pytest.approx((exact.low, exact.high))


def band_of(labels, logits, families):
    interval = auc_interval(labels, logits, families)
    scores = 1 / (1 + np.exp(-logits))
    return undecided_band(labels, scores, families, interval, "2 clips: too few to say")


def test_a_model_at_chance_or_tested_on_few_clips_decides_nothing():
    rng = np.random.default_rng(2)
    found = band_of(*drawn(rng, 40, 0))
    assert (found.low, found.high) == (0, 1)
    assert "better than chance" in found.why
    found = band_of(*drawn(rng, 2, 3.3))
    assert (found.low, found.high) == (0, 1)
    assert found.why == "the model was tested on 2 clips: too few to say"


def test_outside_the_band_a_tenth_of_either_label_is_wrong():
    rng = np.random.default_rng(3)
    found = band_of(*drawn(rng, 200, 1.5))
    labels, logits, _ = drawn(rng, 4000, 1.5)
    scores = 1 / (1 + np.exp(-logits))
    assert np.mean(scores[labels == 0] > found.high) == pytest.approx(0.1, abs=0.04)
    assert np.mean(scores[labels == 1] < found.low) == pytest.approx(0.1, abs=0.04)


def test_the_band_of_a_good_model_is_the_gap_between_the_labels():
    found = band_of(*drawn(np.random.default_rng(4), 40, 8))
    assert 0.02 < found.low < 0.5 < found.high < 0.98
    interval = Interval(0.9, 1.0)
    few = undecided_band(np.array([0, 1]), np.array([0.1, 0.9]), ["a", "b"], interval, None)
    assert (few.low, few.high) == (0, 1)  # one family of each label bounds nothing
