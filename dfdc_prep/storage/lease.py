"""One writer at a time in a bucket: a lease, since there is no lock that ends with its process.

The lease is an object `.lease/<n>.json`, created only if it does not exist, and written again
while the run lasts. A lease that is no longer renewed, or whose process is gone from this
machine, is taken over by creating the next number: of two runs that try, one succeeds. The
holder of a lower number stops when it sees the higher one. Two writers of an extraction would do no
harm to the data, because both write the same bytes to the same names.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from dfdc_prep.storage.place import LEASE, Place
from manifests.errors import OutputError, StorageError

#: Seconds between two renewals, and until a lease that is not renewed can be taken over. The
#: clocks of the machines must agree better than that.
_RENEWED_EVERY, _LASTS = 20.0, 120.0
#: Tokens of the leases that this process holds.
_held: set[str] = set()


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
        _check_others(place, name)
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
        holder = Holder(
            uuid.uuid4().hex, os.getpid(), socket.gethostname(), _machine(), time.time()
        )
        if place.put_if_absent(_object(name, number + 1), holder.text()):
            _held.add(holder.token)
            return number + 1, holder


def _check_others(place: Place, name: str) -> None:
    """Raise OutputError if the whole place is leased beside a slice, or a slice beside it."""
    folders = {path.rpartition("/")[0] for path in place.list(LEASE)}
    others = {LEASE} & folders if name != LEASE else folders - {LEASE}
    for other in sorted(others):
        with suppress(FileNotFoundError):  # it has just ended
            _check_gone(place, _object(other, _newest(place, other)))


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
    """The highest number of a lease, 0 if there is none."""
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
