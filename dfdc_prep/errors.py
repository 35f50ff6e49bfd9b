"""Every exception this project raises on purpose.

    DfdcPrepError                 whatever a user can mend (manifests.errors)
    ├── TableError                a manifest, clip log or CSV is wrong (manifests.errors)
    │   └── NotEnoughRows         a class has fewer rows than asked for
    ├── SourceError               no DFDC tree, a broken metadata.json, a hostile name
    │   └── SourceUnreachable     a clip cannot be read, through no fault of its bytes
    ├── OutputError               the output cannot be written, or is in use (manifests.errors)
    │   └── OptionsDiffer         the output was begun with other options
    ├── ModelError                a detector's weights are missing, unreachable or altered
    ├── WorkersError              worker processes cannot be started, or do not live
    ├── ClipError                 one clip cannot be read; becomes its row in the clip log
    ├── ShardError                a shards folder is incomplete, altered or cannot be written
    └── TrainingError             weights, devices, runs (training.errors)

The command line prints the text of any of them as one sentence and exits with 1.
"""

from manifests.errors import DfdcPrepError, NotEnoughRows, OutputError, TableError

__all__ = [
    "ClipError",
    "DfdcPrepError",
    "ModelError",
    "NotEnoughRows",
    "OptionsDiffer",
    "OutputError",
    "ShardError",
    "SourceError",
    "SourceUnreachable",
    "TableError",
    "WorkersError",
]


class SourceError(DfdcPrepError):
    """The source is no DFDC tree, its metadata.json cannot be used, or names a hostile path."""


class SourceUnreachable(SourceError):
    """The system does not let a clip be read: its disk is gone, stale, failing or forbidden."""


class OptionsDiffer(OutputError):
    """The output folder was begun with other options than the ones given now."""


class ModelError(DfdcPrepError):
    """The weights of a detector are missing, cannot be fetched, or have the wrong hash."""


class WorkersError(DfdcPrepError):
    """Worker processes cannot be started, or die before they begin a clip."""


class ClipError(DfdcPrepError):
    """One clip cannot be read.

    `status` is the word that goes to the clip log: unreadable, truncated or timeout.
    """

    def __init__(self, message: str, status: str = "unreadable") -> None:
        super().__init__(message)
        self.status = status


class ShardError(DfdcPrepError):
    """A shards folder is incomplete or altered, or cannot be written whole."""
