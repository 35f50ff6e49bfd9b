"""The exception hierarchy of the project.

    DfdcPrepError                 any error that the user can fix (manifests.errors)
    ├── TableError                a manifest, clip log or CSV is invalid (manifests.errors)
    │   └── NotEnoughRows         a class has fewer rows than requested
    ├── SourceError               no known data set, an invalid list of its clips, an unsafe name
    │   └── SourceUnreachable     a clip cannot be read because of an I/O error
    ├── OutputError               the output cannot be written or is in use (manifests.errors)
    │   └── OptionsDiffer         the output was started with other options
    ├── StorageError              a bucket cannot be reached (manifests.errors)
    ├── ModelError                a detector's weights are missing, unavailable or altered
    ├── WorkersError              worker processes cannot be started or keep dying
    ├── ClipError                 one clip cannot be decoded; recorded in the clip log
    ├── ShardError                a shards folder is incomplete, altered or cannot be written
    ├── RecipeError               a recipe is damaged or hostile, or cannot be made
    └── TrainingError             invalid weights, devices or runs (manifests.errors)

The command line prints the message of these errors on one line and exits with status 1.
"""

from manifests.errors import DfdcPrepError, NotEnoughRows, OutputError, StorageError, TableError

__all__ = [
    "ClipError",
    "DfdcPrepError",
    "ModelError",
    "NotEnoughRows",
    "OptionsDiffer",
    "OutputError",
    "RecipeError",
    "ShardError",
    "SourceError",
    "SourceUnreachable",
    "StorageError",
    "TableError",
    "WorkersError",
]


class SourceError(DfdcPrepError):
    """The source is no known data set, or a list of its clips is invalid or has an unsafe name."""


class SourceUnreachable(SourceError):
    """A clip cannot be read: it is missing, its disk fails, or permission is denied."""


class OptionsDiffer(OutputError):
    """The output folder was started with options other than the ones given now."""


class ModelError(DfdcPrepError):
    """A detector's weights or packages are missing, cannot be downloaded, or are invalid."""


class WorkersError(DfdcPrepError):
    """Worker processes cannot be started, or die before they start a clip."""


class ClipError(DfdcPrepError):
    """A clip cannot be decoded.

    Attributes:
        status: the clip's status in the clip log: unreadable, truncated or timeout.
    """

    def __init__(self, message: str, status: str = "unreadable") -> None:
        super().__init__(message)
        self.status = status


class ShardError(DfdcPrepError):
    """A shards folder is incomplete, altered, or cannot be written completely."""


class RecipeError(DfdcPrepError):
    """A recipe of a data set is altered or has values that none has, or cannot be made."""
