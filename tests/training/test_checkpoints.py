import resource
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from dfdc_prep.run_files import HISTORY_COLUMNS
from manifests.errors import OutputError, TrainingError, out_of_memory
from tests.training.conftest import new_config
from training.models.classifier import HEAD_LAYER
from training.runs import checkpoints
from training.runs.folder import Run

HEADER = ",".join(HISTORY_COLUMNS)


def row(epoch, val_loss):
    return {
        "epoch": epoch,
        "accuracy": 0.5,
        "loss": 0.7,
        "val_accuracy": 0.5,
        "val_loss": val_loss,
        "learning_rate": 0.01,
    }


@pytest.fixture
def network():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(64), keras.layers.Dense(1, name=HEAD_LAYER)]
    )
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def run(tmp_path, network):
    """A run of four epochs, the second the best; each epoch's bias is its number."""
    run = Run(tmp_path)
    rows = []
    for epoch, loss in enumerate([0.6, 0.4, 0.5, 0.5], start=1):
        rows.append(row(epoch, loss))
        network.layers[-1].bias.assign([epoch])
        checkpoints.save(run, network, rows)
    return run


def bias(network):
    return float(np.asarray(network.layers[-1].bias)[0])


def kept(run):
    return sorted(path.name for path in run.checkpoints.iterdir())


def test_the_last_the_one_before_and_the_best_are_kept(run):
    assert kept(run) == ["epoch-0002.keras", "epoch-0003.keras", "epoch-0004.keras"]


def test_resuming_from_the_last(run):
    network, rows = checkpoints.restore(run, print)
    assert (bias(network), len(rows)) == (4, 4)
    assert network.optimizer.momentum == pytest.approx(0.9)


@pytest.mark.parametrize("broken", [b"", b"PK\x05\x06", None])
def test_a_broken_checkpoint_falls_back_to_the_one_before(run, broken):
    last = checkpoints.checkpoint_path(run, 4)
    last.write_bytes(last.read_bytes()[:-100] if broken is None else broken)
    network, rows = checkpoints.restore(run, print)
    assert (bias(network), len(rows)) == (3, 3)


def test_a_skipped_checkpoint_is_named(run):
    checkpoints.checkpoint_path(run, 4).write_bytes(b"")
    messages = []
    checkpoints.restore(run, messages.append)
    (line,) = messages
    assert "epoch 4" in line


def test_epochs_are_not_trained_again_without_fresh(run):
    """The best checkpoint is broken, and training would end by copying it."""
    checkpoints.checkpoint_path(run, 2).write_bytes(b"")
    with pytest.raises(TrainingError, match="start over with --fresh"):
        checkpoints.restore(run, print)
    assert len(run.history()) == 4


def test_a_checkpoint_for_which_there_is_no_memory_is_not_a_broken_one(run, monkeypatch):
    """TensorFlow is asked for more than any machine has."""

    def too_large(path, *, compile):
        return tf.zeros([2**41, 2**10])

    monkeypatch.setattr(checkpoints.keras_files, "load_archive", too_large)
    with pytest.raises(tf.errors.ResourceExhaustedError) as raised:
        checkpoints.restore(run, print)
    assert out_of_memory(raised.value)
    assert len(run.history()) == 4


def test_a_checkpoint_that_asks_for_more_than_it_has_is_a_broken_one(run):
    last = checkpoints.checkpoint_path(run, 4)
    with zipfile.ZipFile(last) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members["config.json"].count(b'"units": 64') == 1
    members["config.json"] = members["config.json"].replace(b'"units": 64', b'"units": %d' % 2**41)
    with zipfile.ZipFile(last, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    network, rows = checkpoints.restore(run, print)
    assert (bias(network), len(rows)) == (3, 3)


def test_one_flipped_bit_is_noticed(run):
    last = checkpoints.checkpoint_path(run, 4)
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    assert not checkpoints.is_intact(last)


def test_a_row_without_its_checkpoint_is_trained_again(run):
    rows = [*run.history(), row(5, 0.1)]
    run.write_history(rows)
    network, rows = checkpoints.restore(run, print)
    assert (bias(network), len(rows)) == (4, 4)


def test_a_full_disk_leaves_the_last_good_checkpoint(run, network):
    """A file size limit makes the write fail as a full disk does."""
    rows = [*run.history(), row(5, 0.1)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            checkpoints.save(run, network, rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kept(run) == ["epoch-0002.keras", "epoch-0003.keras", "epoch-0004.keras"]
    restored, rows = checkpoints.restore(run, print)
    assert (bias(restored), len(rows)) == (4, 4)


def test_the_best_of_equals_is_the_first_and_patience_counts_from_it():
    rows = [row(1, 0.5), row(2, 0.4), row(3, 0.4), row(4, 0.45)]
    assert checkpoints.best_epoch(rows) == 2
    assert checkpoints.should_stop(rows, patience=2)
    assert not checkpoints.should_stop(rows, patience=3)
    assert not checkpoints.should_stop(rows, patience=0)
    assert not checkpoints.should_stop([], patience=1)


def test_no_checkpoint_to_resume_from(tmp_path):
    assert checkpoints.restore(Run(tmp_path), print) == (None, [])


def test_a_whole_archive_of_something_else_falls_back_too(run):
    """Keras's safe mode rejects Lambda layers, which would run code."""
    last = checkpoints.checkpoint_path(run, 4)
    with zipfile.ZipFile(last) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b'"Dense"', b'"Lambda"')
    with zipfile.ZipFile(last, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert checkpoints.is_intact(last)
    network, rows = checkpoints.restore(run, print)
    assert (bias(network), len(rows)) == (3, 3)


@pytest.mark.parametrize(
    "text",
    [
        "epoch\n1\n",
        "\xff",
        "epoch,accuracy\nx,y\n",
        "\0",
        f"{HEADER}\n2,1,1,1,1,1",
        f"{HEADER}\n1,1,1,1,nan,1",
    ],
)
def test_an_altered_history_is_an_error_message(run, text):
    run.history_file.write_text(text)
    with pytest.raises(TrainingError, match="--fresh"):
        run.history()


@pytest.mark.parametrize("text", ["[]", "[" * 200_000, '{"recipe": 7}', "\xff"])
def test_an_altered_config_is_an_error_message(run, text):
    run.config_file.write_text(text)
    with pytest.raises(TrainingError, match="expected"):
        run.prepare(new_config(), fresh=False)


def test_a_run_killed_as_it_began_begins_again(tmp_path):
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    half = run.folder / ".config.json.0123456789abcdef.half.json"
    half.write_text("{")
    (run.folder / ".config.json.lock").write_text(f"process 1 on nowhere\n{half.name}")
    run.prepare(new_config(), fresh=False)
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]


def test_logs_that_outlived_their_folder_do_not_keep_the_next_run_out(tmp_path):
    run = Run(tmp_path / "run")
    (run.logs / "train").mkdir(parents=True)
    (run.logs / "train" / "events.out.tfevents.1.host.2.0.v2").touch()
    run.prepare(new_config(), fresh=False)
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]


def test_a_folder_of_other_logs_is_not_touched(tmp_path):
    run = Run(tmp_path / "run")
    run.logs.mkdir(parents=True)
    (run.logs / "diary.txt").touch()
    with pytest.raises(OutputError, match=r"found (logs|letter\.txt)"):
        run.prepare(new_config(), fresh=False)
    assert (run.logs / "diary.txt").exists()


def test_a_run_removed_during_training_is_not_created_again(tmp_path):
    run = Run(tmp_path / "run")
    run.logs.mkdir(parents=True)
    with pytest.raises(TrainingError, match="found it removed"):
        run.check_exists()
