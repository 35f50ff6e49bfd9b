import shutil

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.errors import TrainingError
from manifests.splitting.split import SplitPlan
from tests.torture.folders import listing
from tests.training.conftest import make_faces
from training.data.shards import Shards
from training.evaluate import main
from training.measures.predictions import Source, predict_each
from training.models.classifier import logit_model
from training.runs import checkpoints
from training.runs.checkpoints import load_model
from training.runs.folder import Run


def test_other_shards_go_beside_with_the_runs_own_temperature(finished, tmp_path):
    faces = make_faces(tmp_path / "faces", families=8)
    plan = SplitPlan.parse("40/30/30", "original", 1)
    write_crops(faces, tmp_path / "other", TFRecords(), CropSelection(plan))
    before = finished.metrics_file.read_bytes()
    result = CliRunner().invoke(main, [str(finished.folder), str(tmp_path / "other")])
    assert result.exit_code == 0, result.output
    beside = Run(finished.folder / "evaluations" / "other-test")
    assert beside.metrics().temperature == finished.metrics().temperature
    assert finished.metrics_file.read_bytes() == before


def test_every_image_once_in_the_order_of_the_shards(finished, tiny_shards):
    table = pq.read_table(finished.folder / "predictions.parquet")
    rows = Shards(tiny_shards).rows("test")
    assert table["path"].to_pylist() == rows["path"].to_pylist()
    assert [["REAL", "FAKE"][t] for t in table["target"].to_pylist()] == rows["label"].to_pylist()


def test_shards_in_another_order_than_their_manifest_are_noticed(finished, tiny_shards, tmp_path):
    shutil.copytree(tiny_shards, tmp_path / "mixed")
    table = pq.read_table(tiny_shards / "manifest.parquet")
    pq.write_table(table.take(np.arange(table.num_rows)[::-1]), tmp_path / "mixed/manifest.parquet")
    model = logit_model(load_model(finished))
    with pytest.raises(TrainingError, match="in the order of its manifest"):
        predict_each(model, Source(Shards(tmp_path / "mixed"), "test", 8))


def test_an_unfinished_run_is_refused(tmp_path, finished):
    run = Run(tmp_path / "unfinished")
    run.folder.mkdir()
    shutil.copy(finished.config_file, run.config_file)
    run.model_file.write_bytes(finished.model_file.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="found a broken one"):
        load_model(run)


@pytest.mark.parametrize("form", ["savedmodel", "onnx"])
def test_an_export_gives_the_same_scores(finished, tiny_shards, form):
    path, difference = checkpoints.export_model(finished, Shards(tiny_shards), form)
    assert difference <= checkpoints.TOLERANCE
    if form == "onnx":
        (given,) = onnxruntime.InferenceSession(path).get_inputs()
        assert given.shape[1:] == [224, 224, 3]
    else:
        assert (path / "saved_model.pb").is_file()


@pytest.mark.parametrize("form", ["savedmodel", "onnx"])
def test_an_export_of_other_scores_leaves_the_one_before(
    finished, tiny_shards, tmp_path, monkeypatch, form
):
    run = Run(tmp_path / "run")
    shutil.copytree(finished.folder, run.folder)
    checkpoints.export_model(run, Shards(tiny_shards), form)
    before = listing(run.folder, [])
    monkeypatch.setattr(checkpoints, "TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match="found a difference of"):
        checkpoints.export_model(run, Shards(tiny_shards), form)
    assert listing(run.folder, []) == before
