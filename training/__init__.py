"""Training, evaluation and prediction of the classifier, with Keras 3."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

# Hide TensorFlow's log messages below warnings; read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# ONNX Runtime reports its use to its makers unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: A program that passes on all lines but those that TensorFlow's libraries write when they are
#: loaded, whatever their level is set to.
_FILTER = r"""
import re, sys
note = re.compile(rb"WARNING: All log messages before absl::|I\d{4} ")
for line in sys.stdin.buffer:
    if not note.match(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


@contextmanager
def without_startup_notes() -> Iterator[None]:
    """Import TensorFlow in this block: the notes of its libraries do not reach stderr.

    They are written below Python, so a process reads stderr and passes on all the rest, even if the
    import ends this process.
    """
    if sys.stderr is None or "tensorflow" in sys.modules:  # closed; or nothing is loaded
        yield
        return
    sys.stderr.flush()
    command = [sys.executable, "-I", "-S", "-c", _FILTER]
    # In a session of its own, an interrupt does not end it before this process.
    process = Popen(command, stdin=PIPE, stdout=2, start_new_session=True)
    stderr = os.dup(2)
    with process.stdin:  # type: ignore[union-attr]
        os.dup2(process.stdin.fileno(), 2)  # type: ignore[union-attr]
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        process.wait()
