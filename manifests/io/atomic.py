"""A file or folder that is whole or as it was: written beside its place, renamed when done."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.errors import OutputError
from manifests.io.locks import folder_lock, lock


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


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of `target` when the block ends well.

    It lies beside the target, so that renaming is one step. What a killed run left there is
    cleared by the next one; two runs at once do not mix. When the block raises, the folder
    is removed and `target` is as it was.

    Raises:
        OutputError: another run, named, is writing the same folder, or it cannot be written.
    """
    target = Path(os.path.realpath(target))
    try:
        with folder_lock(target), _written(target) as partial:
            yield partial
    except OSError as error:
        raise OutputError(
            f"expected to write {target}, found {error.strerror or error}; "
            "choose another place or make room in this one"
        ) from error


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    partial, old = (target.with_name(f".{target.name}.{end}") for end in ("partial", "old"))
    if old.is_dir() and not target.exists():
        os.rename(old, target)  # a run was killed between the two renames
    for left in (partial, old):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        _replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _replace(partial: Path, target: Path) -> None:
    """Rename over the target; what stood there goes once the new folder has its name."""
    if not target.exists():
        os.rename(partial, target)
        _sync(target.parent)
        return
    old = target.with_name(f".{target.name}.old")
    os.rename(target, old)
    os.rename(partial, target)
    _sync(target.parent)
    shutil.rmtree(old)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
