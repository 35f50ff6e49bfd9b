"""A confined process reads files, writes where it may, and can do nothing else."""

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dfdc_prep
from dfdc_prep.detectors.registry import choose_detector
from dfdc_prep.parallel.confinement import confine, why_unconfined
from dfdc_prep.parallel.processes import LocalWorkers
from training.app.annotate import annotate_clip
from training.inference.face_crops import DecodingWorker, FaceCropOptions

pytestmark = pytest.mark.skipif(
    why_unconfined() is not None, reason=f"no confinement here: {why_unconfined()}"
)


def attack(name: str, own: str, other: str) -> str | None:
    """Try something; return the name of the error, None if it succeeds."""
    victim = os.path.join(other, "victim")
    attacks: dict[str, Callable[[], object]] = {
        "tcp": socket.socket,
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": socket.socketpair,
        "program": lambda: subprocess.run(["true"], check=True),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "create": lambda: os.open(os.path.join(other, "new"), os.O_CREAT | os.O_WRONLY),
        "append": lambda: os.open(victim, os.O_APPEND | os.O_WRONLY),
        "truncate": lambda: os.truncate(victim, 0),
        "truncate by opening": lambda: os.open(victim, os.O_RDONLY | os.O_TRUNC),
        "remove": lambda: os.remove(victim),
        "move": lambda: os.rename(victim, os.path.join(own, "moved")),
        "link": lambda: os.link(victim, os.path.join(own, "linked")),
        "chmod": lambda: os.chmod(victim, 0o777),
        "touch": lambda: os.utime(victim),
        "symlink": lambda: os.symlink(other, os.path.join(own, "link")),
        "signal": lambda: os.kill(os.getppid(), 0),
        "own file": lambda: Path(own, "file").write_bytes(b"x"),
        "own folder": lambda: Path(own, "folder/deep").mkdir(parents=True),
        "read": lambda: Path(victim).read_bytes(),
    }
    try:
        attacks[name]()
    except OSError as error:
        return type(error).__name__
    return None


@pytest.fixture(scope="module")
def confined(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LocalWorkers, Path, Path]]:
    own, other = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("other")
    (other / "victim").write_bytes(b"untouched")
    workers = LocalWorkers(1, 60.0, confine, ([own],))
    yield workers, own, other
    workers.stop()


@pytest.mark.parametrize(
    "name", ["tcp", "udp", "unix", "program", "exec", "create", "append", "truncate",
             "truncate by opening", "remove", "move", "link", "chmod", "touch", "symlink", "signal"]
)  # fmt: skip
def test_what_a_confined_worker_cannot_do(
    confined: tuple[LocalWorkers, Path, Path], name: str
) -> None:
    workers, own, other = confined
    assert workers.submit(attack, name, str(own), str(other)).result() in (
        "PermissionError",
        "OSError",  # a link to another domain: EXDEV
    )
    assert os.listdir(other) == ["victim"]
    assert (other / "victim").read_bytes() == b"untouched"


@pytest.mark.parametrize("name", ["own file", "own folder", "read"])
def test_what_it_can(confined: tuple[LocalWorkers, Path, Path], name: str) -> None:
    workers, own, other = confined
    assert workers.submit(attack, name, str(own), str(other)).result() is None


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in (folder / "crops").rglob("*.png"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_confined_workers_write_the_same_bytes(
    real_clips: Path, tmp_path: Path, yunet_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: dict[str, Any] = {"limit": 4, "detector_model": yunet_model, "workers": 1}
    dfdc_prep.extract(real_clips, tmp_path / "on", **how)
    monkeypatch.setattr("dfdc_prep.extraction.run.why_unconfined", lambda: "for a test")
    dfdc_prep.extract(real_clips, tmp_path / "off", **how)
    assert digests(tmp_path / "on") == digests(tmp_path / "off") != {}
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("on", "off")]
    assert [run["confinement"] for run in runs] == [["on"], ["off: for a test"]]


def test_both_are_recorded_of_a_run_that_went_on_elsewhere(
    real_clips: Path, tmp_path: Path, yunet_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = tmp_path / "faces"
    dfdc_prep.extract(real_clips, faces, limit=1, detector_model=yunet_model)
    monkeypatch.setattr("dfdc_prep.extraction.run.why_unconfined", lambda: "for a test")
    dfdc_prep.extract(real_clips, faces, limit=4, detector_model=yunet_model)
    record = json.loads((faces / "run.json").read_text())
    assert record["confinement"] == ["off: for a test", "on"]


@pytest.mark.slow
def test_predict_and_the_app_decode_in_a_confined_process(
    real_clips: Path, tmp_path: Path, yunet_model: Path
) -> None:
    clip = next(real_clips.glob("*/*.mp4"))
    options = FaceCropOptions(0.3, 2, every_face=False, views=True)
    with DecodingWorker(choose_detector("yunet", yunet_model)) as worker:
        assert worker.confinement == "on"
        uploaded = worker.find(clip.read_bytes(), options, "clip")
        given = worker.find(clip, options, clip.name)
        assert len(uploaded.views) == 2
        assert [each.jpeg for each in uploaded.views] == [each.jpeg for each in given.views]
        assert len(worker.call(annotate_clip, clip.read_bytes(), [])) > 10_000
        for name in ("tcp", "udp", "program", "exec", "create", "own file"):
            assert worker.call(attack, name, str(tmp_path), str(tmp_path)) == "PermissionError"
