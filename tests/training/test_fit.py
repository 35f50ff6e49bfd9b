import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sklearn import metrics as sk

from dfdc_prep.run_files import FitConfig
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.errors import OutputError, TrainingError
from manifests.files import folder_lock
from manifests.splitting.split import SplitPlan
from tests.training.conftest import SMALL, make_faces, new_config
from training.data.shards import Shards
from training.fit import main
from training.models import devices
from training.recipes import choose_recipe
from training.runs import checkpoints, experiment, trainer
from training.runs.folder import Run

FILES = {
    "config.json",
    "history.csv",
    "model.keras",
    "metrics.json",
    "report.txt",
    "predictions.parquet",
    "scores.parquet",
    "scores.csv",
    "curves.png",
    "confusion.png",
    "samples.png",
    "README.md",
}


#: `dfdc-prep fit` with the smaller backbone of these tests.
SMALLER = """
import keras
from tests.training.conftest import smallest
from training.fit import main
keras.applications.EfficientNetB7 = smallest
main()
"""


@pytest.fixture
def fit(tiny_shards, small_backbone, tmp_path):
    """A function that fits the small recipe into a named folder and returns the run."""

    def call(name, recipe="v1.3", overrides=SMALL, **further):
        options = {"weights": "none", "steps_per_epoch": 2} | further
        out = tmp_path / name
        experiment.fit(
            experiment.FitOptions(tiny_shards, recipe, overrides, out, **options), log=print
        )
        return Run(out)

    return call


@pytest.fixture
def command(tiny_shards, tmp_path):
    """The command line of a run of three epochs into tmp_path/run."""
    options = ["--weights", "none", "--backbone", "EfficientNetB7", "--epochs", "3"]
    further = ["--batch-size", "8", "--steps-per-epoch", "2", "--out", str(tmp_path / "run")]
    return [sys.executable, "-c", SMALLER, str(tiny_shards), *options, *further]


class Interrupt(keras.callbacks.Callback):
    """Interrupt the third epoch, as a signal does."""

    def on_train_batch_end(self, batch, logs=None):
        if self.params["epochs"] == 3:
            raise KeyboardInterrupt


def test_a_run_leaves_its_folder_and_its_figures_are_scikit_learns(finished):
    left = {path.name for path in finished.folder.iterdir() if path.is_file()}
    assert left >= FILES
    metrics, table = finished.metrics(), pq.read_table(finished.folder / "predictions.parquet")
    target, score = np.array(table["target"]), np.array(table["score"])
    assert len(target) == len(set(table["path"].to_pylist())) == 16
    assert metrics.image.accuracy == pytest.approx(sk.accuracy_score(target, score >= 0.5))
    assert metrics.image.log_loss == pytest.approx(sk.log_loss(target, score), abs=1e-9)
    assert metrics.image.auc == pytest.approx(sk.roc_auc_score(target, score), abs=1e-9)
    assert [row["epoch"] for row in finished.history()] == [1, 2, 3]
    assert list((finished.folder / "logs" / "train").glob("events*"))


def test_the_card_has_data_recipe_figures_and_limits(finished):
    card = (finished.folder / "README.md").read_text()
    for heading in ("## Data", "## Recipe", "## Results", "## Limits"):
        assert heading in card
    assert "the shards contain 80 images" in card
    assert "0.9022" in card
    assert f"{finished.metrics().image.accuracy:.4f}" in card


def test_an_interrupted_run_resumes_with_the_same_results(fit, finished, monkeypatch):
    bar = trainer.ProgressBar
    monkeypatch.setattr(trainer, "ProgressBar", lambda *args: Interrupt())
    with pytest.raises(KeyboardInterrupt):
        fit("interrupted")
    monkeypatch.setattr(trainer, "ProgressBar", bar)
    again = fit("interrupted")
    for ours, theirs in zip(again.history(), finished.history(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert again.metrics().image.log_loss == pytest.approx(
        finished.metrics().image.log_loss, rel=1e-4
    )


def test_fine_tuning_trains_the_head_alone_and_then_more(fit, capsys):
    run = fit("tuned", "fine-tune", SMALL | {"head_epochs": 1})
    rates = [row["learning_rate"] for row in run.history()]
    assert rates == pytest.approx([0.01, 0.005, 0], abs=1e-6)
    assert capsys.readouterr().err.count("compiling the training step") == 2


def test_other_options_are_refused_by_name(finished, tiny_shards):
    other = experiment.FitOptions(tiny_shards, "v1.3", SMALL, finished.folder, "none", 2, seed=7)
    with pytest.raises(TrainingError, match=r"resume with seed 42, found 7.*--fresh"):
        experiment.fit(other, log=print)


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"found (logs|letter\.txt)"):
        Run(tmp_path).prepare(new_config(), fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_second_training_in_the_folder_names_the_first(fit, tmp_path):
    with (
        folder_lock(tmp_path / "run"),
        pytest.raises(OutputError, match=rf"process {os.getpid()} on"),
    ):
        fit("run")
    assert not (tmp_path / "run").exists()


def test_resuming_removes_partial_files(tmp_path):
    run, config = Run(tmp_path), new_config()
    run.prepare(config, fresh=False)
    half = tmp_path / ".history.csv.0123456789abcdef.half.csv"
    for name in (half.name, ".README.md.swp", ".history.csv.half.csv"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".history.csv.lock").write_text(f"process 1 on nowhere\n{half.name}")
    run.prepare(config, fresh=False)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"config.json", ".README.md.swp", ".history.csv.half.csv"}


def test_fresh_removes_only_the_files_of_the_run(tmp_path):
    run = Run(tmp_path)
    run.prepare(new_config(epochs=1), fresh=False)
    run.write_history([])
    run.checkpoints.mkdir()
    (tmp_path / "letter.txt").write_text("mine")
    run.prepare(new_config(epochs=2), fresh=True)
    assert {path.name for path in tmp_path.iterdir()} == {"letter.txt", "config.json"}
    assert run.config().recipe.epochs == 2


def test_early_stopping_is_read_from_the_history(finished, tiny_shards, tmp_path):
    """The last of three epochs is worse than the second, which is written to model.keras."""
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.write_history(
        [row | {"val_loss": loss} for row, loss in zip(run.history(), (3, 1, 2), strict=True)]
    )
    recipe = choose_recipe("v1.3", SMALL | {"epochs": 9, "patience": 1})
    options = FitConfig("none", 2, "float32", 42)
    plan = trainer.TrainingPlan(Shards(tiny_shards), recipe, options, None, devices.find_devices())
    assert len(trainer.train(plan, run, print)) == 3
    assert run.model_file.read_bytes() == checkpoints.checkpoint_path(run, 2).read_bytes()


def test_a_profile_of_the_first_epoch(fit, tmp_path):
    fit("profiled", overrides=SMALL | {"epochs": 1}, profile=tmp_path / "trace")
    assert [path.suffix for path in (tmp_path / "trace").rglob("*.pb")] == [".pb"]


def test_a_diverging_training_is_an_error_message(fit):
    with pytest.raises(TrainingError, match="smaller --learning-rate"):
        fit("diverges", overrides=SMALL | {"learning_rate": 1e30})


def test_mistakes_are_one_line(tmp_path, tiny_shards):
    for arguments, fragment in (
        ([str(tmp_path)], "run dfdc-prep shard"),
        ([str(tiny_shards), "--weights", "nowhere.h5"], "found no file nowhere.h5"),
        ([str(tiny_shards), "--require-gpu"], "expected a GPU"),
    ):
        result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "run")])
        assert result.exit_code == 1
        assert result.stderr.count("error: ") == 1
        assert fragment in result.stderr
        assert not (tmp_path / "run").exists()


def test_an_empty_split_is_refused_before_tensorflow_is_imported(tmp_path):
    faces = make_faces(tmp_path / "faces", families=4)
    plan = SplitPlan.parse("train=50/test=50")
    write_crops(faces, tmp_path / "shards", TFRecords(), CropSelection(plan))
    code = "import sys; from training.fit import main\ntry: main()\n"
    code += "finally: print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "shards"), "--weights", "none"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (1, "False\n")
    assert "found none in validation; shard crops of more families" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_help_has_an_example():
    assert "dfdc-prep fit shards/" in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.slow
def test_killed_in_mid_epoch_the_same_command_resumes(command, tmp_path):
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "run" / "checkpoints" / "epoch-0001.keras").exists():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert [row["epoch"] for row in Run(tmp_path / "run").history()] == [1, 2, 3]
    assert Run(tmp_path / "run").metrics().image.images == 16


@pytest.mark.slow
def test_two_steps_on_jax(command, tmp_path):
    options = [*command, "--epochs", "1"]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(options, check=True, capture_output=True, text=True, env=environment)
    assert "Keras on jax" in done.stdout.splitlines()[0]
    assert len(Run(tmp_path / "run").history()) == 1
    assert Run(tmp_path / "run").metrics().image.images == 16
