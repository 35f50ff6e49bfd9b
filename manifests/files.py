"""Files: written atomically and locked, hashed, linked; JSON parsed safely; journals appended to.

A file or folder is written under a temporary name, then renamed. A journal is a file of JSON lines
that a run appends to and a restarted run reads: if the run is killed while it writes a line, the
next run removes the partial line.

The locks let one run at a time write a file or folder. They are `flock` locks, which the kernel
releases when the process ends. The lock file names the process that holds it, and the temporary
files and folders that it makes. Stale lock files do not block: the next run removes what they name,
and nothing else that looks like it.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.errors import OutputError

#: How a lock file begins; a file that begins otherwise is somebody else's.
_HOLDER = b"process "
#: Kinds of temporary names: a file that is written, a folder that is, a folder that is replaced.
HALF, PARTIAL, OLD = "half", "partial", "old"
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.(half|partial|old)(\.[^.]*)?")

#: What a text in UTF-16 begins with.
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def separator(header: str) -> str:
    """The character between the values of a CSV: that which its first line has most of."""
    return max(",;\t", key=header.count)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` if the block succeeds.

    The temporary path is in the same folder and has the same suffix. If the block raises, it is
    removed and `path` is unchanged. A lock keeps concurrent runs from writing the same file; it
    names the temporary file, so that the next run removes it after a kill.

    Raises:
        OutputError: another run is writing the same file; the message names its process.
        OSError: the folder cannot be written.
    """
    with lock(path.with_name(f".{path.name}.lock"), path) as held:
        temporary = held.new_name(HALF)
        try:
            yield temporary
            sync_file(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to write to; rename it to `target` if the block succeeds.

    It is beside the target, so that renaming is atomic; the rest is as for `atomic_file`.

    Raises:
        OutputError: another run is writing the same folder, or the folder cannot be written.
    """
    target = Path(os.path.realpath(target))
    try:
        with folder_lock(target) as held:
            temporary = held.new_name(PARTIAL)
            temporary.mkdir()
            try:
                yield temporary
                sync_file(temporary)
                old = held.new_name(OLD) if target.exists() else None
                if old:
                    os.rename(target, old)
                os.rename(temporary, target)
                sync_file(target.parent)
                if old:
                    shutil.rmtree(old)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    except OSError as error:
        raise OutputError(
            f"expected to write {target}, found {error.strerror or error}; "
            "choose another folder or make room in this one"
        ) from error


def sync_file(path: Path) -> None:
    """Have the disk store the content of a file, or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; ValueError if it is invalid, or nested too deeply to parse."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nesting too deep") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, ensure_ascii: bool = True) -> None:
    """Write a JSON file, atomically; keys keep their order, so equal values give equal bytes.

    Raises:
        ValueError: the value contains NaN or infinity, which JSON does not allow.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=ensure_ascii)
    write_text(path, text + "\n")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_sums(hashes: dict[str, str]) -> str:
    """The text of SHA256SUMS for {name: hash}."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def parse_sums(path: Path) -> dict[str, str]:
    """Parse SHA256SUMS into {name: hash}; empty if the file does not exist."""
    text = path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""
    return {
        name: sha256 for sha256, _, name in (line.partition("  ") for line in text.splitlines())
    }


def link_or_copy(file: Path | str, target: Path) -> None:
    """Link `target` to a file; copy it if it is on another file system, or one without links."""
    try:
        os.link(os.path.realpath(file), target)
    except FileExistsError:
        raise  # it may be a link to a file of the user's
    except OSError:
        shutil.copyfile(file, target)


#: Seconds between two calls of fsync. A killed process loses nothing even without it; a power
#: failure loses the lines written since the last call.
_SYNC_EVERY = 1.0


class Journal(AbstractContextManager["Journal"]):
    """A journal, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists():
            with path.open("rb+") as file:  # remove a partial last line
                start = end = file.seek(0, os.SEEK_END)
                newline = -1
                while start and newline < 0:
                    start, end = max(0, start - 65536), start
                    file.seek(start)
                    newline = file.read(end - start).rfind(b"\n")
                file.truncate(start + newline + 1)
        self._file = path.open("ab")
        self._synced = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, entry: Any) -> None:
        """Write one entry, which must be valid JSON."""
        line = json.dumps(entry, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced >= _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Write what was appended to the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number of each complete line, from 1, and its value; None if it is not JSON."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                value = parse_json(line)
            except ValueError:
                value = None
            yield number, value


def is_temporary(name: str, of: str | None = None) -> bool:
    """Whether this is the name of a lock or temporary file of a file called `of`, or of any."""
    match = _TEMPORARY.fullmatch(name)
    if match is None:
        return name == f".{of}.lock" if of else name.startswith(".") and name.endswith(".lock")
    return of is None or match[1] == of


@dataclass(frozen=True)
class HeldLock:
    """A lock that this process holds."""

    descriptor: int
    guarded: Path  # the file or folder that it protects

    def new_name(self, kind: str) -> Path:
        """A temporary path beside the guarded one, which the next run removes if this one dies."""
        suffix = self.guarded.suffix if kind == HALF else ""
        name = f".{self.guarded.name}.{os.urandom(8).hex()}.{kind}{suffix}"
        with suppress(OSError):  # on a full disk, a killed run leaves what nobody removes
            os.lseek(self.descriptor, 0, os.SEEK_END)
            os.write(self.descriptor, f"\n{name}".encode())
        return self.guarded.with_name(name)

    def remove_leftovers(self, names: Iterable[str]) -> None:
        """Remove what a killed run left; a folder that it was replacing is put back."""
        for name in names:
            if "/" in name or not is_temporary(name, self.guarded.name):
                continue
            path = self.guarded.with_name(name)
            is_folder = path.is_dir() and not path.is_symlink()
            if is_folder and name.endswith(f".{OLD}") and not self.guarded.exists():
                os.rename(path, self.guarded)  # it was killed between two renames
            elif is_folder:
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def folder_lock(folder: Path, shared: bool = False) -> Iterator[HeldLock]:
    """Hold the lock file beside a folder, so that the folder itself can be replaced or removed.

    Every run that creates or replaces a folder holds this lock. Parent folders are created if
    needed. Arguments and errors are as for `lock`.
    """
    path = _lock_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path, Path(os.path.realpath(folder)), shared) as held:
        yield held


def clear_leftovers(folder: Path) -> None:
    """Remove the lock files in a folder that killed runs left, and what they name."""
    for path in folder.iterdir():
        if not (is_temporary(path.name) and path.name.endswith(".lock")) or path.is_symlink():
            continue
        with suppress(OutputError, OSError):  # another run holds it, or the disk is read-only
            if path.is_file() and path.read_bytes().startswith(_HOLDER):
                with lock(path, folder / path.name[1:].removesuffix(".lock")):
                    pass


def clear_folder_lock(folder: Path) -> None:
    """Remove a stale lock file beside a finished folder."""
    if _lock_path(folder).exists():
        # Keep the file if another run holds the lock or the disk is read-only.
        with suppress(OutputError, OSError), folder_lock(folder):
            pass


def _lock_path(folder: Path) -> Path:
    target = Path(os.path.realpath(folder))
    return target.parent / f".{target.name}.lock"


@contextmanager
def lock(path: Path, guarded: Path, shared: bool = False) -> Iterator[HeldLock]:
    """Hold an exclusive lock on a lock file, which is created if needed and removed at the end.

    What a killed run that held it left beside the guarded path is removed first.

    Args:
        path: the lock file.
        guarded: the file or folder the lock protects, for the error message.
        shared: hold a lock that other runs can share; it excludes exclusive locks only.

    Raises:
        OutputError: another run holds the lock; the message names its process. Or the lock file
            is somebody else's file.
        OSError: the lock file cannot be created or opened.
    """
    descriptor = _acquire(path, guarded, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    held = HeldLock(descriptor, guarded)
    try:
        content = os.pread(descriptor, 1 << 20, 0)
        if content and not content.startswith(_HOLDER):
            raise OutputError(
                f"expected {path} to be a lock file of dfdc-prep, found another file; move it, or "
                "give another path"
            )
    except BaseException:
        os.close(descriptor)
        raise
    try:
        if not shared:
            held.remove_leftovers(content.decode(errors="replace").split("\n")[1:])
            os.ftruncate(descriptor, 0)
        with suppress(OSError):  # on a full disk, the lock works without naming its holder
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield held
    finally:
        try:
            _remove(path, descriptor)
        except KeyboardInterrupt:  # finish the removal, then raise the interrupt again
            _remove(path, descriptor)
            raise
        finally:
            os.close(descriptor)


def _remove(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # the disk became read-only: the next run removes the file
        # A shared lock that others still hold cannot become exclusive: the last one removes it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the lock file was deleted meanwhile, `path` may be the lock file of another run.
        if _is_same_file(descriptor, path):
            path.unlink()


def _acquire(path: Path, guarded: Path, kind: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            # Another run may have removed the file after we opened it and before we locked it.
            if _is_same_file(descriptor, path):
                return descriptor
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").partition("\n")[0].strip()
            os.close(descriptor)
            raise OutputError(
                f"expected exclusive access to {guarded}, found {holder or 'another process'} "
                "writing it; wait for it to end or give another path"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
