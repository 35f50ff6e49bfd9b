"""Runs a command of the project as a user does, and checks how it ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which a command counts as hanging; the machine may be busy.
PATIENCE = 240.0
#: Exit codes that are allowed unless the command was killed.
ENDS = (0, 1, 2, 3)
MAIN = ("-m", "cli")


@dataclass(frozen=True)
class Done:
    """How a command ended; `code` is None if it hung and was killed."""

    code: int | None
    out: str
    err: str

    def fault(self, allowed: Sequence[int] = ENDS) -> tuple[str, str] | None:
        """The kind of loss and its description, None if the command ended as it should."""
        if self.code is None:
            return "hang", f"still running after {PATIENCE:g} s, in {_innermost(self.err)}"
        if "Traceback" in self.err or "Traceback" in self.out:
            return "traceback", tail(self.err or self.out)
        if self.code not in allowed:
            return "lost", f"exit code {self.code}: {tail(self.err)}"
        return None


def _innermost(stacks: str) -> str:
    """The position of the main thread, which faulthandler writes last, on one line."""
    lines = stacks.rpartition("hread 0x")[2].splitlines()[1:]
    places = [line.strip() for line in lines if "<frozen " not in line]
    return ascii(" < ".join(places[:3])) if places else "no Python code"


def tail(text: str) -> str:
    """The last line that is not empty."""
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return ascii(lines[-1][-300:]) if lines else "no word"


@contextmanager
def started(
    words: Sequence[str], cwd: Path, before: Callable[[], None] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in its own session; kill it and all its children at the end."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONWARNINGS": "ignore",
        "PYTHONFAULTHANDLER": "1",  # a command that hangs says where when it is aborted
    }

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
        if before:
            before()

    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=begin,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> Done:
    """Wait for a command, with a timeout."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            return Done(None, *process.communicate(timeout=PATIENCE / 10))
        return Done(None, "", "")
    return Done(process.returncode, out, err)


def run(words: Sequence[str], cwd: Path, before: Callable[[], None] | None = None) -> Done:
    """Run a command to its end."""
    with started(words, cwd, before) as process:
        return ended(process)
