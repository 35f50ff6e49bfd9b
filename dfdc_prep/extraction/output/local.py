"""The output folder of an extraction on a disk, for one machine or several slices."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfdc_prep import output_folder
from dfdc_prep.errors import OutputError
from dfdc_prep.extraction.crops_out import CROPS
from dfdc_prep.extraction.journal import Journal, JournalEntry, read_journal
from dfdc_prep.extraction.output.base import JOURNAL, check_overwrite
from dfdc_prep.extraction.slices import Slice, slice_journals
from dfdc_prep.extraction.transfer import Transfer
from manifests.locks import lock

#: Lock held while a slice joins a run, and seconds that another slice waits for it.
_JOIN_LOCK, _JOIN_SECONDS = ".lock-join", 60.0


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
        check_overwrite(self.folder, overwrite)
        with _join_lock(self.folder):
            output_folder.join_run(self.folder, run)
            (self.folder / CROPS).mkdir(exist_ok=True)

    def journal(self) -> Journal:
        return Journal(self.folder / self.part.journal)


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
