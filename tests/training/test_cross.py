"""Several models on several data sets: the table beside scikit-learn, names, overlap, methods."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from scipy.special import expit
from sklearn import metrics as sk

from dfdc_prep.reports.build import build_report
from dfdc_prep.run_files import MEASURES, OperatingPoint
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.arrow import MANIFEST_SCHEMA
from manifests.splitting.split import SplitPlan
from tests.training.conftest import make_faces
from tests.training.test_bootstrap import equal_error_rate
from training.data.shards import Shards
from training.evaluate import main
from training.evaluation.cross import known_images, name_sets, numbered
from training.measures.metrics import measure
from training.measures.predictions import Level
from training.runs.folder import Run


def make_shards(folder: Path, change=lambda row, number: {}, seed: int = 8) -> Path:
    """Shards of 8 families whose rows have other values in some columns."""
    faces = make_faces(folder / "faces", families=8, frames=2, seed=seed)
    rows = pq.read_table(faces / "balanced.parquet").to_pylist()
    rows = [row | change(row, number) for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), faces / "balanced.parquet")
    plan = SplitPlan.parse("30/30/40", "original", 1)
    write_crops(faces, folder / "other", TFRecords(), CropSelection(plan))
    return folder / "other"


def elsewhere(row, number):
    """A data set of its own with two methods of forgery."""
    method = ("Deepfakes", "FaceSwap")[number // 4 % 2] if row["label"] == "FAKE" else None
    return {"dataset": "celeb", "method": method, "family": f"celeb-{row['family']}"}


@pytest.fixture(scope="module")
def compared(finished, tmp_path_factory):
    """One command on two other sets; the second lacks the column `dataset`."""
    folder = tmp_path_factory.mktemp("cross")
    celeb = make_shards(folder / "a", elsewhere)
    plain = make_shards(folder / "b")
    result = CliRunner().invoke(main, [str(finished.folder), str(celeb), str(plain)])
    assert result.exit_code == 0, result.output
    return result.stdout, finished.cross()  # without lines of progress


def predictions_of(run, name):
    """predictions.parquet of a set, with the methods from the shards' manifest."""
    table = pq.read_table(run.folder / "evaluations" / name / "predictions.parquet").to_pandas()
    shards = run.folder / "evaluations" / name / "metrics.json"
    rows = Shards(Path(json.loads(shards.read_text())["shards"])).rows("test")
    return table.assign(method=rows["method"].to_pylist())


@pytest.mark.parametrize("method", ["all", "Deepfakes", "FaceSwap"])
@pytest.mark.parametrize("level", ["image", "clip"])
def test_the_table_is_scikit_learns_on_the_predictions(finished, compared, method, level):
    table = predictions_of(finished, "other-test")
    if method != "all":
        table = table[(table["label"] == "REAL") | (table["method"] == method)]
    if level == "clip":
        table = table.groupby(["part", "video"])[["target", "logit"]].mean()
    labels, scores = table["target"].to_numpy(int), expit(table["logit"].to_numpy())
    rows = {
        row.measure: row
        for row in compared[1]
        if (row.set, row.method, row.level) == ("celeb", method, level)
    }
    own = finished.metrics()
    calibrated = expit(table["logit"] / own.temperature)
    expected = {
        "accuracy": sk.accuracy_score(labels, scores >= 0.5),
        "accuracy_at_threshold": sk.accuracy_score(labels, scores >= own.threshold),
        "log_loss": sk.log_loss(labels, scores, labels=[0, 1]),
        "log_loss_calibrated": sk.log_loss(labels, calibrated, labels=[0, 1]),
        "auc": sk.roc_auc_score(labels, scores),
        "average_precision": sk.average_precision_score(labels, scores),
        "eer": equal_error_rate(labels, scores, None),
    }
    for name, value in expected.items():
        assert rows[name].value == pytest.approx(value), name
        assert rows[name].low is rows[name].high is None  # too few families
    assert (rows["auc"].real, rows["auc"].fake) == ((labels == 0).sum(), (labels == 1).sum())


def test_sets_methods_and_the_runs_own_validation(finished, compared):
    output, rows = compared
    assert {(row.set, row.method) for row in rows} == {
        ("celeb", "all"), ("celeb", "Deepfakes"), ("celeb", "FaceSwap"), ("other", "all"),
    }  # fmt: skip
    assert {row.threshold for row in rows} == {finished.metrics().threshold}
    assert {row.temperature for row in rows} == {finished.metrics().temperature}
    assert "celeb  Deepfakes  clip" in output
    report = (finished.folder / "report.txt").read_text()
    assert report.startswith("test split of")
    assert output.split("results written")[0] in report


def test_overlap_with_training_is_found(finished, compared):
    output, rows = compared
    seen = {r.set: (r.trained_on, r.real + r.fake) for r in rows if r.level == "image"}
    assert seen["celeb"][0] == 0
    assert seen["other"][0] > 0
    assert f"{seen['other'][0]} of {seen['other'][1]} images of other; its figures" in output


def test_the_report_of_a_run_that_is_tested_again_keeps_the_table(finished, compared):
    before = (finished.folder / "report.txt").read_bytes()
    result = CliRunner().invoke(main, [str(finished.folder)])
    assert result.exit_code == 0, result.output
    assert (finished.folder / "report.txt").read_bytes() == before


def test_the_page_of_the_run_shows_the_table(finished, compared):
    page = build_report(finished.folder).out.read_text()
    (row,) = (r for r in compared[1] if (r.set, r.method, r.level) == ("celeb", "all", "clip")
              and r.measure == "auc")  # fmt: skip
    assert f"{row.value:.4f}" in page
    assert "<td>too few" in page
    assert "Of families or files that finished was trained on" in page


def test_a_run_beside_a_model_file(finished, tmp_path):
    shards = make_shards(tmp_path / "a", elsewhere)
    file, out = str(finished.model_file), tmp_path / "out"
    arguments = [file, str(shards), "--beside", str(finished.folder), "--out", str(out)]
    before = sorted(finished.folder.rglob("*"))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rows = Run(out).cross()
    values = {
        model: [row.value for row in rows if row.model == model and row.measure in ("auc", "eer")]
        for model in ("model.keras", "finished")
    }
    assert values["model.keras"] == values["finished"] != []
    assert {row.trained_on for row in rows if row.model == "model.keras"} == {None}
    assert "threshold and temperature are from the validation split of" in result.output
    page = build_report(out).out.read_text()
    assert "Whether model.keras was trained on clips of these sets is not known" in page
    assert "is not finished" not in page
    assert (out / "beside" / "finished" / "other-test" / "metrics.json").is_file()
    assert sorted(finished.folder.rglob("*")) == before
    compared = Run(out).comparison("comparison.csv")
    assert {(r.model, r.other, r.measure) for r in compared} == {
        ("model.keras", "finished", "auc"), ("model.keras", "finished", "accuracy"),
    }  # fmt: skip
    assert {row.difference for row in compared} == {0}
    assert "surest 50 %" in result.output
    assert "surest 50 %" in (out / "report.txt").read_text()
    table = pq.read_table(out / "other-test" / "scores.parquet").to_pylist()
    values = {(row["video"], row["label"]): row["logit"] for row in table}
    assert len(values) == len(table) == compared[0].clips
    assert {row["status"] for row in table} == {"ok"}


def test_a_set_with_one_label_has_no_measures_that_compare(finished):
    labels, logits = np.zeros(6, int), np.linspace(-2, 1, 6)
    found = measure(Level(labels, logits, np.arange(6)), OperatingPoint())
    assert [name for name, each in found.items() if each.value is None] == [
        "accuracy_at_threshold", "auc", "average_precision", "eer", "tpr_at_fpr_1", "tpr_at_fpr_5",
    ]  # fmt: skip
    assert found["accuracy"].value == pytest.approx(4 / 6)
    of_one_family = measure(Level(labels, logits, np.zeros(6)), OperatingPoint(1, 0.4))
    assert of_one_family["accuracy"].interval == (None, None)
    assert of_one_family["accuracy_at_threshold"].value is not None


def test_a_label_of_few_families_has_figures_and_no_intervals():
    labels, logits = np.array([0, 0, 1, 1]), np.array([-1.0, 0.5, 0.2, 2.0])
    found = measure(Level(labels, logits, ["a", "a", "b", "c"]), OperatingPoint())
    assert found["auc"].value == 0.75
    assert {each.interval for each in found.values()} == {(None, None)}
    level = Level(np.tile(labels, 5), np.tile(logits, 5), np.arange(20))
    many = measure(level, OperatingPoint(1, 0.4))
    intervals = {name: each for name, each in many.items() if each.interval.low is not None}
    assert many.keys() - intervals == {"ece", "aurc", "tpr_at_fpr_1", "tpr_at_fpr_5"}
    assert all(m.interval.low <= m.value <= m.interval.high for m in intervals.values())


def test_sets_of_the_same_name_are_told_apart():
    datasets = {"x/a": ["dfdc", None], "y/b": ["dfdc"], "z/a": [None]}
    found = name_sets([(Path(n), pa.table({"dataset": v})) for n, v in datasets.items()])
    assert [each.name for each in found] == ["a (a)", "dfdc (a)", "dfdc (b)", "a (a) 2"]
    assert [each.position for each in found] == [0, 0, 1, 2]
    assert numbered(["a", "a", "a 2"]) == ["a", "a 2", "a 2 2"]


def test_families_of_different_data_sets_are_not_mixed_up():
    columns = ("dataset", "family", "sha256")
    trained = [("ff", "000", "x"), (None, "abc.mp4", "y")]
    tested = [
        ("ff", "000", "1"), ("celeb", "000", "2"), (None, "000", "3"),
        ("celeb", "abc.mp4", "4"), ("celeb", "001", "x"), ("celeb", "001", "5"),
    ]  # fmt: skip
    table, rows = (
        pa.table(dict(zip(columns, map(list, zip(*each, strict=True)), strict=True)))
        for each in (trained, tested)
    )
    known = known_images(table, rows)
    assert known.tolist() == [True, False, True, True, True, False]


def test_the_table_is_tidy(finished, compared):
    with open(finished.cross_file, newline="") as file:
        rows = list(csv.DictReader(file))
    keys = {(r["model"], r["set"], r["method"], r["level"], r["measure"]) for r in rows}
    assert len(keys) == len(rows) == 4 * 2 * len(MEASURES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "--channels", "bgr"], "--channels is for a model file"),
        (["RUN", "a", "b", "--robustness"], "take one run and at most one SHARDS"),
        (["RUN", "a", "--beside", "model.h5"], "--beside takes the folder of a run"),
        (["model.onnx"], "a model file has no shards of its own"),
    ],
)
def test_options_that_do_not_fit_are_refused(finished, arguments, said):
    given = [str(finished.folder) if each == "RUN" else each for each in arguments]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 2
    assert said in result.output


def test_a_new_training_removes_the_table(finished, compared, tmp_path):
    run = Run(tmp_path)
    run.cross_file.write_bytes(finished.cross_file.read_bytes())
    run.clear()
    assert not run.cross_file.exists()
