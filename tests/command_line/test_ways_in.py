"""The commands work where the user's folder has modules of the same names, and fail early."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A folder with modules named as those of this project."""
    for name in ("cli.py", "manifests.py", "training/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"raise RuntimeError('{name} of the user')\n")
    return tmp_path


def run(folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run dfdc-prep as the installed script does, in a folder that is searched first."""
    code = "from dfdc_prep.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f".{os.pathsep}{ROOT}"},
    )


@pytest.mark.parametrize("command", ["extract", "fit", "evaluate", "predict", "app"])
def test_help_works_beside_modules_of_the_same_names(users_folder: Path, command: str) -> None:
    done = run(users_folder, command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"dfdc-prep {command}" in done.stdout


def test_workers_work_beside_modules_of_the_same_names(
    users_folder: Path, real_clips: Path, yunet_model: Path
) -> None:
    options = ("--limit", 2, "--workers", 2, "--detector-model", yunet_model)
    done = run(users_folder, "extract", real_clips, "faces", *options)
    assert done.returncode == 0, done.stderr
    assert "crops in faces" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "nothing/"], "expected shards of dfdc-prep shard in nothing, found no"),
        (["predict", "nothing", "x.png"], "expected a config.json of dfdc-prep fit in nothing"),
    ],
)
def test_mistakes_are_said_before_tensorflow_is_imported(
    tmp_path: Path, words: list[str], said: str
) -> None:
    before = os.times().children_user
    done = run(tmp_path, *words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}")
    assert os.times().children_user - before < 2  # seconds; the import alone takes more


def test_the_package_can_be_run(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "dfdc_prep", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0
    assert "python -m dfdc_prep, version" in done.stdout
