"""A file that is whole or as it was before: written beside its place and renamed when done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.lock import lock


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which takes its place when the block ends well.

    It ends as `path` does. What a killed run left there is cleared by the next one; two runs
    at once do not mix. When the block raises, nothing of it stays.

    Raises:
        OutputError: another run, named, is writing the same file.
        OSError: the folder cannot be written.
    """
    half = path.with_name(f".{path.name}.half{path.suffix}")
    with lock(path.with_name(f".{path.name}.lock"), path):
        half.unlink(missing_ok=True)
        try:
            yield half
            _sync(half)
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
