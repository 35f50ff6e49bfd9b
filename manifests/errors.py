"""Base exception of the project, and the errors about tables and output files.

They are defined here because `manifests` is the lowest package; `dfdc_prep.errors` shows the
complete hierarchy.
"""

import re

#: Out-of-memory messages of TensorFlow, JAX and PyTorch, for RAM and GPU memory.
_OUT_OF_MEMORY = re.compile("OOM when allocating|RESOURCE_EXHAUSTED|Dst tensor|out of memory", re.I)


class DfdcPrepError(Exception):
    """An error the user can fix. Message: "expected X, found Y; do Z", on one line."""


class OutputError(DfdcPrepError):
    """The output cannot be written, or another run is writing it."""


class StorageError(DfdcPrepError):
    """A bucket cannot be reached, or refuses to be read or written."""


class TableError(DfdcPrepError):
    """A manifest, clip log or CSV is missing, empty, or has the wrong columns or values."""


class NotEnoughRows(TableError):
    """A class has fewer rows than the user asked for."""


class TrainingError(DfdcPrepError):
    """Weights are unavailable, no device fits, or shards or a run folder cannot be used."""


def out_of_memory(error: Exception) -> bool:
    """Return whether an error of Python or of a Keras backend means that memory ran out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))
