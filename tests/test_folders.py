"""A folder that is whole or absent, whatever a killed run left beside it."""

import os
from pathlib import Path

import pytest

from dfdc_prep.errors import OutputError
from dfdc_prep.folders import whole_folder


def test_the_second_run_names_the_first(tmp_path: Path) -> None:
    with (
        whole_folder(tmp_path / "out"),
        pytest.raises(OutputError, match=f"found process {os.getpid()} on"),
        whole_folder(tmp_path / "out"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_there_returns_after_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "dear.txt").touch()
    with pytest.raises(ValueError, match="fails"), whole_folder(tmp_path / "out"):
        raise ValueError("fails")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "dear.txt"]


def test_what_killed_runs_left_is_cleared(tmp_path: Path) -> None:
    for left in (".out.old", ".out.partial"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half.txt").touch()
    (tmp_path / ".out.lock").write_text("process 1 on nowhere")
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "new.txt").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new.txt", "out"]
