import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from dfdc_prep.run_files import OperatingPoint
from manifests.labels import LABELS
from training.measures import metrics
from training.measures.predictions import Predictions, group_means


@pytest.fixture
def drawn():
    """400 images of 100 clips of 50 families, with logits twice their calibrated value."""
    rng = np.random.default_rng(11)
    families = np.repeat(np.arange(50), 8)
    clips = np.repeat(np.arange(100), 4)
    odds = rng.normal(0, 2, 400)
    labels = np.where(rng.random(400) < expit(odds), 1, 0)
    return labels, 2 * odds, clips, families


def test_figures_are_scikit_learns(drawn):
    labels, logits, _, families = drawn
    scores = expit(logits)
    found = metrics.classification_metrics(labels, scores, families)
    assert found.accuracy == sk.accuracy_score(labels, scores >= 0.5)
    assert found.log_loss == sk.log_loss(labels, scores)
    assert found.auc == sk.roc_auc_score(labels, scores)
    table = sk.classification_report(labels, (scores >= 0.5).astype(int), output_dict=True)
    assert found.classes["FAKE"].f1 == table["1"]["f1-score"]
    assert np.sum(found.confusion) == found.images == 400


def test_one_class_has_no_auc():
    found = metrics.classification_metrics(
        np.zeros(3, np.int64), np.array([0.1, 0.2, 0.9]), np.arange(3)
    )
    assert found.auc is None
    assert found.classes["FAKE"].support == 0


def test_the_temperature_undoes_what_was_done_to_the_logits(drawn):
    labels, logits, _, _ = drawn
    t = metrics.fit_temperature(labels, logits)
    assert t == pytest.approx(2, rel=0.25)
    assert sk.log_loss(labels, expit(logits / t)) < sk.log_loss(labels, expit(logits))
    assert metrics.calibration_error(labels, expit(logits / t)) < metrics.calibration_error(
        labels, expit(logits)
    )


def test_the_temperature_of_a_split_without_errors_is_finite():
    labels = np.repeat([0, 1], 50)
    t = metrics.fit_temperature(labels, np.where(labels == 1, 2.0, -2.0))
    assert expit(2 / t) == pytest.approx(51 / 52, abs=1e-3)


def test_a_clips_logit_is_the_mean_of_its_images(drawn):
    _, logits, clips, _ = drawn
    means = group_means(logits, clips)
    assert len(means) == 100
    assert means[17] == pytest.approx(logits[clips == 17].mean())


def test_an_interval_holds_its_figure(drawn):
    labels, logits, clips, families = drawn
    columns = {"part": ["p"] * 400, "video": clips.astype(str), "family": families.astype(str)}
    columns["label"] = [LABELS[label] for label in labels]
    columns["family_source"] = ["unknown" if 0 < clip < 3 and label else "known"
                                for clip, label in zip(clips, labels, strict=True)]  # fmt: skip
    predictions = Predictions(pa.table(columns), labels, logits)
    found = metrics.split_metrics("test", "shards", predictions, OperatingPoint(2.0, 0.5))
    for level in (found.image, found.clip):
        for name in ("accuracy", "log_loss", "auc"):
            low, high = getattr(level.interval, name)
            assert low <= getattr(level, name) <= high
    assert found.families == 50
    assert found.too_few is None
    (remark,) = found.remarks
    assert remark.startswith("The original of 2 FAKE clips is not known")
    assert 0 < found.undecided.low < found.undecided.high < 1


def test_a_temperature_at_its_bound_is_remarked(drawn):
    labels, logits, _, _ = drawn
    at_chance = metrics.fit_temperature(labels, np.where(logits > 0, -1.0, 1.0))
    assert at_chance == pytest.approx(20, rel=1e-3)
    assert "largest that is tried" in metrics.temperature_remark(at_chance)
    tiny = metrics.fit_temperature(labels, 1e-4 * logits)
    assert "smallest that is tried" in metrics.temperature_remark(tiny)
    assert metrics.temperature_remark(2.0) is None
