"""A folder that is whole or absent: written beside its place and renamed when done."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfdc_prep.errors import OutputError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `target` when the block ends well.

    It lies beside the target, so that renaming is one step. What a killed run left there is
    cleared by the next one; two runs at once do not mix. When the block raises, the folder
    is removed and `target` is as it was.

    Raises:
        OutputError: another run is writing the same folder, or its place cannot be written.
    """
    target = Path(os.path.realpath(target))
    partial = target.with_name(f".{target.name}.partial")
    lock = _locked(partial, target)
    try:
        _clear(partial)
        yield partial
        _sync(partial)
        _replace(partial, target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from error
        raise
    finally:
        os.close(lock)


def _locked(partial: Path, target: Path) -> int:
    """Make the folder and hold it by a lock that dies with the process."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(exist_ok=True)
        lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other run may have renamed the folder between our opening and locking it.
        if os.fstat(lock).st_ino == os.stat(partial).st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    raise OutputError(f"expected {target} to be free, found another run writing it; wait for it")


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"expected to write {target}, found {error.strerror or error}; "
        "choose another place or make room in this one"
    )


def _clear(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)


def _replace(partial: Path, target: Path) -> None:
    """Rename over the target; what stood there goes once the new folder has its name."""
    if not target.exists():
        os.rename(partial, target)
        _sync(target.parent)
        return
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.rename(target, old)
    os.rename(partial, target)
    _sync(target.parent)
    shutil.rmtree(old)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
