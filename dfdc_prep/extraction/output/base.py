"""What a run needs of its output folder, wherever that lies."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from dfdc_prep.errors import OutputError, StorageError
from dfdc_prep.extraction.journal import JournalEntry
from dfdc_prep.extraction.transfer import Transfer
from dfdc_prep.storage.urls import Location
from manifests.folders import FacesFolder

#: File name of the journal.
JOURNAL = FacesFolder.JOURNAL


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


def check_overwrite(out: Location, overwrite: bool) -> None:
    """Raise OutputError if a slice is to overwrite an earlier run."""
    if overwrite:
        raise OutputError(
            "expected --slice without --overwrite, which would remove the work of other "
            f"slices; remove {out} first, or choose another folder"
        )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder for clips and crops under way.

    Raises:
        StorageError: there is no room for it.
    """
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
