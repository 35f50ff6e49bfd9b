"""Buckets, by fsspec: S3, Google Cloud Storage, Azure, Hugging Face.

Objects are written with one call each, never as a stream: a stream that breaks would leave a
part of the object under its final name. Transient errors are retried by the libraries
themselves, with growing random pauses; what is still broken then becomes a `StorageError`.
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
class Bucket:
    """A folder in a bucket; see `Place`. It can be sent to worker processes."""

    url: Url

    def read(self, name: str) -> bytes:
        with self._reporting("read", name):
            return bytes(self._files.cat_file(self._path(name)))

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for some in _batches(names):
            paths = {self._path(name): name for name in some}
            with self._reporting("read", some[0]):
                contents = self._files.cat(list(paths), on_error="return")
            for path, data in contents.items():
                with self._reporting("read", paths[path]):
                    if isinstance(data, FileNotFoundError):
                        continue
                    if isinstance(data, BaseException):
                        raise data
                    found[paths[path]] = data
        return found

    def fetch(self, name: str, target: Path) -> None:
        partial = target.with_name(f".{target.name}.{os.getpid()}-{get_ident()}.half")
        try:
            with self._reporting("read", name):
                self._files.get_file(self._path(name), str(partial))
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, files: Mapping[str, bytes]) -> None:
        for some in _batches(files.items()):
            with self._reporting("write", some[0][0]):
                self._files.pipe({self._path(name): data for name, data in some})

    def put_file(self, name: str, source: Path) -> None:
        with self._reporting("write", name):
            self._files.put_file(str(source), self._path(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """See `Place`. A store that does not know the condition writes and returns True."""
        try:
            with self._reporting("write", name):
                self._files.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def list(self, below: str = "") -> dict[str, int]:
        return {name: int(info["size"]) for name, info in self._found(below).items()}

    def list_versions(self) -> dict[str, tuple[int, str]]:
        return {n: (int(info["size"]), _version(info)) for n, info in self._found("").items()}

    def _found(self, below: str) -> dict[str, dict[str, Any]]:
        """What the store says of each object below a folder, by name."""
        with self._reporting("list", below):
            try:
                found = self._files.find(self._path(below), detail=True)
            except FileNotFoundError:
                found = {}
        if not found:
            self.check()
        start = len(self._path("")) + 1
        return {
            path[start:]: info
            for path, info in found.items()
            if info["type"] == "file" and not path.endswith("/") and len(path) > start
        }

    def remove(self, names: Iterable[str]) -> None:
        for some in _batches(names):
            with suppress(FileNotFoundError), self._reporting("remove", some[0]):
                self._files.rm([self._path(name) for name in some])
            # S3 answers a deletion that it refuses like one that it does, so look for one object.
            with self._reporting("remove", some[-1]):
                if self._files.exists(self._path(some[-1])):
                    raise PermissionError("the object is still there")

    def check(self) -> None:
        """Check that the bucket exists and can be listed.

        Raises:
            StorageError: it does not, or cannot be reached.
        """
        bucket = "/".join(self._path("").split("/")[: _bucket_depth(self.url)])
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
            self.check()  # a bucket that is not there is no missing object
            raise FileNotFoundError(f"no object {self.url / name}") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the disk of this machine is full
            raise _refused(verb, self._where(name), error) from None
        except Exception as error:
            raise _refused(verb, self._where(name), error) from None

    def _where(self, name: str) -> str:
        return str(self.url / name if name else self.url)


def _version(info: Mapping[str, Any]) -> str:
    """The hash or the tag of an object's content; "" if the store gives neither.

    A copy keeps a hash and, on S3, the tag; other stores give each copy another tag.
    """
    return next((str(info[key]) for key in _VERSIONS if info.get(key)), "")


def _refused(verb: str, where: str, error: BaseException) -> StorageError:
    return StorageError(
        f"expected to {verb} {where}, found {redacted(error)}; check the URL, the credentials and "
        "the connection, then run the same command again"
    )


def _bucket_depth(url: Url) -> int:
    """Number of the parts of a path that name the bucket; of hf://, the repository."""
    if url.scheme != "hf":
        return 1
    return 3 if url.text.startswith(("hf://datasets/", "hf://spaces/", "hf://buckets/")) else 2


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
