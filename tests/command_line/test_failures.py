"""Every error class, raised through the command line: one line on stderr and an exit code."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import fsspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cli import main
from dfdc_prep import errors
from dfdc_prep.commands.terminal import MAX_MESSAGE_CHARS
from dfdc_prep.storage import place
from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.errors import TrainingError
from manifests.folders import FacesFolder
from manifests.tables.parquet import read_table
from tests.crop_sets import make_faces
from tests.processes import workers_of

ROOT = Path(__file__).resolve().parents[2]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def failed(done: Result, kind: type[errors.DfdcPrepError], message: str) -> None:
    """Check for exit code 1, one line at the end of stderr, and an error of exactly this class."""
    assert done.exit_code == 1, done.output
    assert done.exception is not None
    assert type(done.exception.__context__) is kind
    *_, told = done.stderr.splitlines()  # below what extract says before
    assert told.startswith("error: expected ")
    assert message in told
    assert "Traceback" not in done.stderr


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return make_faces(tmp_path / "faces", families=4)


@pytest.fixture
def source(real_clips: Path, tmp_path: Path) -> Path:
    """A source folder with one part of one clip."""
    part = tmp_path / "dfdc" / "part_a"
    part.mkdir(parents=True)
    (part / "metadata.json").write_text('{"004.mp4": {"label": "REAL"}}')
    shutil.copyfile(real_clips / "dfdc_train_part_1" / "004.mp4", part / "004.mp4")
    return tmp_path / "dfdc"


@pytest.fixture
def extract(source: Path, tmp_path: Path, yunet_model: Path) -> Callable[..., Result]:
    def run(*options: object) -> Result:
        words = ["extract", source, tmp_path / "out", "--detector", "yunet", "--workers", 1]
        return call(*words, "--detector-model", yunet_model, *options)

    return run


def test_table_error(faces: Path) -> None:
    (faces / "balanced.parquet").write_bytes(b"PAR1 no more")
    failed(call("split", faces), errors.TableError, "run dfdc-prep balance again")


def test_not_enough_rows(faces: Path) -> None:
    words = ("balance", faces / "balanced.parquet", "--per-class", 99)
    failed(call(*words), errors.NotEnoughRows, "give --per-class 4")


def test_source_error(source: Path, extract: Callable[..., Result]) -> None:
    (source / "part_a" / "metadata.json").write_text('{"../../x.mp4": {"label": "REAL"}}')
    failed(extract(), errors.SourceError, "rename the clips")


def test_source_unreachable(source: Path, extract: Callable[..., Result]) -> None:
    clip = source / "part_a" / "004.mp4"
    clip.unlink()
    clip.symlink_to("/proc/self/mem")  # can be opened; reading fails with EIO
    failed(extract(), errors.SourceUnreachable, "Input/output error")


def test_output_error(tmp_path: Path, extract: Callable[..., Result]) -> None:
    (tmp_path / "out").write_text("a file")
    failed(extract(), errors.OutputError, "name another folder")


def test_options_differ(extract: Callable[..., Result]) -> None:
    assert extract().exit_code == 0
    failed(extract("--margin", 0.5), errors.OptionsDiffer, "--overwrite")


def test_model_error(tmp_path: Path, extract: Callable[..., Result]) -> None:
    failed(extract("--detector-model", tmp_path / "no.onnx"), errors.ModelError, "found no file")


def test_clip_error_is_the_clips_own_row(
    source: Path, tmp_path: Path, extract: Callable[..., Result]
) -> None:
    (source / "part_a" / "004.mp4").write_text("no clip")
    done = extract()
    assert done.exit_code == 3
    assert "1 clip failed" in done.stderr
    (row,) = read_table(tmp_path / "out" / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pylist()
    assert (row["status"], row["error"][:8]) == ("unreadable", "expected")


def test_clips_without_a_face_are_no_success(
    source: Path, tmp_path: Path, shared: Path, extract: Callable[..., Result]
) -> None:
    av1 = shared / "data" / "edge" / "torchcodec_av1_video.mkv"  # shows no face
    shutil.copyfile(av1, source / "part_a" / "004.mp4")
    done = extract()
    assert done.exit_code == 3
    assert "no crop in" in done.stdout.splitlines()[-1]
    assert "no face was found in 1 clip; look" in done.stdout
    assert read_table(tmp_path / "out" / "clips.parquet", CLIP_LOG_SCHEMA, "").num_rows == 1


def test_shard_error(faces: Path, tmp_path: Path) -> None:
    next(faces.rglob("*.png")).unlink()
    failed(call("shard", faces, tmp_path / "shards"), errors.ShardError, "extract again")


@contextmanager
def killing_workers() -> Iterator[None]:
    """Kill every worker process as soon as it starts."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.005):
            for worker in workers_of():
                with suppress(psutil.Error):
                    worker.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_workers_error(extract: Callable[..., Result]) -> None:
    with killing_workers():
        done = extract()
    failed(done, errors.WorkersError, "fewer --workers")
    assert extract().exit_code == 0


def test_recipe_error(tmp_path: Path) -> None:
    (tmp_path / "a.recipe").write_bytes(b"another file")
    done = call("recipe", str(tmp_path / "a.recipe"), "--show")
    failed(done, errors.RecipeError, "give the file that dfdc-prep recipe wrote")


def test_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hidden-in-the-environment"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{secret}@127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    # Connections of another test's server, which this process keeps.
    place._file_system.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    done = call("balance", "s3://bucket/faces")
    failed(done, errors.StorageError, "expected to read s3://bucket/faces/manifest.parquet")
    assert secret not in done.stderr


def test_training_error(tmp_path: Path) -> None:
    from training.fit import main as fit

    done = CliRunner().invoke(fit, [str(tmp_path), "--out", str(tmp_path / "run")])
    failed(done, TrainingError, "run dfdc-prep shard")


def test_every_error_class_has_a_test() -> None:
    def subclasses(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))

    named = {getattr(errors, name) for name in errors.__all__} | {TrainingError}
    # The app answers with its own error, a page; it never reaches the command line.
    found = {
        kind
        for kind in subclasses(errors.DfdcPrepError)
        if not kind.__module__.startswith("training.app.")
    }
    assert found == named
    tests = {name.removeprefix("test_").replace("_", "") for name in globals()}
    for kind in named - {errors.DfdcPrepError}:
        assert any(name.startswith(kind.__name__.lower()) for name in tests), kind


def test_a_message_is_one_short_printable_line(tmp_path: Path) -> None:
    label = "\x1b[31mred\n" + "x" * 1_000_000
    pq.write_table(pa.table({"video": ["a.mp4"], "label": [label]}), tmp_path / "bare.parquet")
    done = call("summary", tmp_path / "bare.parquet")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < MAX_MESSAGE_CHARS + 20
    assert "\x1b" not in done.stderr


def test_a_duplicate_column_and_deeply_nested_json(faces: Path, tmp_path: Path) -> None:
    table = pq.read_table(faces / "balanced.parquet")
    pq.write_table(table.append_column("video", table["video"]), faces / "balanced.parquet")
    assert call("split", faces).stderr.count("\n") == 1
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "metadata.json").write_text("[" * 200_000)
    done = call("shard", make_faces(tmp_path / "more", 4), tmp_path / "shards")
    assert "found something else" in done.stderr


def test_a_named_pipe_is_not_a_crop(faces: Path, tmp_path: Path) -> None:
    crop = next(faces.rglob("*.png"))
    crop.unlink()
    os.mkfifo(crop)
    failed(call("shard", faces, tmp_path / "shards"), errors.ShardError, "found no regular file")
    done = call("import", faces / "crops", faces / "balanced.parquet", tmp_path / "again")
    assert done.exit_code == 3


def test_an_image_name_that_is_not_utf8(faces: Path, tmp_path: Path) -> None:
    open(os.fsencode(faces / "crops") + b"/\xff.png", "wb").close()
    words = ("import", faces / "crops", faces / "balanced.parquet", tmp_path / "again")
    failed(call(*words), errors.SourceError, "rename it")


def test_a_run_killed_while_writing_can_continue(
    tmp_path: Path, extract: Callable[..., Result]
) -> None:
    left = ".run.json.0123456789abcdef.half.json"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / left).write_text("half")
    (tmp_path / "out" / ".run.json.lock").write_text(f"process 1 on nowhere\n{left}")
    assert extract().exit_code == 0
    assert not (tmp_path / "out" / left).exists()


def test_a_place_that_cannot_be_written_is_named_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full TMPDIR and a read-only /dev/shm, whose errors name no file, are not OUT."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    full = rf"expected to write {tmp_path / 'full'}, found"
    with pytest.raises(errors.OutputError, match=full), FacesFolder.locked(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.undo()
    shared = r"expected to write /dev/shm/sem\.x, found"
    with pytest.raises(errors.OutputError, match=shared), FacesFolder.locked(tmp_path / "out"):
        raise OSError(errno.EROFS, "Read-only file system", "/dev/shm/sem.x")


@pytest.mark.parametrize("name", [".manifest.parquet.bak", ".run.json.swp", ".crops.old"])
def test_hidden_files_of_the_users_stay_in_a_faces_folder(
    tmp_path: Path, extract: Callable[..., Result], name: str
) -> None:
    assert extract().exit_code == 0
    (tmp_path / "out" / name).write_text("mine")
    assert extract().exit_code == 0
    assert extract("--overwrite").exit_code == 0
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_an_altered_journal(tmp_path: Path, extract: Callable[..., Result]) -> None:
    assert extract().exit_code == 0
    journal = tmp_path / "out" / "journal.jsonl"
    whole = journal.read_text()
    for written, altered in ('"status":"ok"', '"status":7'), ('"label":"REAL"', '"label":["REAL"]'):
        assert written in whole
        journal.write_text(whole.replace(written, altered, 1))
        failed(extract(), errors.OutputError, "remove the line")


@pytest.mark.parametrize("column", [pa.array([["a"]]), pa.array([b"\xff"]), pa.array([{"a": 1}])])
def test_a_column_that_is_not_text(tmp_path: Path, column: pa.Array) -> None:
    if column.type == pa.binary():
        column = column.cast(pa.string(), safe=False)
    for name in ("video", "label"):
        whole = {"video": pa.array(["a.mp4"]), "label": pa.array(["REAL"])}
        pq.write_table(pa.table(whole | {name: column}), tmp_path / "bare.parquet")
        failed(call("summary", tmp_path / "bare.parquet"), errors.TableError, "expected")


def test_too_low_a_memory_limit_is_reported(faces: Path) -> None:
    words = [sys.executable, "-m", "cli", "split", str(faces)]
    limit = partial(resource.setrlimit, resource.RLIMIT_DATA, (340 << 20, 340 << 20))
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: expected at least 1024 MB of memory")
    assert done.stderr.count("\n") == 1


def test_auditing_shards_that_differ_from_their_manifest(faces: Path, tmp_path: Path) -> None:
    assert call("shard", faces, tmp_path / "shards").exit_code == 0
    manifest = tmp_path / "shards" / "manifest.parquet"
    whole = pq.read_table(manifest)
    for rows in (whole.slice(1), pa.concat_tables([whole.slice(0, 1), whole])):
        pq.write_table(rows, manifest)
        failed(call("audit", tmp_path / "shards"), errors.ShardError, "dfdc-prep verify")
