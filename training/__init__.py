"""Training, evaluation and prediction of the classifier, with Keras 3."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

# Hide TensorFlow's log messages below warnings; read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# ONNX Runtime reports its use to its makers unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: Lines that TensorFlow's libraries write when they are loaded, whatever their level is set to.
_STARTUP_NOTE = re.compile(rb"WARNING: All log messages before absl::|I\d{4} ")


@contextmanager
def without_startup_notes() -> Iterator[None]:
    """Import TensorFlow in this block: the notes of its libraries do not reach stderr.

    They are written below Python, so stderr itself is caught. Warnings and errors, and whatever
    else is written meanwhile, appear when the block ends.
    """
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # closed
        yield
        return
    with TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if not _STARTUP_NOTE.match(line)))
