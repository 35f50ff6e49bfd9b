"""Shards in a bucket, read through a cache of bounded size on this machine's disk.

TensorFlow reads local files only. The small files of the shards folder are fetched at the start,
each shard file when the input pipeline comes to it, some shards ahead. The shards used longest
ago make room for others. What an earlier training left in the cache is used again if it has the
hash that SHA256SUMS lists.
"""

import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Condition

import pooch

from dfdc_prep.storage.mirror import Mirror
from dfdc_prep.storage.urls import Location, Url
from manifests.errors import DfdcPrepError, OutputError, StorageError, TrainingError
from manifests.files import file_sha256
from manifests.folders import ShardsFolder
from manifests.locks import folder_lock

#: Size of the cache unless --cache-gb says otherwise.
DEFAULT_GB = 50.0
#: Shards that are kept even if they exceed the size: those read, and those fetched ahead.
_KEPT = 16


class ShardCache:
    """The shard files of one data set.

    Args:
        mirror: the shards folder; its small files have been fetched.
        sizes: all its files, {name: bytes}.
        max_bytes: size of the cache.
    """

    def __init__(self, mirror: Mirror, sizes: dict[str, int], max_bytes: int) -> None:
        self.url = mirror.url
        self.error: StorageError | None = None
        self._mirror = mirror
        self._sizes = sizes
        self._max_bytes = max_bytes
        self._sums = _read_sums(mirror.folder / ShardsFolder.SUMS)
        self._fetched: OrderedDict[str, None] = OrderedDict()  # the one used last at the end
        self._under_way: set[str] = set()
        self._changed = Condition()

    def __contains__(self, name: str) -> bool:
        return name in self._sizes

    def fetch(self, name: str) -> Path:
        """Return the path of a shard, which is fetched if it is not there. Thread-safe.

        Raises:
            StorageError: it cannot be read, or the disk of the cache is full.
        """
        path = self._mirror.folder / name
        with self._changed:
            while name in self._under_way:
                self._changed.wait()
            if name in self._fetched:
                self._fetched.move_to_end(name)
                return path
            self._under_way.add(name)
        try:
            if not self._is_whole(path):
                self._fetch(name)
        except StorageError as error:
            self.error = error
            raise
        except OSError as error:
            self.error = StorageError(
                f"expected room for {name} in the cache at {path.parent}, found "
                f"{error.strerror or error}; free disk space, or lower --cache-gb"
            )
            raise self.error from error
        finally:
            with self._changed:
                self._under_way.discard(name)
                self._changed.notify_all()
        with self._changed:
            self._fetched[name] = None
            self._make_room()
        return path

    def _fetch(self, name: str) -> None:
        if not self._mirror.pull([name]):
            raise StorageError(
                f"expected the shard {self.url / name}, found no such object; write the shards "
                "again"
            )
        if not self._is_whole(self._mirror.folder / name):
            raise StorageError(
                f"expected the hash of SHA256SUMS in {self.url / name}, found another; check the "
                f"shards with dfdc-prep verify {self.url}"
            )

    def _is_whole(self, path: Path) -> bool:
        return path.is_file() and self._sums.get(path.name) == file_sha256(path)

    def _make_room(self) -> None:
        used = sum(self._sizes[name] for name in self._fetched)
        while used > self._max_bytes and len(self._fetched) > _KEPT:
            name, _ = self._fetched.popitem(last=False)
            (self._mirror.folder / name).unlink(missing_ok=True)  # readers keep their open file
            used -= self._sizes[name]


#: The caches that are open, by their folder.
_open: dict[Path, ShardCache] = {}


def cache_of(shards: Path) -> ShardCache | None:
    """Return the cache behind a shards folder; None if the folder is not a cache."""
    return _open.get(shards)


def shown(shards: Path) -> str:
    """Return the name of a shards folder for messages and records: its path or URL."""
    cache = cache_of(shards)
    return str(cache.url) if cache else str(shards)


@contextmanager
def open_shards(location: Location, cache_gb: float = DEFAULT_GB) -> Iterator[Path]:
    """Yield a shards folder on this machine.

    Args:
        cache_gb: size of the cache of a bucket, 10**9 bytes.

    Raises:
        StorageError: the bucket cannot be reached.
    """
    if isinstance(location, Path):
        yield location
        return
    with _cache_folder(location) as folder:
        mirror = Mirror(location, folder)
        sizes = mirror.names()
        mirror.pull(name for name in sizes if not ShardsFolder.is_shard(name) and "/" not in name)
        for path in folder.iterdir():
            if ShardsFolder.is_shard(path.name) and path.name not in sizes:
                path.unlink()
        try:
            _open[folder] = ShardCache(mirror, sizes, int(cache_gb * 1e9))
            yield folder
        except DfdcPrepError as error:
            if not (folder in _open and error is _open[folder].error):
                error.args = (str(error).replace(str(folder), str(location)),)
            raise
        finally:
            _open.pop(folder, None)


@contextmanager
def _cache_folder(url: Url) -> Iterator[Path]:
    """Yield the folder of a data set in the user's cache, or a new one if that is in use."""
    place = url.text.replace("://", "-").replace("/", "-")
    folder = Path(pooch.os_cache("dfdc-prep")) / "shards" / place[-200:] / url.name
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(folder))
        except (OutputError, OSError):
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="dfdc-prep-"))
            folder = Path(scratch, url.name)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def _read_sums(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise TrainingError(
            f"expected {path.name} in {path.parent}, found none: the shards are not complete; run "
            "dfdc-prep shard"
        )
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
