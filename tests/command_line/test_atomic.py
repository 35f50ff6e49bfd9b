"""Atomic files and folders: unchanged after an error, and leftovers of killed runs removed."""

import os
from pathlib import Path

import pytest

from manifests.errors import OutputError
from manifests.files import atomic_file, atomic_folder, lock

TEMPORARY = ".table.csv.0123456789abcdef.half.csv"


def test_a_concurrent_run_fails_and_names_the_first(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    with atomic_file(table) as temporary:
        temporary.write_text("first")
        with (
            pytest.raises(OutputError, match=f"found process {os.getpid()} on"),
            atomic_file(table),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert table.read_text() == "first"


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / TEMPORARY).write_text("longer than the new text")
    (tmp_path / ".table.csv.lock").write_text(f"process 1 on nowhere\n{TEMPORARY}")
    with atomic_file(tmp_path / "table.csv") as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "new"


def test_an_error_leaves_the_file_unchanged(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("old")
    with (
        pytest.raises(UnicodeEncodeError),
        atomic_file(tmp_path / "table.csv") as temporary,
        open(temporary, "w", encoding="ascii", buffering=1) as file,
    ):
        file.writelines(("new\n", "é"))
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "old"


def test_a_link_at_the_temporary_path_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("mine")
    (tmp_path / TEMPORARY).symlink_to(other)
    (tmp_path / ".table.csv.lock").write_text(f"process 1 on nowhere\n{TEMPORARY}")
    with atomic_file(tmp_path / "table.csv") as temporary:
        temporary.write_text("new")
    assert other.read_text() == "mine"
    assert not (tmp_path / "table.csv").is_symlink()


def test_the_second_run_on_a_folder_names_the_first(tmp_path: Path) -> None:
    with (
        atomic_folder(tmp_path / "out"),
        pytest.raises(OutputError, match=f"found process {os.getpid()} on"),
        atomic_folder(tmp_path / "out"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_old_folder_is_restored_after_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    old = tmp_path / ".out.0123456789abcdef.old"
    old.mkdir()
    (old / "other.txt").touch()
    (tmp_path / ".out.lock").write_text(f"process 1 on nowhere\n{old.name}")
    with pytest.raises(ValueError, match="fails"), atomic_folder(tmp_path / "out"):
        raise ValueError("fails")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "other.txt"]


def test_leftover_folders_of_killed_runs_are_removed(tmp_path: Path) -> None:
    leftovers = (".out.0123456789abcdef.old", ".out.0123456789abcdef.partial")
    for leftover in leftovers:
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "half.txt").touch()
    (tmp_path / ".out.lock").write_text("\n".join(("process 1 on nowhere", *leftovers)))
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new.txt").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new.txt", "out"]


def test_what_only_looks_like_a_leftover_is_left_alone(tmp_path: Path) -> None:
    """Hidden files and folders of the user's, beside what is written."""
    folders = (".out.partial", ".out.old", ".out.0123456789abcdef.partial")
    files = (".table.csv.half.csv", ".table.csv.bak", TEMPORARY)
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    for name in files:
        (tmp_path / name).write_text("mine")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with atomic_folder(tmp_path / "out"), atomic_file(tmp_path / "table.csv") as table:
        table.write_text("new")
    added = {Path("out"), Path("table.csv")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == {*before, *added}
    assert {(tmp_path / name).read_text() for name in files} == {"mine"}


def test_a_lock_file_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").write_text("my own notes")
    with (
        pytest.raises(OutputError, match=r"expected .*out.lock to be a lock file"),
        atomic_folder(tmp_path / "out"),
    ):
        pass
    assert (tmp_path / ".out.lock").read_text() == "my own notes"


def test_releasing_a_deleted_lock_keeps_the_lock_of_another_run(tmp_path: Path) -> None:
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


def test_an_interrupt_during_release_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samestat = os.path.samestat
    interrupts = iter([KeyboardInterrupt])

    def interrupted(*stats: os.stat_result) -> bool:
        for error in interrupts:
            raise error
        return samestat(*stats)

    with pytest.raises(KeyboardInterrupt), lock(tmp_path / ".out.lock", tmp_path):
        monkeypatch.setattr(os.path, "samestat", interrupted)
    assert not list(tmp_path.iterdir())
