"""The output folder of an extraction in a bucket, with a copy of its tables on this machine.

The journal is one object per family, `journal/<key>.json`, put after the family's crops. The run
works on a scratch folder, whose journal.jsonl holds the same entries; the tables are made there
and put at the end.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from dfdc_prep import output_folder
from dfdc_prep.extraction.journal import Journal, JournalEntry, read_journal
from dfdc_prep.extraction.output.base import JOURNAL, Appendable, check_overwrite
from dfdc_prep.extraction.slices import Slice, slice_journals
from dfdc_prep.extraction.transfer import Transfer
from dfdc_prep.storage.lease import FOLDER as LEASE
from dfdc_prep.storage.lease import Lease
from dfdc_prep.storage.mirror import check_name
from dfdc_prep.storage.place import Place, open_place
from dfdc_prep.storage.urls import Url
from manifests.folders import FacesFolder

#: Folder of the journal.
_ENTRIES = "journal"
#: Entries that may be under way to the bucket.
_ENTRIES_AT_ONCE = 16
_NOT_EXCLUSIVE = (
    "the store of {out} does not refuse a second writer: make sure that one run at a time writes it"
)


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
        is_new = not (fetch_run(self._place, self.folder) / FacesFolder.RUN).exists()
        tops = {name: name.partition("/")[0] for name in self._listed}
        here = {top: self.folder / (JOURNAL if top == _ENTRIES else top) for top in tops.values()}
        for name, top in tops.items():
            check_name(self._url, name)
            if name != top and top != _ENTRIES:
                here[top].mkdir(exist_ok=True)
            elif top != FacesFolder.RUN:
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
            self._place.put_file(FacesFolder.RUN, self.folder / FacesFolder.RUN)
        self._fetch_journal()

    def _start_here(self, run: dict[str, Any], overwrite: bool) -> None:
        if self._part is None:
            output_folder.start_run(self.folder, run, overwrite)
            return
        check_overwrite(self._url, overwrite)
        output_folder.join_run(self.folder, run)
        if not self._place.put_if_absent(
            FacesFolder.RUN, (self.folder / FacesFolder.RUN).read_bytes()
        ):
            # Another slice was first, perhaps at this moment: check against what it wrote.
            output_folder.join_run(fetch_run(self._place, self.folder), run)
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


def fetch_run(place: Place, folder: Path) -> Path:
    """Fetch the run.json of a place into a folder, if the place has one; return the folder."""
    with suppress(FileNotFoundError):
        place.fetch(FacesFolder.RUN, folder / FacesFolder.RUN)
    return folder
