"""The folder a run writes: its options, its lock, and the clearing of an older run."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dfdc_prep import __version__
from dfdc_prep.errors import OptionsDiffer, OutputError
from manifests.io.json_files import parse_json, write_json
from manifests.io.locks import folder_lock, lock

RUN_FILE = "run.json"
LOCK_FILE = ".lock"
#: All that a run leaves in its folder; nothing else is ever removed.
LEFT_BY_A_RUN = (
    "crops",
    "journal.jsonl",
    "manifest.parquet",
    "metadata.csv",
    "clips.parquet",
    "balanced.parquet",
    "split.parquet",
    RUN_FILE,
)
_VERSIONED = ("av", "dlib-bin", "dlib", "face_recognition", "numpy", "opencv-python-headless")


def versions() -> dict[str, str]:
    """The versions that decide what a run's bytes are."""
    found = {"dfdc-prep": __version__}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except ImportError:  # PackageNotFoundError: one of dlib and dlib-bin is absent
            continue
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if need be, and keep every other run out of it.

    Two locks: one beside the folder, as for every folder that is written, and one in it, for a
    folder that another machine or container sees below another parent.

    Raises:
        OutputError: it cannot be made or written, or another run is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Where its parent may not be written, nobody can replace it as a whole.
        replaceable = os.access(os.path.dirname(os.path.realpath(folder)), os.W_OK)
        beside = folder_lock(folder) if replaceable else nullcontext()
        with beside, lock(folder / LOCK_FILE, folder):
            yield
    except OSError as error:
        raise OutputError(
            f"expected a folder to write at {folder}, found {error.strerror or error}; "
            "make room, name another one or change its permissions, and run the same command again"
        ) from error


def begin(folder: Path, run: dict[str, Any], overwrite: bool) -> None:
    """Write run.json, or hold the one that is there against this run's options.

    Args:
        run: what run.json holds; its `options` are what must agree.

    Raises:
        OptionsDiffer: the folder was begun with another option.
        OutputError: the folder holds something that no run of ours began.
    """
    if overwrite:
        clear(folder)
    for path in _half_written(folder):
        path.unlink()
    earlier = read_run(folder)
    if earlier is None:
        _refuse_strangers(folder)
        write_json(folder / RUN_FILE, run)
        return
    for name, value in run["options"].items():
        found = earlier["options"].get(name)
        if found != value:
            raise OptionsDiffer(
                f"expected {name} {value} in {folder}, found it begun with {name} {found}; "
                f"give the same, name another folder, or use --overwrite"
            )


def read_run(folder: Path) -> dict[str, Any] | None:
    """What run.json says, None where there is none.

    Raises:
        OutputError: it cannot be understood.
    """
    path = folder / RUN_FILE
    if not path.exists():
        return None
    try:
        run = parse_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise OutputError(f"expected JSON in {path}, found {error}; use --overwrite") from error
    if not isinstance(run, dict) or not isinstance(run.get("options"), dict):
        raise OutputError(f"expected a run's options in {path}, found none; use --overwrite")
    return run


def clear(folder: Path) -> None:
    """Remove what an earlier run left, and only that."""
    for path in [*_half_written(folder), *(folder / name for name in LEFT_BY_A_RUN)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _half_written(folder: Path) -> list[Path]:
    """What a killed run was writing beside a table or run.json and never renamed."""
    beside = tuple(f".{name}" for name in LEFT_BY_A_RUN)
    return [path for path in folder.iterdir() if path.name.startswith(beside)]


def strangers(folder: Path, finished: tuple[str, ...] = LEFT_BY_A_RUN) -> list[str]:
    """The names in a folder that no run of ours leaves there, sorted.

    Args:
        finished: what a run leaves there on purpose.
    """
    ours = {LOCK_FILE, *finished, *(path.name for path in _half_written(folder))}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours)


def _refuse_strangers(folder: Path) -> None:
    if odd := strangers(folder, finished=()):
        raise OutputError(
            f"expected an empty folder or an earlier run at {folder}, found {odd[0]}; "
            "name another folder"
        )
