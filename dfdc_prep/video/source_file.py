"""Files of the source, whose I/O errors are told from damaged clips, and what tells their versions.

A clip is a file, or a folder of frames: pictures in the order of the numbers in their names.

FFmpeg treats a failed read as the end of the file, so a clip on a failing disk would be reported
as damaged. `SourceFile` records the operating system's error instead.
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfdc_prep.errors import SourceUnreachable

#: Bytes hashed at each end of a clip: a header and an index, whichever is where.
_END = 16_384
#: Extensions of the pictures in a folder of frames.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


class SourceFile:
    """A readable binary file that records the first I/O error and then reports end of file.

    Raises:
        SourceUnreachable: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: FFmpeg uses the extension as a format hint, but it cannot encode every file name.
        self.name = path.name if path.name.isprintable() else "clip"
        self._error: OSError | None = None
        with _reached(path):
            self._file = path.open("rb", buffering=0)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file.fileno()).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from a position; leave the one of `read` as it is."""
        try:
            return os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            self._error = self._error or error
            return b""

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; empty at the end of the file and after an I/O error."""
        try:
            return self._file.read(size) or b""
        except OSError as error:
            self._error = self._error or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek like `io.RawIOBase.seek` and return the new position, -1 if seeking failed."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: the clip's index points before its start
                self._error = self._error or error
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def raise_for_error(self) -> None:
        """Raise SourceUnreachable if a read or seek failed: decoded frames must be discarded."""
        if self._error:
            raise unreachable_error(self._path, self._error) from self._error


def frame_names(folder: Path) -> list[str]:
    """The pictures in a folder, in the order of the numbers in their names."""

    def key(name: str) -> list[int | str]:
        parts = re.split("([0-9]+)", name)
        return [int(part) if number % 2 else part for number, part in enumerate(parts)]

    with _reached(folder):
        names = os.listdir(folder)
    return sorted((n for n in names if n.lower().endswith(PICTURES) and n[0] != "."), key=key)


def clip_size(path: Path) -> int:
    """The bytes of a clip's file, or of all its frames."""
    with _reached(path):
        if not path.is_dir():
            return path.stat().st_size
        return sum(os.stat(path / name).st_size for name in frame_names(path))


def check_reachable(path: Path) -> None:
    """Raise SourceUnreachable unless a file of the source exists and is accessible."""
    with _reached(path):
        path.stat()


def file_version(path: Path) -> str:
    """What tells a clip from another of the same size: its time, and a hash of its two ends.

    Of a folder of frames, the hash is that of their names and sizes.

    Raises:
        SourceUnreachable: the file cannot be read.
    """
    with _reached(path):
        if path.is_dir():
            found = path.stat()
            sizes = [f"{name} {clip_size(path / name)}" for name in frame_names(path)]
            digest = hashlib.sha256("\n".join(sizes).encode("utf-8", "surrogateescape"))
        else:
            with path.open("rb", buffering=0) as file:
                found = os.fstat(file.fileno())
                digest = hashlib.sha256(file.read(_END))
                file.seek(max(_END, found.st_size - _END))
                digest.update(file.read(_END))
    return f"{found.st_mtime_ns} {digest.hexdigest()[:32]}"


def is_version(path: Path, version: str) -> bool:
    """Whether a clip is the one of which `file_version` returned `version`.

    Only a file with another time is read: copying a data set changes the times of its clips.

    Raises:
        SourceUnreachable: the file cannot be read.
    """
    with _reached(path):
        time = str(path.stat().st_mtime_ns)
    earlier, _, digest = version.partition(" ")
    return time == earlier or file_version(path).partition(" ")[2] == digest


def unreachable_error(path: Path, error: OSError) -> SourceUnreachable:
    """Return the exception for a source file that the operating system could not read."""
    return SourceUnreachable(
        f"expected to read {path}, found {error.strerror or error}; make it readable or "
        "remove the clip, then run the same command again to resume; no finished work is lost"
    )


@contextmanager
def _reached(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreachable_error(path, error) from error
