import subprocess
import sys

import pytest

from training.errors import TrainingError
from training.models import devices

#: Two processors as TensorFlow sees them stand for two GPUs; trained, stopped, gone on with.
MIRRORED = """
import sys
from pathlib import Path
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from tests.training.conftest import SMALL, smallest
from training.models import devices
from training.runs import trainer
from training.recipes import choose
from training.runs.folder import Run
keras.applications.EfficientNetB7 = smallest
mirrored = tf.distribute.MirroredStrategy
tf.distribute.MirroredStrategy = lambda: mirrored(["CPU:0", "CPU:1"])
run = Run(Path(sys.argv[2]))
run.begin({}, fresh=False)
for epochs in (1, 2):
    recipe = choose("v1.3", SMALL | {"epochs": epochs})
    two = devices.Devices(("gpu:0", "gpu:1"), "tensorflow")
    plan = trainer.Plan(Path(sys.argv[1]), recipe, None, "float32", 42, 2, two)
    rows = trainer.train(plan, run, print)
    assert len(rows) == epochs, rows
"""


def test_the_device_is_said():
    one = devices.Devices(("gpu:0",), "tensorflow")
    assert one.text() == "device: gpu:0, Keras on tensorflow"
    assert not one.mirrored
    two = devices.Devices(("gpu:0", "gpu:1"), "tensorflow")
    assert "each batch shared among them" in two.text()
    assert "found no GPU" in devices.Devices((), "jax").text()


def test_a_gpu_that_is_required_and_not_there():
    if devices.find().gpus:
        assert devices.find(require_gpu=True).gpus
    else:
        with pytest.raises(TrainingError, match="expected a GPU"):
            devices.find(require_gpu=True)


@pytest.mark.slow
def test_a_batch_shared_between_two_devices(tiny_shards, tmp_path):
    command = [sys.executable, "-c", MIRRORED, str(tiny_shards), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
