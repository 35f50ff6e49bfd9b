"""One run at a time: a lock that dies with its process and says who holds it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from manifests.errors import OutputError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock beside a folder, which may be replaced or removed as a whole meanwhile.

    Whoever makes or replaces a folder holds this one, so that no two of them write the same.
    The folders above it are made if need be.

    Raises:
        OutputError: another run, named as far as it is known, writes the folder.
        OSError: the lock cannot be made or opened.
    """
    path = _beside(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path, folder):
        yield


def clear_folder_lock(folder: Path) -> None:
    """Remove what a killed run left of the lock beside a folder that needs no more writing."""
    path = _beside(folder)
    if path.exists():
        # Another run may hold it, or the disk may only be read: then it stays.
        with suppress(OutputError, OSError), lock(path, folder):
            pass


def _beside(folder: Path) -> Path:
    target = Path(os.path.realpath(folder))
    return target.parent / f".{target.name}.lock"


@contextmanager
def lock(path: Path, guarded: Path) -> Iterator[None]:
    """Hold the lock that is this file, which is made if need be and removed at the end.

    What a killed run leaves of it holds nobody back.

    Args:
        guarded: what nobody else may write meanwhile, for the message.

    Raises:
        OutputError: another run, named as far as it is known, holds it.
        OSError: it cannot be made or opened.
    """
    handle = _taken(path, guarded)
    try:
        os.ftruncate(handle, 0)
        with suppress(OSError):  # a full disk: the lock holds without its name too
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        try:
            _remove(path, handle)
        except KeyboardInterrupt:  # it fell into the removal, which is soon done
            _remove(path, handle)
            raise
        finally:
            os.close(handle)


def _remove(path: Path, handle: int) -> None:
    with suppress(OSError):  # a disk that may only be read now: the next run clears it
        if _lies_at(handle, path):  # else its folder went, and another's lock may lie there
            path.unlink()


def _taken(path: Path, guarded: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The other run may have removed the file between our opening and locking it.
            if _lies_at(handle, path):
                return handle
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise OutputError(
                f"expected {guarded} to be free, found {holder or 'another process'} writing it; "
                "wait for it to end or name another place"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lies_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
