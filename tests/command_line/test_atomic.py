"""Files and folders that are whole or as they were, whatever a killed run left beside them."""

import os
from pathlib import Path

import pytest

from manifests.errors import OutputError
from manifests.io.atomic import atomic_file, atomic_folder
from manifests.io.locks import lock

HALF = ".table.csv.half.csv"


def test_the_second_run_names_the_first_and_disturbs_nothing(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    with atomic_file(table) as half:
        half.write_text("first")
        with (
            pytest.raises(OutputError, match=f"found process {os.getpid()} on"),
            atomic_file(table),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert table.read_text() == "first"


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / HALF).write_text("longer than what comes")
    (tmp_path / ".table.csv.lock").write_text("process 1 on nowhere")
    with atomic_file(tmp_path / "table.csv") as half:
        half.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "new"


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("old")
    with (
        pytest.raises(UnicodeEncodeError),
        atomic_file(tmp_path / "table.csv") as half,
        open(half, "w", encoding="ascii", buffering=1) as file,
    ):
        file.writelines(("new\n", "é"))
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "old"


def test_a_link_laid_in_its_place_is_not_followed(tmp_path: Path) -> None:
    dear = tmp_path / "dear.txt"
    dear.write_text("mine")
    (tmp_path / HALF).symlink_to(dear)
    with atomic_file(tmp_path / "table.csv") as half:
        half.write_text("new")
    assert dear.read_text() == "mine"
    assert not (tmp_path / "table.csv").is_symlink()


def test_the_second_run_on_a_folder_names_the_first(tmp_path: Path) -> None:
    with (
        atomic_folder(tmp_path / "out"),
        pytest.raises(OutputError, match=f"found process {os.getpid()} on"),
        atomic_folder(tmp_path / "out"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_there_returns_after_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "dear.txt").touch()
    with pytest.raises(ValueError, match="fails"), atomic_folder(tmp_path / "out"):
        raise ValueError("fails")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "dear.txt"]


def test_what_killed_runs_left_of_a_folder_is_cleared(tmp_path: Path) -> None:
    for left in (".out.old", ".out.partial"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half.txt").touch()
    (tmp_path / ".out.lock").write_text("process 1 on nowhere")
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new.txt").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new.txt", "out"]


def test_a_lock_that_somebody_removed_does_not_take_another_with_it(tmp_path: Path) -> None:
    path = tmp_path / ".out.lock"
    first = lock(path, tmp_path)
    first.__enter__()
    path.unlink()
    with lock(path, tmp_path):
        first.__exit__(None, None, None)
        assert path.exists()
        with pytest.raises(OutputError, match="found process"), lock(path, tmp_path):
            pass
    assert not path.exists()


def test_an_interrupt_that_falls_into_the_end_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = os.path.samestat
    struck = iter([KeyboardInterrupt])

    def interrupted(*found: os.stat_result) -> bool:
        for error in struck:
            raise error
        return looked(*found)

    with pytest.raises(KeyboardInterrupt), lock(tmp_path / ".out.lock", tmp_path):
        monkeypatch.setattr(os.path, "samestat", interrupted)
    assert not list(tmp_path.iterdir())
