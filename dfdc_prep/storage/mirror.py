"""A copy of a place on this machine's disk: what is needed is fetched, what changed is put back."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from dfdc_prep.storage.lease import FOLDER as LEASE
from dfdc_prep.storage.place import Place
from dfdc_prep.storage.urls import Location, Url
from manifests.errors import StorageError

#: Files fetched or put at the same time.
_AT_ONCE = 16


class Mirror:
    """A folder that holds some files of a place.

    Args:
        url: the place.
        folder: an existing, empty folder.
    """

    def __init__(self, url: Url, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.place = Place(url)
        self._known: dict[str, tuple[int, int]] = {}
        #: What the store said of the content of the files laid out, by name.
        self.versions: dict[str, str] = {}

    def names(self) -> dict[str, int]:
        """List the place: {name: size in bytes}, without what a lease needs."""
        found = self.place.list()
        return {name: size for name, size in found.items() if not name.startswith(f"{LEASE}/")}

    def pull(self, names: Iterable[str]) -> list[str]:
        """Fetch files; return the names of those that exist.

        Raises:
            StorageError: the place cannot be reached, or a name is unsafe.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(self._pull_one, [check_name(self.url, name) for name in names])
            return [name for name in found if name is not None]

    def lay_out(self, is_read: Callable[[str, int], bool]) -> None:
        """List the place once and lay it out: fetch some files, and stand in for the others.

        A file that is not fetched has its name and size, and takes no space.

        Args:
            is_read: whether to fetch the file of a name and size.

        Raises:
            StorageError: as `pull`, or two names cannot be in one folder.
        """
        wanted, made = [], set[Path]()
        for name, (size, version) in self.place.list_versions().items():
            if name.startswith(f"{LEASE}/"):
                continue
            self.versions[name] = version
            path = self.folder / check_name(self.url, name)
            try:
                if path.parent not in made:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    made.add(path.parent)
                with path.open("xb") as file:
                    os.truncate(file.fileno(), size)
            except (FileExistsError, NotADirectoryError) as error:
                raise StorageError(
                    f"expected each name below {self.url} to be a file or a folder, found "
                    f"{name!a} to be both; rename the object"
                ) from error
            self._known[name] = _state(path)
            if is_read(name, size):
                wanted.append(name)
        self.pull(wanted)

    def push(self, last: Iterable[str] = ()) -> None:
        """Put new and changed files, then those in `last` in their order, then remove others.

        If anything is to change, the earlier objects in `last` are removed first.

        Raises:
            StorageError: the place cannot be reached or written.
        """
        found = dict(self._files())
        changed = [name for name, state in found.items() if self._known.get(name) != state]
        if changed and (stale := [name for name in last if name in self._known]):
            self.place.remove(stale)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._push_one, [name for name in changed if name not in set(last)]))
        for name in last:
            if name in changed:
                self._push_one(name)
        if gone := [name for name in self._known if name not in found]:
            self.place.remove(gone)
        self._known = found

    def _pull_one(self, name: str) -> str | None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.place.fetch(name, path)
        except FileNotFoundError:
            return None
        self._known[name] = _state(path)
        return name

    def _push_one(self, name: str) -> None:
        self.place.put_file(name, self.folder / name)

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for base, _, names in os.walk(self.folder):
            for name in sorted(names):
                path = Path(base, name)
                yield path.relative_to(self.folder).as_posix(), _state(path)


@contextmanager
def mirrored(url: Url) -> Iterator[Mirror]:
    """Yield a mirror in a temporary folder that has the name of the place."""
    with tempfile.TemporaryDirectory(prefix="dfdc-prep-") as scratch:
        folder = Path(scratch, url.name)
        folder.mkdir()
        yield Mirror(url, folder)


@contextmanager
def local_file(location: Location) -> Iterator[Path]:
    """Yield the path of a file, which is fetched from a bucket and removed at the end.

    If the object does not exist, neither does the path.
    """
    if isinstance(location, Path):
        yield location
        return
    with mirrored(location.parent) as mirror:
        mirror.pull([location.name])
        yield mirror.folder / location.name


def check_name(url: Url, name: str) -> str:
    """Return the name of an object if it can be the path of a file below a folder.

    Raises:
        StorageError: it cannot: it would lie elsewhere, or is too long.
    """
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    if not plain or any(len(part.encode()) > 255 for part in parts):
        raise StorageError(
            f"expected objects with the names of files below {url}, found {name!a}; rename it"
        )
    return name


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
