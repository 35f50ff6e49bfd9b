"""The root of the project's exceptions, and the branches that speak of tables and output.

It lies here because `manifests` is the lowest room; the whole tree is drawn in
`dfdc_prep.errors`.
"""

import re

#: How TensorFlow, JAX and PyTorch say that memory, the GPU's too, does not last.
_NO_MEMORY = re.compile("OOM when allocating|RESOURCE_EXHAUSTED|Dst tensor|out of memory", re.I)


class DfdcPrepError(Exception):
    """Whatever a user can mend. Its text is one sentence: expected, found, what to do next."""


class OutputError(DfdcPrepError):
    """The output cannot be written, or another run is writing it."""


class TableError(DfdcPrepError):
    """A manifest, clip log or CSV is missing, empty, or has the wrong columns or values."""


class NotEnoughRows(TableError):
    """A class has fewer rows than were asked for by name."""


def out_of_memory(error: Exception) -> bool:
    """Whether an error, of Python or of a backend of Keras, says that memory does not last."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))
