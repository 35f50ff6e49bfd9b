"""Training from shards in a bucket, into a run folder in a bucket."""

import errno
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dfdc_prep.storage.urls import Url
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.errors import StorageError, TrainingError
from manifests.splitting.split import SplitPlan
from tests.storage.server import S3Server
from tests.training.conftest import SMALL
from training.data import input_pipeline
from training.data import shards as module
from training.data.shards import Shards, open_shards
from training.evaluate import main as evaluate
from training.predict import main as predict
from training.runs import experiment, trainer
from training.runs.folder import Run, open_run

pytestmark = pytest.mark.usefixtures("small_backbone")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def shards(tiny_shards: Path, s3: S3Server, bucket: str) -> Url:
    s3.upload(tiny_shards, bucket, "shards")
    s3.counts()
    return Url(f"s3://{bucket}/shards")


def labels(folder: Shards) -> list[float]:
    data = input_pipeline.make_dataset(folder, "train", 8, seed=3)
    return [float(label) for _, batch in data for label in np.asarray(batch)]


def test_the_batches_are_the_same_and_the_second_epoch_asks_nothing(
    tiny_shards: Path,
    shards: Url,
    s3: S3Server,
) -> None:
    wanted = labels(Shards(tiny_shards))
    with open_shards(shards) as folder:
        assert labels(folder) == wanted
        s3.counts()
        assert labels(folder) == wanted
    assert "GET" not in s3.counts()
    with open_shards(shards) as folder:  # what is left in the cache is checked and used again
        s3.counts()
        assert labels(folder) == wanted
        assert "GET" not in s3.counts()


def test_the_cache_does_not_grow(
    tiny_shards: Path, s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SplitPlan.parse("56/24/20", "original", 42)
    write_crops(
        tiny_shards.parent / "faces", tmp_path / "shards", TFRecords(6), CropSelection(plan)
    )
    s3.upload(tmp_path / "shards", bucket, "many")
    monkeypatch.setattr(module, "_KEPT", 4)
    with open_shards(Url(f"s3://{bucket}/many"), cache_gb=0) as folder:
        cache = folder.cache
        assert cache
        names = sorted(path.name for path in (tmp_path / "shards").glob("*-train.tfrecord-*"))
        assert len(names) == 6
        for name in names:
            assert cache.fetch(name).is_file()
        assert sorted(path.name for path in folder.folder.glob("*.tfrecord-*")) == names[2:]


def test_a_damaged_or_lost_shard_is_reported_by_its_url(
    shards: Url,
    s3: S3Server,
    bucket: str,
) -> None:
    names = [name for name in s3.files(bucket, "shards") if "-train." in name]
    s3.client().put_object(Bucket=bucket, Key=f"shards/{names[0]}", Body=b"damaged")
    with (
        pytest.raises(StorageError, match=rf"hash of SHA256SUMS in {shards}/"),
        open_shards(shards) as folder,
        input_pipeline.report_read_errors(folder),
    ):
        labels(folder)


def test_a_run_in_a_bucket_is_that_of_the_disk_and_resumes(
    tiny_shards: Path,
    shards: Url,
    s3: S3Server,
    bucket: str,
    tmp_path: Path,
    yunet_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = SMALL | {"epochs": 2}
    local = experiment.FitOptions(
        tiny_shards, "v1.3", recipe, tmp_path / "run", "none", steps_per_epoch=2
    )
    experiment.fit(local, log=str)
    out = Url(f"s3://{bucket}/run")
    remote = experiment.FitOptions(shards, "v1.3", recipe, out, "none", steps_per_epoch=2)
    save = trainer.checkpoints.save

    def interrupted(run: Run, model: object, rows: list[dict[str, float]]) -> None:
        if len(rows) == 2:
            raise KeyboardInterrupt
        save(run, model, rows)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiment.fit(remote, log=str)
    assert "checkpoints/epoch-0001.keras" in s3.files(bucket, "run")
    experiment.fit(remote, log=str)
    files = s3.files(bucket, "run")
    assert files["history.csv"].count(b"\n") == 3
    rows = Run(tmp_path / "run").history()
    assert abs(rows[0]["loss"] - float(files["history.csv"].split(b",")[7])) < 1e-3
    assert str(shards).encode() in files["config.json"]
    assert b"cache" not in files["config.json"] + files["report.txt"]
    done = CliRunner().invoke(evaluate, [str(out)])
    assert done.exit_code == 0, done.output
    assert f"results written to {out}" in done.output
    s3.client().put_object(Bucket=bucket, Key="note.png", Body=b"no image")
    done = CliRunner().invoke(
        predict, [str(out), f"s3://{bucket}/note.png", "--detector-model", str(yunet_model)]
    )
    assert done.exit_code == 3, done.output
    assert done.output.startswith(f"s3://{bucket}/note.png: ")
    assert "dfdc-prep-" not in done.output


def test_overlap_with_training_shards_in_a_bucket_is_found(
    tiny_shards: Path, shards: Url, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    recipe = SMALL | {"epochs": 1}
    run = tmp_path / "run"
    experiment.fit(
        experiment.FitOptions(shards, "v1.3", recipe, run, "none", steps_per_epoch=1), log=str
    )
    words = [str(run), str(tiny_shards), str(shards), "--split", "validation"]
    done = CliRunner().invoke(evaluate, words)
    assert done.exit_code == 0, done.output
    assert "Of families or files that run was trained on" in done.output
    s3.client().delete_object(Bucket=bucket, Key="shards/manifest.parquet")
    done = CliRunner().invoke(evaluate, [str(run), str(tiny_shards), str(tiny_shards)])
    assert done.exit_code == 0, done.output
    assert "Whether run was trained on clips of these sets is not known." in done.output


def test_a_full_disk_of_the_cache_is_named(
    shards: Url, monkeypatch: pytest.MonkeyPatch, s3: S3Server
) -> None:
    def full(self: object, names: object) -> list[str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_shards(shards) as folder, monkeypatch.context() as patch:
        patch.setattr(module.Mirror, "pull", full)
        message = r"^expected room for .*No space left.*--cache-gb$"
        with (
            pytest.raises(StorageError, match=message),
            input_pipeline.report_read_errors(folder),
        ):
            labels(folder)


def test_shards_without_sums_are_named_by_their_url(shards: Url, s3: S3Server, bucket: str) -> None:
    s3.client().delete_object(Bucket=bucket, Key="shards/SHA256SUMS")
    with pytest.raises(TrainingError, match=f"SHA256SUMS in {shards}"), open_shards(shards):
        pass


def test_a_failure_is_not_hidden_by_a_bucket_that_fails_too(s3: S3Server, bucket: str) -> None:
    def fail() -> None:
        with open_run(Url(f"s3://{bucket}/run"), writes=True) as place:
            (place.folder / "history.csv").write_text("epoch\n")
            s3.faults("readonly=0")
            raise TrainingError("loss not finite")

    with pytest.raises(TrainingError, match="not finite") as raised:
        fail()
    assert "history.csv" in raised.value.__notes__[0]
