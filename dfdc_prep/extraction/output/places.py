"""Opens the output folder of an extraction: on a disk or in a bucket, whole or for a slice."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from dfdc_prep import output_folder
from dfdc_prep.extraction.output.base import Output, scratch_folder
from dfdc_prep.extraction.output.bucket import BucketOutput, fetch_run
from dfdc_prep.extraction.output.local import LocalOutput, SliceOutput
from dfdc_prep.extraction.slices import Slice
from dfdc_prep.extraction.transfer import Transfer
from dfdc_prep.storage.lease import FOLDER as LEASE
from dfdc_prep.storage.lease import lease
from dfdc_prep.storage.place import open_place
from dfdc_prep.storage.urls import Location, Url
from manifests.locks import lock


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
        with lease(open_place(out), out, name) as held, scratch_folder() as scratch:
            yield BucketOutput(out, scratch, held, part)
        return
    with output_folder.locked(out, shared=part is not None), _scratch_for(source) as scratch:
        if part is None:
            yield LocalOutput(out, Transfer(out, scratch))
            return
        with lock(out / part.lock, out / part.journal):
            yield SliceOutput(out, Transfer(out, scratch), part=part)


def read_earlier_run(out: Location) -> dict[str, Any] | None:
    """Return the content of an output folder's run.json; None if the file does not exist."""
    if isinstance(out, Path):
        return output_folder.read_run(out)
    with scratch_folder() as scratch:
        return output_folder.read_run(fetch_run(open_place(out), scratch))


def _scratch_for(source: Location) -> AbstractContextManager[Path | None]:
    return scratch_folder() if isinstance(source, Url) else nullcontext()
