"""A place: a folder in a bucket, by fsspec: S3, Google Cloud Storage, Azure, Hugging Face.

A bucket knows no rename, no append and no lock, so these few calls are all that is used. Objects
are written with one call each, never as a stream: a stream that breaks would leave a part of the
object under its final name. Transient errors are retried by the libraries themselves, with growing
random pauses; what is still broken then becomes a `StorageError`.

A lease lets one writer at a time into a place, since there is no lock that ends with its process.
It is an object `.lease/<n>.json`, created only if it does not exist, and written again
while the run lasts. A lease that is no longer renewed, or whose process is gone from this
machine, is taken over by creating the next number: of two runs that try, one succeeds. The
holder of a lower number stops when it sees the higher one. Two writers of an extraction would do no
harm to the data, because both write the same bytes to the same names.
"""

import errno
import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import Any, TypeVar

from dfdc_prep.storage.urls import Url
from manifests.errors import OutputError, StorageError

Item = TypeVar("Item")

#: The folder of the leases of a place; see `lease`.
LEASE = ".lease"
#: Attempts at a request, where the environment does not say otherwise (AWS_MAX_ATTEMPTS).
_ATTEMPTS = 6
#: Objects read or written by one call, which runs their requests at the same time.
_AT_ONCE = 256
#: What a library's message may contain of credentials: user:password@, and a query's signature.
_SECRETS = (
    (re.compile(r"://[^/@\s]*@"), "://…@"),
    (re.compile(r"\?\S+"), "?…"),
    (re.compile(r"(?i)(signature|credential|secret|token|password|key)(\s*[=:]\s*)\S+"), r"\1\2…"),
)
_MAX_REASON = 200
#: Names of an object's hash (Google Cloud Storage), tag (S3, Azure) or hash (Hugging Face).
_VERSIONS = ("md5Hash", "ETag", "etag", "blob_id")
#: Seconds between two renewals, and until a lease that is not renewed can be taken over. The
#: clocks of the machines must agree better than that.
_RENEWED_EVERY, _LASTS = 20.0, 120.0
#: Tokens of the leases that this process holds.
_held: set[str] = set()


@dataclass(frozen=True)
class Place:
    """A folder in a bucket, whose files are read and written whole; can be sent to workers.

    Names are relative to the place, with forward slashes. A file that does not exist raises
    FileNotFoundError; a place that cannot be reached, or refuses, raises `StorageError`.
    """

    url: Url

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        with self._reporting("read", name):
            return bytes(self._files.cat_file(self._path(name)))

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of many files; those that do not exist are left out."""
        found: dict[str, bytes] = {}
        for some in _batches(names):
            paths = {self._path(name): name for name in some}
            with self._reporting("read", some[0]):
                contents = self._files.cat(list(paths), on_error="return")
            for path, data in contents.items():
                with suppress(FileNotFoundError), self._reporting("read", paths[path]):
                    if isinstance(data, BaseException):
                        raise data
                    found[paths[path]] = data
        return found

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to the path `target` on this machine; it appears whole."""
        partial = target.with_name(f".{target.name}.{os.getpid()}-{get_ident()}.half")
        try:
            with self._reporting("read", name):
                self._files.get_file(self._path(name), str(partial))
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files whole, replacing those that exist."""
        for some in _batches(files.items()):
            with self._reporting("write", some[0][0]):
                self._files.pipe({self._path(name): data for name, data in some})

    def put_file(self, name: str, source: Path) -> None:
        """Copy a file of this machine to the place, whole."""
        with self._reporting("write", name):
            self._files.put_file(str(source), self._path(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; return whether it was written.

        A store that does not know the condition writes and returns True.
        """
        try:
            with self._reporting("write", name):
                self._files.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def list(self, below: str = "") -> dict[str, int]:
        """Return {name: size in bytes} of all files below a folder of the place, but for leases."""
        return {name: int(info["size"]) for name, info in self._found(below).items()}

    def list_versions(self) -> dict[str, tuple[int, str]]:
        """Return {name: (size in bytes, text that differs if the content does)}, without leases.

        The text is the hash or the tag that the store gives; "" if it gives neither. A copy keeps
        a hash and, on S3, the tag; other stores give each copy another tag.
        """
        return {
            name: (int(info["size"]), str(next((info[k] for k in _VERSIONS if info.get(k)), "")))
            for name, info in self._found("").items()
        }

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that do not exist are left out."""
        for some in _batches(names):
            with suppress(FileNotFoundError), self._reporting("remove", some[0]):
                self._files.rm([self._path(name) for name in some])
            # S3 answers a deletion that it refuses like one that it does, so look for one object.
            with self._reporting("remove", some[-1]):
                if self._files.exists(self._path(some[-1])):
                    raise PermissionError("the object is still there")

    def _found(self, below: str) -> dict[str, dict[str, Any]]:
        """What the store says of each object below a folder, by name."""
        found: dict[str, dict[str, Any]] = {}
        with suppress(FileNotFoundError), self._reporting("list", below):
            found = self._files.find(self._path(below), detail=True)
        if not found:
            self._check()
        start = len(self._path("")) + 1
        hidden = () if below.startswith(LEASE) else (f"{LEASE}/",)
        return {
            path[start:]: info
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith("/") and len(path) > start
            if not path.startswith(hidden, start)
        }

    def _check(self) -> None:
        """Raise StorageError unless the bucket (of hf://, the repository) can be listed."""
        depth = 1
        if self.url.scheme == "hf":
            named = self.url.text.startswith(("hf://datasets/", "hf://spaces/", "hf://buckets/"))
            depth = 3 if named else 2
        bucket = "/".join(self._path("").split("/")[:depth])
        where = f"{self.url.scheme}://{bucket}"
        try:
            self._files.ls(bucket, detail=False)
        except FileNotFoundError:
            raise StorageError(
                f"expected the bucket {where}, found none; create it, or correct the URL"
            ) from None
        except Exception as error:
            raise _refused("list", where, error) from None

    @property
    def _files(self) -> Any:
        return _file_system(self.url.scheme, os.getpid())

    def _path(self, name: str) -> str:
        path = self.url.text.partition("://")[2]
        return f"{path}/{name}" if name else path

    @contextmanager
    def _reporting(self, verb: str, name: str) -> Iterator[None]:
        """Turn what a library raises into FileNotFoundError, FileExistsError or StorageError."""
        try:
            yield
        except FileExistsError:
            raise
        except FileNotFoundError:
            self._check()  # a bucket that is not there is no missing object
            raise FileNotFoundError(f"no object {self.url / name}") from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the disk of this machine is full
            raise _refused(verb, str(self.url / name if name else self.url), error) from None


def _refused(verb: str, where: str, error: BaseException) -> StorageError:
    return StorageError(
        f"expected to {verb} {where}, found {redacted(error)}; check the URL, the credentials and "
        "the connection, then run the same command again"
    )


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def redacted(error: BaseException) -> str:
    """Return the first line of a library's message, without what may be a credential."""
    text = (str(error).strip() or "no reason").splitlines()[0]
    for pattern, kept in _SECRETS:
        text = pattern.sub(kept, text)
    return f"{type(error).__name__} ({text[:_MAX_REASON]})"


@cache
def _file_system(scheme: str, _process: int) -> Any:
    """Return the file system of a scheme, one per process."""
    import fsspec

    # What another machine writes must be seen, so listings are not kept.
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "s3":
        retries = {
            "mode": os.environ.get("AWS_RETRY_MODE", "standard"),
            "max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", _ATTEMPTS)),
        }
        # One request reads an object whole; many objects are still read at the same time.
        options |= {"config_kwargs": {"retries": retries}, "max_concurrency": 1}
    return fsspec.filesystem(scheme, **options)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease."""

    token: str
    process: int
    host: str
    machine: str  # the boot and the process namespace, in which `process` is unique
    renewed: float  # seconds since 1970

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended, or has not renewed its lease for long."""
        machine = _machine()
        if machine and self.machine == machine:
            if self.process == os.getpid():
                return self.token not in _held
            if not Path(f"/proc/{self.process}").exists():
                return True
        return time.time() - self.renewed > _LASTS

    def text(self) -> bytes:
        """The content of the lease's object."""
        return json.dumps(asdict(self)).encode()


@dataclass
class Lease:
    """A lease that is held."""

    is_exclusive: bool  # whether the store refuses a second writer; if not, nothing can
    _lost: Event = field(default_factory=Event)

    def check(self) -> None:
        """Raise OutputError if another run has taken the lease over."""
        if self._lost.is_set():
            raise OutputError(
                "expected to be the only run that writes this place, found that another one took "
                "over; wait for it to end, then run the same command again"
            )


@contextmanager
def lease(place: Place, name: str = LEASE) -> Iterator[Lease]:
    """Hold the lease of a place.

    The lease of a slice, a name below `LEASE`, can be held beside those of other slices, but not
    beside the lease of the whole place.

    Args:
        name: the folder of the lease's objects: `LEASE`, or the name of a slice in it.

    Raises:
        OutputError: another run holds it; the message names its process.
        StorageError: the place cannot be reached or written.
    """
    number, holder = _acquire(place, name)
    # Each creates its own lease first and then looks for others, so that never both go on.
    try:
        folders = {path.rpartition("/")[0] for path in place.list(LEASE)}
        others = {LEASE} & folders if name != LEASE else folders - {LEASE}
        for other in sorted(others):
            with suppress(FileNotFoundError):  # it has just ended
                _check_gone(place, _object(other, _newest(place, other)))
        # A store that does not know the condition lets the same object be created twice.
        exclusive = not place.put_if_absent(_object(name, number), holder.text())
    except BaseException:
        _held.discard(holder.token)
        with suppress(StorageError):  # it can be taken over
            place.remove([_object(name, number)])
        raise
    held, ended = Lease(exclusive), Event()
    thread = Thread(target=_renew, args=(place, name, number, holder, held, ended), daemon=True)
    thread.start()
    try:
        yield held
    finally:
        ended.set()
        _held.discard(holder.token)
        thread.join()
        with suppress(StorageError):  # it can be taken over
            place.remove(_object(name, earlier) for earlier in range(1, number + 1))


def _acquire(place: Place, name: str) -> tuple[int, Holder]:
    while True:
        number = _newest(place, name)
        if number:
            try:
                _check_gone(place, _object(name, number))
            except FileNotFoundError:  # it has just ended
                continue
        token = os.urandom(16).hex()
        holder = Holder(token, os.getpid(), socket.gethostname(), _machine(), time.time())
        if place.put_if_absent(_object(name, number + 1), holder.text()):
            _held.add(holder.token)
            return number + 1, holder


def _check_gone(place: Place, name: str) -> None:
    """Raise OutputError if the holder of a lease is at work; FileNotFoundError without a lease."""
    data = place.read(name)
    try:
        found: Any = json.loads(data)
        earlier = Holder(**{**found, "process": int(found["process"])})
        gone = earlier.is_gone
    except (ValueError, TypeError, KeyError):  # it is invalid
        return
    if not gone:
        ago = max(0.0, time.time() - earlier.renewed)
        raise OutputError(
            f"expected exclusive access to {place.url}, found process {earlier.process} on "
            f"{earlier.host} writing it, last seen {ago:.0f} s ago; wait for it to end, "
            f"or {_LASTS:.0f} s if it was killed, or give another place"
        )


def _renew(place: Place, name: str, number: int, holder: Holder, held: Lease, ended: Event) -> None:
    try:
        while not ended.wait(_RENEWED_EVERY):
            with suppress(StorageError):  # the next request of the run reports it
                if _newest(place, name) != number:
                    return
                now = replace(holder, renewed=time.time())
                place.put({_object(name, number): now.text()})
    finally:
        if not ended.is_set():
            held._lost.set()


def _newest(place: Place, name: str) -> int:
    """The highest number of a lease, 0 without a lease."""
    files = (path.rpartition("/") for path in place.list(name))
    stems = (file.removesuffix(".json") for folder, _, file in files if folder == name)
    return max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def _object(name: str, number: int) -> str:
    return f"{name}/{number:06d}.json"


def _machine() -> str:
    """Identify this boot of this machine and its process namespace; "" if that is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
