"""Atomic writing: a file or folder is written under a temporary name, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.errors import OutputError
from manifests.io.locks import folder_lock, lock


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` if the block succeeds.

    The temporary path is in the same folder and has the same suffix. If the block raises, the
    temporary file is removed and `path` is unchanged. A temporary file left by a killed run is
    removed first. A lock keeps concurrent runs from writing the same file.

    Raises:
        OutputError: another run is writing the same file; the message names its process.
        OSError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.half{path.suffix}")
    with lock(path.with_name(f".{path.name}.lock"), path):
        temporary.unlink(missing_ok=True)
        try:
            yield temporary
            sync_file(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to write to; rename it to `target` if the block succeeds.

    The temporary folder is beside the target, so that renaming is atomic. If the block raises,
    the temporary folder is removed and `target` is unchanged. Folders left by a killed run are
    removed first. A lock keeps concurrent runs from writing the same folder.

    Raises:
        OutputError: another run is writing the same folder, or the folder cannot be written.
    """
    target = Path(os.path.realpath(target))
    try:
        with folder_lock(target), _temporary_folder(target) as temporary:
            yield temporary
    except OSError as error:
        raise OutputError(
            f"expected to write {target}, found {error.strerror or error}; "
            "choose another folder or make room in this one"
        ) from error


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    temporary, old = (target.with_name(f".{target.name}.{end}") for end in ("partial", "old"))
    if old.is_dir() and not target.exists():
        os.rename(old, target)  # a run was killed between the two renames
    for leftover in (temporary, old):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
    temporary.mkdir()
    try:
        yield temporary
        sync_file(temporary)
        _replace_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _replace_folder(temporary: Path, target: Path) -> None:
    """Rename the folder to `target`; remove the previous target only after the rename."""
    if not target.exists():
        os.rename(temporary, target)
        sync_file(target.parent)
        return
    old = target.with_name(f".{target.name}.old")
    os.rename(target, old)
    os.rename(temporary, target)
    sync_file(target.parent)
    shutil.rmtree(old)


def sync_file(path: Path) -> None:
    """Have the disk store the content of a file, or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
