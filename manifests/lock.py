"""One run at a time: a lock that dies with its process and says who holds it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from manifests.errors import OutputError


@contextmanager
def lock(path: Path, guarded: Path, *, keep: bool = False) -> Iterator[None]:
    """Hold the lock that is this file, which is made if need be and removed at the end.

    What a killed run leaves of it holds nobody back.

    Args:
        guarded: what nobody else may write meanwhile, for the message.
        keep: leave the file where it is, for a lock inside the folder it guards.

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
        if not keep:
            path.unlink(missing_ok=True)
        os.close(handle)


def _taken(path: Path, guarded: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    """Whether the other run did not remove the file between our opening and locking it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
