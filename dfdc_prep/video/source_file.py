"""A clip's file as FFmpeg reads it, with the system's refusals told apart from bad bytes.

FFmpeg takes a read that fails for the end of the file, so that a clip on a disk that goes away
would pass for a damaged one. Reading through here keeps the error of the system.
"""

import errno
from pathlib import Path

from dfdc_prep.errors import SourceUnreachable


class SourceFile:
    """A file that remembers the first error of reading it, and then ends.

    Raises:
        SourceUnreachable: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: FFmpeg takes the file's ending as a hint; a name it cannot encode is none.
        self.name = path.name if path.name.isprintable() else "clip"
        self._refused: OSError | None = None
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise unreachable(path, error) from error

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end, or once the system refused."""
        try:
            return self._file.read(size) or b""
        except OSError as error:
            self._refused = self._refused or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; see `io.RawIOBase.seek`. Negative where there is no such place."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:  # else FFmpeg was led before the start of the file
                self._refused = self._refused or error
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        """Do nothing where every read worked.

        Raises:
            SourceUnreachable: one did not, so that whatever was decoded is not the clip.
        """
        if self._refused:
            raise unreachable(self._path, self._refused) from self._refused


def check_reachable(path: Path) -> None:
    """Do nothing where a file of the source is there.

    Raises:
        SourceUnreachable: it cannot be looked at.
    """
    try:
        path.stat()
    except OSError as error:
        raise unreachable(path, error) from error


def unreachable(path: Path, error: OSError) -> SourceUnreachable:
    """The error for a file of the source that the system does not let us read."""
    return SourceUnreachable(
        f"expected to read {path}, found {error.strerror or error}; make it readable again, or "
        "remove that clip, and run the same command again to go on: nothing is lost"
    )
