"""The output folder of an extraction: on a disk, or in a bucket with a copy of its tables here.

In a bucket, the journal is one object per family, `journal/<key>.json`, put after the family's
crops. The run works on a scratch folder, whose journal.jsonl holds the same entries; the tables
are made there and put at the end.
"""

import json
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from dfdc_prep import output_folder
from dfdc_prep.errors import OutputError, StorageError
from dfdc_prep.extraction.crop_writer import CROPS
from dfdc_prep.extraction.journal import Journal, JournalEntry, read_journal
from dfdc_prep.extraction.slices import Slice, slice_journals
from dfdc_prep.extraction.transfer import Transfer
from dfdc_prep.output_folder import RUN_FILE
from manifests.io.locks import lock
from manifests.storage.lease import FOLDER as LEASE
from manifests.storage.lease import Lease, lease
from manifests.storage.mirror import check_name
from manifests.storage.place import Place, open_place
from manifests.storage.urls import Location, Url

JOURNAL = "journal.jsonl"
#: Folder of the journal in a bucket.
_ENTRIES = "journal"
#: Lock held while a slice joins a run, and seconds that another slice waits for it.
_JOIN_LOCK, _JOIN_SECONDS = ".lock-join", 60.0
#: Entries that may be under way to the bucket.
_ENTRIES_AT_ONCE = 16


class Appendable(Protocol):
    """A journal, open for appending."""

    def append(self, entry: JournalEntry) -> None:
        """Write one entry."""
        ...


class Output(Protocol):
    """Where a run writes."""

    @property
    def folder(self) -> Path:
        """The folder on this machine with run.json, the journal and the tables."""
        ...

    @property
    def transfer(self) -> Transfer:
        """Tells the workers where the crops go."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Lines for the report."""
        ...

    def start(self, run: dict[str, Any], overwrite: bool) -> None:
        """Write run.json, or check the earlier one; see `output_folder.start_run`."""
        ...

    def has_content(self, path: str) -> bool:
        """Whether a crop or mask exists and is not empty."""
        ...

    @property
    def slice_journals(self) -> Sequence[str]:
        """File names of the journals of slices, the newest last."""
        ...

    def entries(self) -> Iterator[JournalEntry]:
        """Yield the finished families, those of slices included; the last entry of a key counts."""
        ...

    def merge_slices(self) -> None:
        """Move the entries of slices into the one journal of the run."""
        ...

    def journal(self) -> AbstractContextManager[Appendable]:
        """Open the journal."""
        ...

    def publish(self, tables: Iterable[str]) -> None:
        """Make the tables visible, in this order."""
        ...


@contextmanager
def open_output(out: Location, source: Location, part: Slice | None = None) -> Iterator[Output]:
    """Hold the lock or the lease of an output folder.

    Args:
        part: the slice of this machine; slices write one folder together.

    Raises:
        OutputError: another run writes it, or it cannot be created.
        StorageError: the bucket cannot be reached or written.
    """
    if isinstance(out, Url):
        name = LEASE if part is None else f"{LEASE}/{part.index}-of-{part.count}"
        with lease(open_place(out), out, name) as held, _scratch() as scratch:
            yield BucketOutput(out, scratch, held, part)
        return
    with output_folder.locked(out, shared=part is not None), _scratch_for(source) as scratch:
        if part is None:
            yield LocalOutput(out, Transfer(out, scratch))
            return
        with lock(out / part.lock, out / part.journal):
            yield SliceOutput(out, Transfer(out, scratch), part=part)


def read_earlier_run(out: Location) -> dict[str, Any] | None:
    """Return the content of the run.json of an output folder, None if there is none."""
    if isinstance(out, Path):
        return output_folder.read_run(out)
    with _scratch() as scratch:
        return output_folder.read_run(_fetch_run(open_place(out), scratch))


@dataclass(frozen=True)
class LocalOutput:
    """A folder on a disk."""

    folder: Path
    transfer: Transfer
    notes: Sequence[str] = ()

    def start(self, run: dict[str, Any], overwrite: bool) -> None:
        output_folder.start_run(self.folder, run, overwrite)
        (self.folder / CROPS).mkdir(exist_ok=True)

    def has_content(self, path: str) -> bool:
        try:
            return (self.folder / path).stat().st_size > 0
        except OSError:
            return False

    @property
    def slice_journals(self) -> Sequence[str]:
        return [path.name for path in slice_journals(self.folder)]

    def entries(self) -> Iterator[JournalEntry]:
        for name in (JOURNAL, *self.slice_journals):
            yield from read_journal(self.folder / name)

    def merge_slices(self) -> None:
        # If this is interrupted, some entries are in two journals, which does no harm.
        with self.journal() as journal:
            for name in self.slice_journals:
                for entry in read_journal(self.folder / name):
                    journal.append(entry)
                journal.sync()
                (self.folder / name).unlink()

    def journal(self) -> Journal:
        return Journal(self.folder / JOURNAL)

    def publish(self, tables: Iterable[str]) -> None:
        pass


@dataclass(frozen=True)
class SliceOutput(LocalOutput):
    """A folder on a disk that the machines of several slices share."""

    part: Slice = field(kw_only=True)

    def start(self, run: dict[str, Any], overwrite: bool) -> None:
        _check_overwrite(self.folder, overwrite)
        with _join_lock(self.folder):
            output_folder.join_run(self.folder, run)
            (self.folder / CROPS).mkdir(exist_ok=True)

    def journal(self) -> Journal:
        return Journal(self.folder / self.part.journal)


def _check_overwrite(out: Location, overwrite: bool) -> None:
    """Raise OutputError if a slice is to overwrite an earlier run."""
    if overwrite:
        raise OutputError(
            "expected --slice without --overwrite, which would remove the work of other "
            f"slices; remove {out} first, or choose another folder"
        )


@contextmanager
def _join_lock(folder: Path) -> Iterator[None]:
    """Wait for other slices that join the run at this moment."""
    until = time.monotonic() + _JOIN_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(lock(folder / _JOIN_LOCK, folder))
                break
            except OutputError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield


class BucketOutput:
    """A folder in a bucket, listed once at the start.

    A slice leaves an empty object with the name of its journal, so that `gather` can name it.
    """

    def __init__(self, out: Url, scratch: Path, held: Lease, part: Slice | None = None) -> None:
        self._url = out
        self._place = open_place(out)
        self._lease = held
        self._part = part
        self._listed = {
            name: size
            for name, size in self._place.list().items()
            if not name.startswith(f"{LEASE}/")
        }
        self.folder = scratch / "tables"
        self.transfer = Transfer(out, scratch)
        self.notes: Sequence[str] = () if held.is_exclusive else (_NOT_EXCLUSIVE.format(out=out),)

    def start(self, run: dict[str, Any], overwrite: bool) -> None:
        """Decide in the scratch folder, which has a file for each name in the bucket."""
        self.folder.mkdir()
        is_new = not (_fetch_run(self._place, self.folder) / RUN_FILE).exists()
        tops = {name: name.partition("/")[0] for name in self._listed}
        here = {top: self.folder / (JOURNAL if top == _ENTRIES else top) for top in tops.values()}
        for name, top in tops.items():
            check_name(self._url, name)
            if name != top and top != _ENTRIES:
                here[top].mkdir(exist_ok=True)
            elif top != RUN_FILE:
                here[top].touch()
        try:
            self._start_here(run, overwrite)
        except Exception as error:
            error.args = (str(error).replace(str(self.folder), str(self._url)),)
            raise
        gone = [name for name, top in tops.items() if not here[top].exists()]
        self._place.remove(gone)
        for name in gone:
            del self._listed[name]
        if self._part is None and (is_new or gone):
            self._place.put_file(RUN_FILE, self.folder / RUN_FILE)
        self._fetch_journal()

    def _start_here(self, run: dict[str, Any], overwrite: bool) -> None:
        if self._part is None:
            output_folder.start_run(self.folder, run, overwrite)
            return
        _check_overwrite(self._url, overwrite)
        output_folder.join_run(self.folder, run)
        if not self._place.put_if_absent(RUN_FILE, (self.folder / RUN_FILE).read_bytes()):
            # Another slice was first, perhaps at this moment: check against what it wrote.
            output_folder.join_run(_fetch_run(self._place, self.folder), run)
        self._place.put({self._part.journal: b""})

    def has_content(self, path: str) -> bool:
        return self._listed.get(path, 0) > 0

    @property
    def slice_journals(self) -> Sequence[str]:
        return [path.name for path in slice_journals(self.folder)]

    def entries(self) -> Iterator[JournalEntry]:
        return read_journal(self.folder / JOURNAL)

    def merge_slices(self) -> None:
        self._place.remove(self.slice_journals)

    @contextmanager
    def journal(self) -> "Iterator[Appendable]":
        with (
            Journal(self.folder / JOURNAL) as here,
            _BucketJournal(here, self._place, self._lease) as journal,
        ):
            yield journal

    def publish(self, tables: Iterable[str]) -> None:
        self._lease.check()
        for name in tables:
            self._place.put_file(name, self.folder / name)

    def _fetch_journal(self) -> None:
        entries = sorted(name for name in self._listed if name.startswith(f"{_ENTRIES}/"))
        with (self.folder / JOURNAL).open("wb") as file:
            for start in range(0, len(entries), 1000):
                found = self._place.read_many(entries[start : start + 1000])
                file.writelines(found[name] for name in sorted(found))


@dataclass
class _BucketJournal:
    """Puts each entry, a few at a time, and appends it to the journal in scratch."""

    here: Journal
    place: Place
    lease: Lease
    _puts: deque[Future[None]] = field(default_factory=deque)

    def __enter__(self) -> "_BucketJournal":
        self._threads = ThreadPoolExecutor(_ENTRIES_AT_ONCE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True)
        if error is None:
            self._finish(0)

    def append(self, entry: JournalEntry) -> None:
        self.lease.check()
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        self._puts.append(
            self._threads.submit(self.place.put, {f"{_ENTRIES}/{entry['key']}.json": line})
        )
        self.here.append(entry)
        self._finish(_ENTRIES_AT_ONCE)

    def _finish(self, left: int) -> None:
        """Wait until at most `left` entries are under way; raise what failed."""
        while len(self._puts) > left:
            self._puts.popleft().result()


_NOT_EXCLUSIVE = (
    "the store of {out} does not refuse a second writer: make sure that one run at a time writes it"
)


def _fetch_run(place: Place, folder: Path) -> Path:
    with suppress(FileNotFoundError):
        place.fetch(RUN_FILE, folder / RUN_FILE)
    return folder


def _scratch_for(source: Location) -> AbstractContextManager[Path | None]:
    return _scratch() if isinstance(source, Url) else nullcontext()


@contextmanager
def _scratch() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="dfdc-prep-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        if error.filename and str(error.filename).startswith(tempfile.gettempdir()):
            raise StorageError(
                f"expected room for the clips under way in {tempfile.gettempdir()}, found "
                f"{error.strerror}; free some, or name another folder in TMPDIR"
            ) from error
        raise
