import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn import metrics as sk

from training import loop, session
from training.errors import TrainingError
from training.fit import main
from training.run import Run

SMALL = {"backbone": "EfficientNetB0", "epochs": 3, "batch_size": 8}
FILES = {
    "config.json",
    "history.csv",
    "model.keras",
    "metrics.json",
    "report.txt",
    "predictions.parquet",
    "curves.png",
    "confusion.png",
    "samples.png",
    "README.md",
}


def options(shards, out, **further):
    given = {"weights": "none", "steps_per_epoch": 2} | further
    return session.Session(shards, given.pop("recipe", "v1.3"), SMALL, out, **given)


@pytest.fixture
def fit(tiny_shards, small_backbone, tmp_path):
    """Fit the small recipe into a folder of that name, and give the run."""

    def call(name, **further):
        session.fit(options(tiny_shards, tmp_path / name, **further), say=print)
        return Run(tmp_path / name)

    return call


class Cut(keras.callbacks.Callback):
    """Ends the process' work in the middle of an epoch, as a signal does."""

    def on_train_batch_end(self, batch, logs=None):
        if self.params.get("epochs") == 3:
            raise KeyboardInterrupt


def test_a_run_leaves_its_folder_and_its_figures_are_scikit_learns(fit, capsys):
    run = fit("whole")
    assert {path.name for path in run.folder.iterdir() if path.is_file()} == FILES
    assert capsys.readouterr().out.startswith("device: ")
    said, table = run.metrics(), pq.read_table(run.folder / "predictions.parquet")
    target, score = np.array(table["target"]), np.array(table["score"])
    assert len(target) == len(set(table["path"].to_pylist())) == 16
    assert said["image"]["accuracy"] == pytest.approx(sk.accuracy_score(target, score >= 0.5))
    assert said["image"]["log_loss"] == pytest.approx(sk.log_loss(target, score), abs=1e-9)
    assert said["image"]["auc"] == pytest.approx(sk.roc_auc_score(target, score), abs=1e-9)
    images, scores = Image.open(run.folder / "samples.png"), run.history()
    assert images.size[0] > 1000
    assert [row["epoch"] for row in scores] == [1, 2, 3]
    assert list((run.folder / "logs" / "train").glob("events*"))


@pytest.mark.parametrize("recipe", ["v1.3", "fine-tune"])
def test_a_run_cut_short_goes_on_as_if_it_had_not_been(fit, monkeypatch, recipe):
    """The same history to the last digit kept, the same model."""
    never_cut = fit("never", recipe=recipe)
    bar = loop.Bar
    monkeypatch.setattr(loop, "Bar", lambda *args: Cut())
    with pytest.raises(KeyboardInterrupt):
        fit("cut", recipe=recipe)
    monkeypatch.setattr(loop, "Bar", bar)
    again = fit("cut", recipe=recipe)
    for ours, theirs in zip(again.history(), never_cut.history(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert again.metrics()["image"]["log_loss"] == pytest.approx(
        never_cut.metrics()["image"]["log_loss"], rel=1e-4
    )


def test_other_options_are_refused_by_name_and_fresh_starts_over(fit):
    run = fit("one", steps_per_epoch=1)
    with pytest.raises(TrainingError, match=r"go on with seed 42, found 7.*--fresh"):
        fit("one", steps_per_epoch=1, seed=7)
    before = run.metrics()
    assert fit("one", steps_per_epoch=1).metrics() == before
    fit("one", steps_per_epoch=1, seed=7, fresh=True)
    assert run.config()["options"]["seed"] == 7
    assert len(run.history()) == 3


def test_a_folder_of_something_else_is_not_touched(fit, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("mine")
    with pytest.raises(TrainingError, match="found other files"):
        fit("home", fresh=True)
    assert (tmp_path / "home" / "letter.txt").read_text() == "mine"


def test_early_stopping_is_read_from_the_history(fit, tmp_path, tiny_shards, monkeypatch):
    monkeypatch.setitem(SMALL, "patience", 1)
    monkeypatch.setitem(SMALL, "learning_rate", 0.0)
    run = fit("stops", steps_per_epoch=1)
    assert len(run.history()) < 3
    assert len(fit("stops", steps_per_epoch=1).history()) == len(run.history())


def test_mistakes_are_one_sentence(tmp_path, tiny_shards):
    for arguments, said in (
        ([str(tmp_path)], "run dfdc-prep shard"),
        ([str(tiny_shards), "--weights", "nowhere.h5"], "found no file nowhere.h5"),
        ([str(tiny_shards), "--require-gpu"], "expected a GPU"),
    ):
        result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "run")])
        assert result.exit_code == 1
        assert result.stderr.count("error: ") == 1
        assert said in result.stderr
        assert not (tmp_path / "run").exists()


def test_help_has_an_example():
    assert "python -m training.fit shards/" in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.slow
def test_killed_in_mid_epoch_the_same_command_goes_on(tiny_shards, tmp_path):
    command = [sys.executable, "-m", "training.fit", str(tiny_shards), "--weights", "none"]
    command += ["--backbone", "EfficientNetB0", "--epochs", "3", "--batch-size", "4"]
    command += ["--steps-per-epoch", "1", "--out", str(tmp_path / "run")]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "run" / "checkpoints" / "epoch-0001.keras").exists():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": "."})
    assert [row["epoch"] for row in Run(tmp_path / "run").history()] == [1, 2, 3]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["image"]["images"] == 16
