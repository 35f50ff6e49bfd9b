"""A place: a folder on a disk or in a bucket, whose files are read and written whole.

A bucket knows no rename, no append and no lock, so these few calls are all that is used. Names
are relative to the place, with forward slashes. A file that does not exist raises
FileNotFoundError; a place that cannot be reached, or refuses, raises `StorageError`.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from typing import Protocol

from dfdc_prep.storage.urls import Location, Url


class Place(Protocol):
    """A folder, wherever it is."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        ...

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of many files; those that do not exist are left out."""
        ...

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to the path `target` on this machine; it appears whole."""
        ...

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files whole, replacing those that exist."""
        ...

    def put_file(self, name: str, source: Path) -> None:
        """Copy a file of this machine to the place, whole."""
        ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; return whether it was written."""
        ...

    def list(self, below: str = "") -> dict[str, int]:
        """Return {name: size in bytes} of all files below a folder of the place."""
        ...

    def list_versions(self) -> dict[str, tuple[int, str]]:
        """Return {name: (size in bytes, text that differs if the content does)} of all files."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that do not exist are left out."""
        ...


def open_place(location: Location) -> Place:
    """Return the place of a path or URL; nothing is read or created yet."""
    if isinstance(location, Url):
        from dfdc_prep.storage.bucket import Bucket

        return Bucket(location)
    return LocalFolder(location)


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine's disk."""

    folder: Path

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        return {name: self.read(name) for name in names if (self.folder / name).is_file()}

    def fetch(self, name: str, target: Path) -> None:
        _replace(target, self.read(name))

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, data)

    def put_file(self, name: str, source: Path) -> None:
        self.put({name: source.read_bytes()})

    def put_if_absent(self, name: str, data: bytes) -> bool:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(path)
        try:
            partial.write_bytes(data)
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def list(self, below: str = "") -> dict[str, int]:
        found = {}
        for path in (self.folder / below).rglob("*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                if path.is_file() and not _is_partial(path):
                    found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
        return found

    def list_versions(self) -> dict[str, tuple[int, str]]:
        times = ((name, size, self.folder / name) for name, size in self.list().items())
        return {name: (size, str(path.stat().st_mtime_ns)) for name, size, path in times}

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    partial = _partial(path)
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.half")


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".half")
