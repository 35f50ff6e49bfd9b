"""Where a run writes: a folder on a disk or in a bucket, whole or for a slice.

The journal is the only state of a run: a restarted run reads it and continues, and the final tables
are made from it alone. In a bucket it is one object per family, `journal/<key>.json`, put after the
family's crops. There the run works on a scratch folder, whose journal.jsonl holds the same entries;
the tables are made there and put at the end.
"""

import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from dfdc_prep.errors import OptionsDiffer, OutputError, StorageError
from dfdc_prep.extraction.crops_out import CROPS
from dfdc_prep.extraction.journal import JournalEntry, read_journal
from dfdc_prep.extraction.slices import Slice, slice_journals
from dfdc_prep.extraction.worker import Transfer
from dfdc_prep.storage.place import LEASE, Lease, Place, lease
from dfdc_prep.storage.urls import Location, Url
from dfdc_prep.storage.workspace import check_name
from manifests.files import Journal, lock, write_json
from manifests.folders import FacesFolder, check_unused

#: File name of the journal on a disk, its folder in a bucket, and entries read there at a time.
JOURNAL, _ENTRIES, _BATCH = FacesFolder.JOURNAL, "journal", 1000
_RUN = FacesFolder.RUN
#: Entries that may be under way to the bucket.
_ENTRIES_AT_ONCE = 16
#: Lock held while a slice joins a run, and seconds that another slice waits for it.
_JOIN_LOCK, _JOIN_SECONDS = ".lock-join", 60.0
#: Writes an entry into a journal.
Append = Callable[[JournalEntry], None]


class Output:
    """A folder on a disk, in which a run or one of its slices writes."""

    notes: Sequence[str] = ()  # lines for the report

    def __init__(self, folder: Path, transfer: Transfer, own_slice: Slice | None) -> None:
        self.folder = folder  # on this machine, with run.json, the journal and the tables
        self.transfer = transfer  # tells the workers where the crops go
        self._slice = own_slice

    def start(self, run: dict[str, Any], overwrite: bool) -> None:
        """Write run.json, or check the earlier one; see `start_run`."""
        if self._slice is None:
            start_run(self.folder, run, overwrite)
        else:
            with _join_lock(self.folder):
                join_run(self.folder, run)
        (self.folder / CROPS).mkdir(exist_ok=True)

    def check(self, run: dict[str, Any], overwrite: bool) -> None:
        """Raise what `start` would; write nothing."""
        if self._slice is None:
            check_run(self.folder, run, overwrite)
        else:
            check_slice(self.folder, run)

    def has_content(self, path: str) -> bool:
        """Whether a crop or mask exists and is not empty."""
        try:
            return (self.folder / path).stat().st_size > 0
        except OSError:
            return False

    @property
    def slice_journals(self) -> list[str]:
        """File names of the journals of slices, the newest last."""
        return [path.name for path in slice_journals(self.folder)]

    def entries(self) -> Iterator[JournalEntry]:
        """Yield the finished families, those of slices included; the last entry of a key counts."""
        for name in (JOURNAL, *self.slice_journals):
            yield from read_journal(self.folder / name)

    def merge_slices(self) -> None:
        """Move the entries of slices into the one journal of the run."""
        # If this is interrupted, some entries are in two journals, which does no harm.
        with Journal(self.folder / JOURNAL) as journal:
            for name in self.slice_journals:
                for entry in read_journal(self.folder / name):
                    journal.append(entry)
                journal.sync()
                (self.folder / name).unlink()

    @contextmanager
    def journal(self) -> Iterator[Append]:
        """Open the journal; yield the function that writes an entry."""
        with Journal(self.folder / (self._slice.journal if self._slice else JOURNAL)) as journal:
            yield journal.append

    def publish(self, tables: Iterable[str]) -> None:
        """Make the tables visible, in this order."""


class BucketOutput(Output):
    """A folder in a bucket, listed once at the start.

    A slice leaves an empty object with the name of its journal, so that `gather` can name it.
    """

    def __init__(self, out: Url, scratch: Path, held: Lease, own_slice: Slice | None) -> None:
        super().__init__(scratch / "tables", Transfer(out, scratch), own_slice)
        self._url, self._place, self._lease = out, Place(out), held
        self._listed = self._place.list()
        if not held.is_exclusive:
            self.notes = (
                f"the store of {out} does not refuse a second writer: make sure that one run at a "
                "time writes it",
            )

    def start(self, run: dict[str, Any], overwrite: bool) -> None:
        """Decide in the scratch folder, which has a file for each name in the bucket."""
        tops = self._lay_out()
        is_new = not (self.folder / _RUN).exists()
        with self._naming_the_bucket():
            self._start_here(run, overwrite)
        gone = [name for name, top in tops.items() if not _here(self.folder, top).exists()]
        self._place.remove(gone)
        for name in gone:
            del self._listed[name]
        if self._slice is None and (is_new or gone):
            self._place.put_file(_RUN, self.folder / _RUN)
        self._fetch_entries()

    def check(self, run: dict[str, Any], overwrite: bool) -> None:
        self._lay_out()
        with self._naming_the_bucket():
            super().check(run, overwrite)
        self._fetch_entries()

    def _lay_out(self) -> dict[str, str]:
        """Make the scratch folder; return the first part of each name in the bucket."""
        self.folder.mkdir()
        _fetch_run(self._place, self.folder)
        tops = {name: name.partition("/")[0] for name in self._listed}
        for name, top in tops.items():
            check_name(self._url, name)
            if name != top and top != _ENTRIES:
                _here(self.folder, top).mkdir(exist_ok=True)
            elif top != _RUN:
                _here(self.folder, top).touch()
        return tops

    @contextmanager
    def _naming_the_bucket(self) -> Iterator[None]:
        """Name the bucket in errors about the scratch folder."""
        try:
            yield
        except Exception as error:
            error.args = (str(error).replace(str(self.folder), str(self._url)),)
            raise

    def _fetch_entries(self) -> None:
        """Write the entries that are in the bucket into the journal of the scratch folder."""
        entries = sorted(name for name in self._listed if name.startswith(f"{_ENTRIES}/"))
        with (self.folder / JOURNAL).open("wb") as file:
            for start in range(0, len(entries), _BATCH):
                found = self._place.read_many(entries[start : start + _BATCH])
                file.writelines(found[name] for name in sorted(found))

    def _start_here(self, run: dict[str, Any], overwrite: bool) -> None:
        if self._slice is None:
            start_run(self.folder, run, overwrite)
            return
        join_run(self.folder, run)
        if not self._place.put_if_absent(_RUN, (self.folder / _RUN).read_bytes()):
            # Another slice was first, perhaps at this moment: check against what it wrote.
            join_run(_fetch_run(self._place, self.folder), run)
        self._place.put({self._slice.journal: b""})

    def has_content(self, path: str) -> bool:
        return self._listed.get(path, 0) > 0

    def merge_slices(self) -> None:
        self._place.remove(self.slice_journals)

    @contextmanager
    def journal(self) -> Iterator[Append]:
        """Put each entry, a few at a time, and append it to the journal in scratch."""
        puts: deque[Future[None]] = deque()

        def append(entry: JournalEntry) -> None:
            self._lease.check()
            line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
            puts.append(threads.submit(self._place.put, {f"{_ENTRIES}/{entry['key']}.json": line}))
            here.append(entry)
            while len(puts) > _ENTRIES_AT_ONCE:
                puts.popleft().result()  # raises what failed

        with Journal(self.folder / JOURNAL) as here:
            with ThreadPoolExecutor(_ENTRIES_AT_ONCE) as threads:
                yield append
            while puts:
                puts.popleft().result()

    def publish(self, tables: Iterable[str]) -> None:
        self._lease.check()
        for name in tables:
            self._place.put_file(name, self.folder / name)


def _here(folder: Path, top: str) -> Path:
    """The place in scratch of what is in the bucket below a name."""
    return folder / (JOURNAL if top == _ENTRIES else top)


@contextmanager
def open_output(
    out: Location, source: Location, own_slice: Slice | None = None, dry: bool = False
) -> Iterator[Output]:
    """Hold the lock or the lease of an output folder.

    Args:
        own_slice: that of this machine; slices write one folder together.
        dry: only look at what is there: no lock, and no folder is made.

    Raises:
        OutputError: another run writes it, or it cannot be created.
        StorageError: the bucket cannot be reached or written.
    """
    if isinstance(out, Url):
        name = f"{LEASE}/{own_slice.index}-of-{own_slice.count}" if own_slice else LEASE
        holding = nullcontext(Lease(is_exclusive=True)) if dry else lease(Place(out), name)
        with holding as held, scratch_folder() as bucket_scratch:
            yield BucketOutput(out, bucket_scratch, held, own_slice)
        return
    if dry:
        yield Output(out, Transfer(out), own_slice)
        return
    with ExitStack() as stack:
        stack.enter_context(FacesFolder.locked(out, shared=own_slice is not None))
        from_bucket = isinstance(source, Url)
        scratch = stack.enter_context(scratch_folder()) if from_bucket else None
        if own_slice:
            stack.enter_context(lock(out / own_slice.lock, out / own_slice.journal))
        yield Output(out, Transfer(out, scratch), own_slice)


def read_earlier_run(out: Location) -> dict[str, Any] | None:
    """Return the content of an output folder's run.json; None if the file does not exist."""
    if isinstance(out, Path):
        return FacesFolder.read_run(out)
    with scratch_folder() as scratch:
        return FacesFolder.read_run(_fetch_run(Place(out), scratch))


def check_run(folder: Path, run: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """Check the options of an existing run.json, which is returned, against those of this run.

    Args:
        overwrite: the files of an earlier run will be removed first.

    Raises:
        OptionsDiffer: the earlier run used another option.
        OutputError: there is no run.json and the folder is not empty, or run.json is invalid.
    """
    if not (folder / _RUN).exists():
        allowed = FacesFolder.owns if overwrite else FacesFolder.is_leftover
        check_unused(folder, allowed, "an earlier run")
    earlier = None if overwrite else FacesFolder.read_run(folder)
    if earlier is None:
        return None
    for name, value in {**dict.fromkeys(earlier["options"]), **run["options"]}.items():
        found = earlier["options"].get(name)
        if found != value:
            raise OptionsDiffer(
                f"expected {name} {value} in {folder}, found {name} {found} of an earlier run; "
                f"give the same option, choose another folder, or use --overwrite"
            )
    return earlier


def start_run(folder: Path, run: dict[str, Any], overwrite: bool) -> None:
    """Write run.json, or check that of an earlier run; see `check_run`.

    Args:
        overwrite: remove the files of an earlier run first.
    """
    earlier = check_run(folder, run, overwrite)
    FacesFolder.remove_leftovers(folder)
    if overwrite:
        FacesFolder.clear(folder)
    if earlier is None:
        write_json(folder / _RUN, run)
    else:
        _add_confinement(folder, earlier, run)


def check_slice(folder: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """Check the run.json of other slices, which is returned, against that of this slice.

    The slices must also agree in the limit, and in the versions of the packages, which may
    change the crops.

    Raises:
        OptionsDiffer: the other slices used another option or version.
        OutputError: as for `check_run`.
    """
    earlier = FacesFolder.read_run(folder)
    if earlier is None:
        check_unused(folder, FacesFolder.is_leftover, "an earlier run")
        return None
    ours, theirs = (
        {**each["options"], **each.get("versions", {}), "limit": each.get("limit")}
        for each in (run, earlier)
    )
    for name in sorted(ours.keys() | theirs):
        if ours.get(name) != theirs.get(name):
            our, their = (
                f"no {name}" if values.get(name) is None else f"{name} {values[name]}"
                for values in (ours, theirs)
            )
            raise OptionsDiffer(
                f"expected {their} as in the other slices in {folder}, found {our}; use the same "
                "in every slice, or choose another folder"
            )
    return earlier


def join_run(folder: Path, run: dict[str, Any]) -> None:
    """Write run.json for the first slice of a run, or check it; see `check_slice`.

    The caller holds the lock for joining.
    """
    earlier = check_slice(folder, run)
    if earlier is None:
        write_json(folder / _RUN, run)
    else:
        _add_confinement(folder, earlier, run)


def _add_confinement(folder: Path, earlier: dict[str, Any], run: dict[str, Any]) -> None:
    """Record how the workers of this run are confined, if earlier ones were otherwise."""
    known = earlier.get("confinement")
    known = [each for each in known if isinstance(each, str)] if isinstance(known, list) else []
    if new := set(run.get("confinement", ())) - set(known):
        write_json(folder / _RUN, {**earlier, "confinement": sorted({*known, *new})})


def _fetch_run(place: Place, folder: Path) -> Path:
    """Fetch the run.json of a place into a folder, if the place has one; return the folder."""
    with suppress(FileNotFoundError):
        place.fetch(_RUN, folder / _RUN)
    return folder


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


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder for clips and crops under way; StorageError without room for it."""
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
