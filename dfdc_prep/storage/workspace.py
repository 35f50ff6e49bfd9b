"""A folder to work on, wherever it lies: on a disk the folder itself, else a copy on this disk.

Of a folder in a bucket, what is needed is fetched, and what was written or removed is put back.
"""

import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dfdc_prep.storage.urls import Location, Url, is_folder
from manifests.errors import DfdcPrepError, StorageError
from manifests.folders import FacesFolder

if TYPE_CHECKING:
    from dfdc_prep.storage.place import Lease

P = ParamSpec("P")
R = TypeVar("R")
#: Files fetched or put at the same time.
_AT_ONCE = 16


class Workspace:
    """A folder on this machine, and its location, which is itself or in a bucket."""

    def __init__(self, location: Location, folder: Path) -> None:
        self.location = location
        self.folder = folder  # the one to work in

    def shown(self, path: Location) -> Location:
        """Return where a path in `folder` lies; another path as it is."""
        if isinstance(path, Url) or not path.is_relative_to(self.folder):
            return path
        shown = self.location
        for part in path.relative_to(self.folder).parts:
            shown = shown / part
        return shown

    def push(self, last: Iterable[str] = ()) -> None:
        """Put back what has changed; on a disk, it is where it belongs."""


class Mirror(Workspace):
    """An existing folder that holds some files of a place in a bucket."""

    def __init__(self, url: Url, folder: Path) -> None:
        from dfdc_prep.storage.place import Place

        super().__init__(url, folder)
        self.url = url
        self.place = Place(url)
        self.lease: Lease | None = None  # that of the place, if no other may write there
        self._known: dict[str, tuple[int, int]] = {}
        self.versions: dict[str, str] = {}  # what the store said of each file laid out

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The files of the place, listed once: {name: size in bytes}."""
        return self.place.list()

    def pull_all(self) -> None:
        """Fetch every file."""
        self.pull(self.sizes)

    def pull_crops(self, table: str, *others: str) -> None:
        """Fetch a table, the crops and masks that it names, and other files."""
        if table in self.pull([table, *others]):
            self.pull(FacesFolder.crops_in(self.folder / table))

    def pull(self, names: Iterable[str]) -> list[str]:
        """Fetch files; return the names of those that exist.

        Raises:
            StorageError: the place cannot be reached, or a name is unsafe.
        """
        found = _at_once(self._pull_one, [check_name(self.url, name) for name in names])
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
            OutputError: another run has taken the lease over.
            StorageError: the place cannot be reached or written.
        """

        def put(name: str) -> None:
            self.place.put_file(name, self.folder / name)

        paths = (Path(base, name) for base, _, names in os.walk(self.folder) for name in names)
        found = {path.relative_to(self.folder).as_posix(): _state(path) for path in sorted(paths)}
        changed = [name for name, state in found.items() if self._known.get(name) != state]
        if self.lease:
            self.lease.check()
        if changed and (stale := [name for name in last if name in self._known]):
            self.place.remove(stale)
        _at_once(put, [name for name in changed if name not in set(last)])
        for name in last:
            if name in changed:
                put(name)
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


#: What is fetched of a place: files of these names, or what a function fetches.
Pull = Iterable[str] | Callable[[Mirror], object]


@dataclass(frozen=True)
class Push:
    """How what has changed is put into a bucket."""

    alone: bool = False  # whether no other command may write there at the same time
    after_errors: bool = False  # whether what an interrupted command leaves lets the next go on
    last: tuple[str, ...] = ()  # put last, because their presence means that the rest is there


@contextmanager
def workspace(
    location: Location, pull: Pull, push: Push | None = None, folder: Path | None = None
) -> Iterator[Workspace]:
    """Yield a folder on this machine to work in: that at `location`, or a copy if it is a URL.

    Errors raised inside name the URL instead of the copy.

    Args:
        push: how what was written or removed is put back at the end; None if it is not.
        folder: holds the copy; None for a temporary folder that has the name of the place.

    Raises:
        OutputError: another command writes there.
        StorageError: the bucket cannot be reached or written.
    """
    if isinstance(location, Path):
        yield Workspace(location, location)
        return
    from dfdc_prep.storage.place import lease

    with ExitStack() as stack:
        if folder is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="dfdc-prep-"))
            folder = Path(scratch, location.name)
            folder.mkdir()
        mirror = Mirror(location, folder)
        try:
            if push and push.alone:
                mirror.lease = stack.enter_context(lease(mirror.place))
            if callable(pull):
                pull(mirror)
            else:
                mirror.pull(pull)
            try:
                yield mirror
            except BaseException as error:
                if push and push.after_errors:
                    try:
                        mirror.push(push.last)
                    except DfdcPrepError as second:  # it does not hide the first
                        error.add_note(str(second))
                raise
            if push:
                mirror.push(push.last)
        except DfdcPrepError as error:
            error.args = tuple(str(each).replace(str(folder), str(location)) for each in error.args)
            raise


@contextmanager
def local_file(location: Location) -> Iterator[Path]:
    """Yield the path of a file, which is fetched from a bucket and removed at the end.

    If the object does not exist, neither does the path.
    """
    with workspace(location.parent, [location.name]) as parent:
        yield parent.folder / location.name


def all_but(*parts: str) -> Pull:
    """Fetch every file but those with such a part in their name, which only have a size."""
    return lambda mirror: mirror.lay_out(lambda name, _: not any(part in name for part in parts))


@dataclass(frozen=True)
class Staged:
    """What a function needs of a folder that it takes, or of a file if its `pull` is not empty."""

    pull: Pull
    push: Push | None = None


def staged(
    **needs: Staged | Callable[[Mapping[str, Any]], Staged],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function that takes paths, or tuples of them, take URLs, and return them in its report.

    Args:
        needs: by the name of the parameter; or a function of all arguments that returns it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            spaces: list[Workspace] = []
            with ExitStack() as stack:

                def local(value: Any, need: Staged) -> Any:
                    if isinstance(value, tuple):
                        return tuple(local(each, need) for each in value)
                    if not isinstance(value, Url):
                        return value
                    if is_folder(value):
                        space = stack.enter_context(workspace(value, need.pull, need.push))
                        path = space.folder
                    else:
                        names = [value.name] if need.pull else []
                        space = stack.enter_context(workspace(value.parent, names, need.push))
                        path = space.folder / value.name
                    spaces.append(space)
                    return path

                for name, need in needs.items():
                    wanted = need if isinstance(need, Staged) else need(given.arguments)
                    given.arguments[name] = local(given.arguments[name], wanted)
                report = function(*given.args, **given.kwargs)
            if spaces and is_dataclass(report) and not isinstance(report, type):
                found = {each.name: getattr(report, each.name) for each in fields(report)}
                paths = {name: path for name, path in found.items() if isinstance(path, Path | Url)}
                for space in spaces:  # a report names what was written, not its copy
                    paths = {name: space.shown(path) for name, path in paths.items()}
                shown: Any = replace(report, **paths)
                report = shown
            return report

        return call

    return decorate


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


def _at_once(function: Callable[[str], R], names: Iterable[str]) -> list[R]:
    """Call a function with each name, some at the same time; return the results in order."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(function, names))


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
