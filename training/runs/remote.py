"""Run folders in a bucket: fetched at the start, put back as the training goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dfdc_prep.storage.lease import lease
from dfdc_prep.storage.mirror import mirrored
from dfdc_prep.storage.urls import Location
from manifests.errors import DfdcPrepError
from manifests.folders import RunFolder

#: What scoring needs of a run.
MODEL_FILES = RunFolder.MODEL_FILES


@dataclass(frozen=True)
class RunPlace:
    """A run folder on this machine.

    Attributes:
        location: the run folder that was given.
        folder: the folder itself, or a copy of one in a bucket.
        publish: puts what has changed into the bucket; does nothing for a folder.
    """

    location: Location
    folder: Path
    publish: Callable[[], None]

    def shown(self, path: Path) -> Location:
        """Return where a path in `folder` lies: in the bucket, if the run does."""
        if isinstance(self.location, Path) or not path.is_relative_to(self.folder):
            return path
        below = path.relative_to(self.folder).as_posix()
        return self.location if below == "." else self.location / below


@contextmanager
def open_run(
    location: Location, *, names: tuple[str, ...] | None = None, writes: bool = False
) -> Iterator[RunPlace]:
    """Yield a run folder.

    Args:
        names: the files to fetch of a run in a bucket; None for all.
        writes: be the only one to write there, and publish at the end, also after an error.

    Raises:
        OutputError: another training writes there.
        StorageError: the bucket cannot be reached or written.
    """
    if isinstance(location, Path):
        yield RunPlace(location, location, lambda: None)
        return
    with mirrored(location) as mirror:
        publish = mirror.push if writes else lambda: None
        try:
            if not writes:
                mirror.pull(mirror.names() if names is None else names)
                yield RunPlace(location, mirror.folder, publish)
                return
            with lease(mirror.place) as held:
                mirror.pull(mirror.names() if names is None else names)

                def checked_publish() -> None:
                    held.check()
                    mirror.push()

                try:
                    yield RunPlace(location, mirror.folder, checked_publish)
                except BaseException as error:
                    try:
                        checked_publish()
                    except DfdcPrepError as second:
                        error.add_note(str(second))
                    raise
                checked_publish()
        except DfdcPrepError as error:
            error.args = (str(error).replace(str(mirror.folder), str(location)),)
            raise
