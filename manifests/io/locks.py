"""File locks: one run at a time writes a file or folder.

The locks are `flock` locks, which the kernel releases when the process ends. The lock file
names the process that holds it. Stale lock files do not block.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from manifests.errors import OutputError


@contextmanager
def folder_lock(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock file beside a folder, so that the folder itself can be replaced or removed.

    Every run that creates or replaces a folder holds this lock. Parent folders are created if
    needed. For `shared`, see `lock`.

    Raises:
        OutputError: another run is writing the folder; the message names its process.
        OSError: the lock file cannot be created or opened.
    """
    path = _lock_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path, folder, shared):
        yield


def clear_folder_lock(folder: Path) -> None:
    """Remove a stale lock file beside a finished folder."""
    path = _lock_path(folder)
    if path.exists():
        # Keep the file if another run holds the lock or the disk is read-only.
        with suppress(OutputError, OSError), lock(path, folder):
            pass


def _lock_path(folder: Path) -> Path:
    target = Path(os.path.realpath(folder))
    return target.parent / f".{target.name}.lock"


@contextmanager
def lock(path: Path, guarded: Path, shared: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on a lock file, which is created if needed and removed at the end.

    Args:
        path: the lock file.
        guarded: the file or folder the lock protects, for the error message.
        shared: hold a lock that other runs can share; it excludes exclusive locks only.

    Raises:
        OutputError: another run holds the lock; the message names its process.
        OSError: the lock file cannot be created or opened.
    """
    descriptor = _acquire(path, guarded, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # on a full disk, the lock works without naming its holder
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        try:
            _remove(path, descriptor)
        except KeyboardInterrupt:  # finish the removal, then raise the interrupt again
            _remove(path, descriptor)
            raise
        finally:
            os.close(descriptor)


def _remove(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # the disk became read-only: the next run removes the file
        # A shared lock that others still hold cannot become exclusive: the last one removes it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the lock file was deleted meanwhile, `path` may be the lock file of another run.
        if _is_same_file(descriptor, path):
            path.unlink()


def _acquire(path: Path, guarded: Path, kind: int) -> int:
    """Open and lock the lock file; return its file descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            # Another run may have removed the file after we opened it and before we locked it.
            if _is_same_file(descriptor, path):
                return descriptor
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise OutputError(
                f"expected exclusive access to {guarded}, found {holder or 'another process'} "
                "writing it; wait for it to end or give another path"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
