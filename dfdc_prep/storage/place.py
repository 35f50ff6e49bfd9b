"""A place: a folder in a bucket, by fsspec: S3, Google Cloud Storage, Azure, Hugging Face.

A bucket knows no rename, no append and no lock, so these few calls are all that is used. Objects
are written with one call each, never as a stream: a stream that breaks would leave a part of the
object under its final name. Transient errors are retried by the libraries themselves, with growing
random pauses; what is still broken then becomes a `StorageError`.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from threading import get_ident
from typing import Any, TypeVar

from dfdc_prep.storage.urls import Url
from manifests.errors import StorageError

Item = TypeVar("Item")

#: The folder of the leases of a place; see `dfdc_prep.storage.lease`.
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


@dataclass(frozen=True)
class Place:
    """A folder in a bucket, whose files are read and written whole; nothing is read or created yet.

    Names are relative to the place, with forward slashes. A file that does not exist raises
    FileNotFoundError; a place that cannot be reached, or refuses, raises `StorageError`. It can be
    sent to worker processes.
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
    """Yield lists of up to `_AT_ONCE` items."""
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
