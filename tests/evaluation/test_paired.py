"""Differences of models beside DeLong's own formulas, exact tests and simulated truth."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t
from sklearn import metrics as sk

from benchmarks.paired import drawn, truths
from dfdc_prep.run_files import OperatingPoint
from training.measures.intervals import FamilyBootstrap
from training.measures.metrics import calibration_error, measure, risks
from training.measures.paired import delong, difference, estimates, holm, mean_of, placements_of
from training.measures.predictions import Level


def two_models(families, ties=False, seed=0):
    """Labels, families and two logits of a REAL and a FAKE clip a family."""
    labels, of, logits = drawn(np.random.default_rng(seed), families, 2, (1.5, 1.0))
    return labels, of, [np.round(each) if ties else each for each in logits]


def psi(fake, real):
    """DeLong, DeLong and Clarke-Pearson's kernel, [FAKE, REAL]."""
    return (fake[:, None] > real[None]) + 0.5 * (fake[:, None] == real[None])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("families", [12, 100])
def test_delong_is_that_of_the_paper_computed_pair_by_pair(families, ties):
    labels, of, logits = two_models(families, ties)
    kernels = [psi(each[labels == 1], each[labels == 0]) for each in logits]
    v10, v01 = (np.array([k.mean(axis=axis) for k in kernels]) for axis in (1, 0))
    covariance = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    gap = kernels[0].mean() - kernels[1].mean()
    first, second = (estimates(Level(labels, each, of), of)["auc"] for each in logits)
    assert first.value == pytest.approx(sk.roc_auc_score(labels, logits[0]), abs=1e-12)
    assert first.value - second.value == pytest.approx(gap, abs=1e-12)
    expected = 2 * norm.sf(abs(gap) / np.sqrt(variance))
    assert delong(first, second, labels) == pytest.approx(expected, abs=1e-9)


def test_placements_with_ties_are_counted_pair_by_pair():
    rng = np.random.default_rng(4)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 6, 80).astype(float)
    kernel, found = psi(scores[labels == 1], scores[labels == 0]), placements_of(labels, scores)
    assert found[labels == 1] == pytest.approx(kernel.mean(axis=1), abs=1e-12)
    assert found[labels == 0] == pytest.approx(kernel.mean(axis=0), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_resampled_auc_is_that_of_weighted_clips(ties):
    labels, of, logits = drawn(np.random.default_rng(3), 15, 6, (1.0, 1.0))
    scores = np.round(logits[0]) if ties else logits[0]
    of = of % 12  # families that are not in order
    found = FamilyBootstrap(of).rankings(labels, scores, ("auc",))["auc"]
    draws = np.random.default_rng(42).multinomial(12, np.full(12, 1 / 12), size=1000)
    for at in range(0, 1000, 100):
        weights = draws[at][of]
        expected = sk.roc_auc_score(labels, scores, sample_weight=weights)
        assert found[at] == pytest.approx(expected, abs=1e-9)
    assert found == pytest.approx(FamilyBootstrap(of).rankings(labels, scores)["auc"], abs=1e-12)


def test_the_parts_of_families_have_the_variance_of_the_resamples():
    labels, of, logits = drawn(np.random.default_rng(5), 150, 20, (1.5, 1.0))
    for name in ("auc", "accuracy"):
        found = estimates(Level(labels, logits[0], of), of)[name]
        assert found.parts.sum(axis=1) == pytest.approx([0, 0], abs=1e-9) or name == "accuracy"
        by_parts = np.sqrt(np.sum(found.parts.sum(axis=0) ** 2))
        assert by_parts == pytest.approx(found.resampled.std(), rel=0.12)


def differing(families, better):
    """The p of two models that are right but for `better` families, which only one has right."""
    labels = np.tile([0, 1], families)
    of, right = np.repeat(np.arange(families), 2), 4.0 * labels - 2
    wrong = np.where(of < better, -right, right)
    first, second = (estimates(Level(labels, each, of), of)["accuracy"] for each in (right, wrong))
    return difference(first, second, of)


@pytest.mark.parametrize("better", [3, 4, 5, 6, 8])
def test_few_families_that_differ_have_about_the_p_of_a_sign_test(better):
    exact = binomtest(better, better).pvalue
    assert differing(200, better).p == pytest.approx(exact, rel=0.7, abs=0.03)
    assert differing(200, better).p > exact / 2


def test_models_that_no_family_tells_apart_may_still_differ():
    value, (low, high), p = differing(200, 0)
    assert (value, p) == (0, 1)
    assert -low == high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert differing(200, 1).interval.low < 0 < differing(200, 1).p


def test_models_of_opposite_calls_differ_for_sure():
    value, (low, high), p = differing(20, 20)
    assert value == high == 1
    assert 0.8 < low < 0.9
    assert p == pytest.approx(binomtest(20, 20).pvalue)


def test_the_order_of_models_turns_the_sign():
    labels, of, logits = two_models(60)
    first, second = (estimates(Level(labels, each, of), of)["auc"] for each in logits)
    one, other = difference(first, second, of), difference(second, first, of)
    assert one.value == -other.value
    assert one.interval == pytest.approx((-other.interval.high, -other.interval.low))
    assert one.p == other.p


def test_the_mean_over_seeds_is_compared_as_a_whole():
    labels, of, logits = two_models(60)
    found = [estimates(Level(labels, each, of), of)["auc"] for each in logits]
    alike = difference(mean_of([found[0], found[0]]), found[1], of)
    assert alike.interval == pytest.approx(difference(found[0], found[1], of).interval)
    assert mean_of(found).value == pytest.approx(np.mean([each.value for each in found]))


def test_holm_is_that_of_the_textbook():
    # Holm (1979), and R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("most", [2, 30])
def test_the_interval_of_a_difference_covers_the_truth(most):
    rng, true, held = np.random.default_rng(9), truths((1.5, 1.2)), {"auc": [], "accuracy": []}
    for _ in range(60):
        labels, of, logits = drawn(rng, 60, most, (1.5, 1.2))
        found = [estimates(Level(labels, each, of), of) for each in logits]
        for name, each in held.items():
            low, high = difference(found[0][name], found[1][name], of).interval
            each.append(low <= true[name][0] - true[name][1] <= high)
    assert all(0.88 <= np.mean(each) <= 1 for each in held.values())


def weighted(guessed):
    """A level with guesses, and what it stands for: half a clip above all and half below."""
    labels, of, logits = two_models(40, ties=True)
    level = Level(labels, np.where(guessed, 0.0, logits[0]), of, guessed)
    ends = [np.where(guessed, end, level.logits) for end in (-99.0, 99.0)]
    return level, np.tile(labels, 2), np.concatenate(ends)


def test_a_guess_is_half_a_clip_above_all_and_half_below():
    guessed = np.arange(80) % 7 == 0
    level, labels, scores = weighted(guessed)
    found = {name: each.value for name, each in measure(level, OperatingPoint()).items()}
    assert found["auc"] == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-9)
    average = sk.average_precision_score(labels, scores)
    assert found["average_precision"] == pytest.approx(average, abs=1e-9)
    called = sk.accuracy_score(labels, scores >= 0)
    assert found["accuracy"] == pytest.approx(called, abs=1e-9)
    pairs = psi(level.logits[level.labels == 1], level.logits[level.labels == 0])
    fake, real = guessed[level.labels == 1], guessed[level.labels == 0]
    pairs[fake] = pairs[:, real] = 0.5
    assert found["auc"] == pytest.approx(pairs.mean(), abs=1e-9)
    assert estimates(level, level.families)["auc"].value == pytest.approx(found["auc"])


def test_nobody_gains_by_skipping_clips_that_are_unsure():
    labels, of, logits = two_models(200, seed=6)
    unsure = np.abs(logits[0]) < 0.3
    whole = measure(Level(labels, logits[0], of), OperatingPoint())
    skipped = measure(Level(labels, np.where(unsure, 0, logits[0]), of, unsure), OperatingPoint())
    left_out = measure(Level(labels, logits[0], of).where(~unsure), OperatingPoint())
    assert skipped["auc"].value < whole["auc"].value < left_out["auc"].value
    assert skipped["accuracy"].value <= whole["accuracy"].value < left_out["accuracy"].value


def test_skipping_what_is_wrong_does_not_raise_the_auc_as_a_score_of_one_half_would():
    labels, of, logits = two_models(200, seed=6)
    wrong = (logits[0] >= 0) != labels
    filled = np.where(wrong, 0, logits[0])
    whole, half, chance = (
        measure(level, OperatingPoint())["auc"].value
        for level in (
            Level(labels, logits[0], of),
            Level(labels, filled, of),
            Level(labels, filled, of, wrong),
        )
    )
    assert (whole, half, chance) == pytest.approx((0.842, 0.974, 0.796), abs=5e-4)


@pytest.mark.parametrize("ties", [False, True])
def test_measures_are_scikit_learns(ties):
    labels, of, logits = two_models(120, ties)
    scores = 1 / (1 + np.exp(-logits[0]))
    measured = measure(Level(labels, logits[0], of), OperatingPoint())
    found = {name: each.value for name, each in measured.items()}
    false, true, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    expected = {
        "auc": sk.roc_auc_score(labels, scores),
        "accuracy": sk.accuracy_score(labels, scores >= 0.5),
        "brier": sk.brier_score_loss(labels, scores),
        "log_loss": sk.log_loss(labels, scores),
        "tpr_at_fpr_1": true[false <= 0.01].max(),
        "tpr_at_fpr_5": true[false <= 0.05].max(),
        "ece": calibration_error(labels, scores),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_the_risk_of_the_surest_is_counted_one_by_one():
    labels, of, logits = two_models(50)
    level = Level(labels, logits[0], of)
    order = np.argsort(-np.abs(logits[0]))
    wrong = ((logits[0] >= 0) != labels)[order]
    expected = [wrong[:number].mean() for number in range(1, 101)]
    assert risks(level) == pytest.approx(np.array(expected), abs=1e-12)
    assert measure(level, OperatingPoint())["aurc"].value == pytest.approx(np.mean(expected))
    tied = Level(labels, np.where(labels == 1, -1.0, -1.0), of)
    assert risks(tied) == pytest.approx(np.full(100, 0.5))


def test_student_has_one_degree_of_freedom_for_one_family():
    found = differing(200, 1)
    spread = found.value / t.isf(found.p / 2, 1)
    assert found.interval.high - found.value == pytest.approx(t.ppf(0.975, 1) * spread, rel=0.05)
