import subprocess
import sys

import pytest

from training.errors import TrainingError
from training.models import devices

#: Trains and resumes with two logical CPU devices in place of two GPUs.
MIRRORED = """
import sys
from pathlib import Path
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from tests.training.conftest import SMALL, new_config, smallest
from training.models import devices
from training.runs import trainer
from training.recipes import choose_recipe
from training.runs.folder import Run
keras.applications.EfficientNetB7 = smallest
mirrored = tf.distribute.MirroredStrategy
tf.distribute.MirroredStrategy = lambda: mirrored(["CPU:0", "CPU:1"])
run = Run(Path(sys.argv[2]))
run.prepare(new_config(), fresh=False)
for epochs in (1, 2):
    recipe = choose_recipe("v1.3", SMALL | {"epochs": epochs})
    two = devices.Devices(("gpu:0", "gpu:1"), "tensorflow")
    plan = trainer.TrainingPlan(Path(sys.argv[1]), recipe, None, "float32", 42, 2, two)
    rows = trainer.train(plan, run, print)
    assert len(rows) == epochs, rows
"""


def test_the_device_description():
    one = devices.Devices(("gpu:0",), "tensorflow")
    assert one.description() == "device: gpu:0, Keras on tensorflow"
    assert not one.mirrored
    two = devices.Devices(("gpu:0", "gpu:1"), "tensorflow")
    assert "each batch shared among them" in two.description()
    assert "found no GPU" in devices.Devices((), "jax").description()


def test_a_required_gpu_that_is_missing():
    if devices.find_devices().gpus:
        assert devices.find_devices(require_gpu=True).gpus
    else:
        with pytest.raises(TrainingError, match="expected a GPU"):
            devices.find_devices(require_gpu=True)


@pytest.mark.slow
def test_a_batch_shared_between_two_devices(tiny_shards, tmp_path):
    command = [sys.executable, "-c", MIRRORED, str(tiny_shards), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
