import json
import os
import subprocess
import sys

import keras
import pytest

from manifests.errors import TrainingError
from training.models import devices

#: Trains and resumes on one CPU device, then on several in place of GPUs; prints the losses.
SHARED = """
import json, sys
from pathlib import Path
import tensorflow as tf
shards, folder, backend, count, batch = sys.argv[1:]
if backend == "tensorflow":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * int(count),
    )
import keras
from tests.training.conftest import SMALL, new_config, smallest
from dfdc_prep.run_files import FitConfig
from training.data.shards import Shards
from training.models import devices
from training.runs import trainer
from training.recipes import choose_recipe
from training.runs.folder import Run
# MirroredStrategy draws other layers to drop on each device.
keras.applications.EfficientNetB7 = lambda **o: smallest(drop_connect_rate=0.0, **o)
names = tuple(f"cpu:{n}" for n in range(int(count)))
losses = []
for name, used in (("one", ()), ("all", names)):
    run = Run(Path(folder) / name)
    run.prepare(new_config(), fresh=False)
    for epochs in (1, 2):
        recipe = choose_recipe("v1.3", SMALL | {"epochs": epochs, "batch_size": int(batch)})
        shared = devices.Devices(used, backend)
        plan = trainer.TrainingPlan(
            Shards(Path(shards)), recipe, FitConfig("none", 2, "float32", 42), None, shared,
            cache="disk" if used else "none",
        )
        rows = trainer.train(plan, run, print)
    losses.append([row[key] for row in rows for key in ("loss", "val_loss")])
print(json.dumps(losses))
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


def _driver(folder, monkeypatch, answer):
    """A driver's program in a folder of its own, first on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(("backend", "extra"), [("tensorflow", "gpu"), ("jax", "jax")])
def test_a_card_that_keras_cannot_use_is_named_with_the_way_to_mend_it(
    tmp_path, monkeypatch, backend, extra
):
    _driver(tmp_path, monkeypatch, "echo NVIDIA H200")
    said = devices.Devices((), backend).unused_card()
    assert said.startswith(f"NVIDIA H200 is in this machine, and Keras on {backend} cannot use it")
    assert f"scripts/install {extra}," in said
    assert devices.Devices(("gpu:0",), backend).unused_card() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices.Devices((), backend).unused_card() is None


def test_a_driver_that_knows_no_card_is_no_card(tmp_path, monkeypatch):
    _driver(tmp_path, monkeypatch, "echo 'No devices were found'; exit 6")
    assert devices.Devices((), "tensorflow").unused_card() is None


def test_what_jax_compiled_for_a_gpu_is_kept(tmp_path, monkeypatch):
    jax = pytest.importorskip("jax")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    devices.keep_compiled()  # on TensorFlow, or without a GPU
    assert jax.config.jax_compilation_cache_dir == before
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(devices, "find_devices", lambda: devices.Devices(("gpu:0",), "jax"))
    try:
        devices.keep_compiled()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "dfdc-prep" / "compiled")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_batch_that_cannot_be_shared_evenly():
    three = devices.Devices(("gpu:0", "gpu:1", "gpu:2"), "jax")
    three.check_batch_size(9)
    with pytest.raises(TrainingError, match="give a multiple of 3 as --batch-size"):
        three.check_batch_size(16)
    devices.Devices(("gpu:0",), "jax").check_batch_size(17)


def test_validation_batches_are_alike():
    """The last of Keras's batches on JAX is laid out like the first one."""
    three = devices.Devices(("gpu:0", "gpu:1", "gpu:2"), "jax")
    assert three.validation_batch_size(9, 21) == 9
    assert three.validation_batch_size(9, 20) == 10


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "count", "batch"), [("tensorflow", 2, 8), ("jax", 3, 9)])
def test_several_devices_give_the_losses_of_one(tiny_shards, tmp_path, backend, count, batch):
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
    }
    command = [sys.executable, "-c", SHARED, str(tiny_shards), str(tmp_path), backend]
    done = subprocess.run(
        [*command, str(count), str(batch)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    one, several = json.loads(done.stdout.splitlines()[-1])
    assert several == pytest.approx(one, abs=1e-4)
