"""How every command line of this project ends: one sentence and an exit code, no traceback.

Exit codes: 0 done, 1 an error, 2 usage (click's own), 3 done but something failed or
leaks, 130 interrupted.
"""

import io
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any, NoReturn

import click

from manifests.errors import DfdcPrepError, out_of_memory

DONE_WITH_FAILURES = 3
INTERRUPTED = 130
_GO_ON = "interrupted: run the same command again to go on"
#: Characters of a message; names and values in files can be of any length.
LONGEST = 1000
#: Bytes a process must be allowed to have for the libraries to load.
LEAST_MEMORY = 1 << 30
#: The same where TensorFlow is: without it, it aborts. A toy model of it took 2.4 GB, which
#: counts the stacks of 42 threads.
LEAST_FOR_TRAINING = 4 << 30
#: Files a process must be allowed to hold open for workers to be begun.
LEAST_FILES = 32


def _line(text: str) -> str:
    """A message on one line of sober length, whatever names it repeats."""
    text = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST // 2]} … {shown[-LONGEST // 2 :]}"


#: Set while a command is at work, and once an interrupt came.
_at_work, _interrupted = Event(), Event()
#: Seconds until an interrupt that was lost comes again.
_AGAIN = 0.05


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    if not _at_work.is_set():  # all is done, and the process about to end
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)
        return
    _interrupted.set()
    raise KeyboardInterrupt


@contextmanager
def _never_lost() -> Iterator[None]:
    """Raise an interrupt again that fell into a callback, where Python can only ignore it."""

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, hook
    signal.signal(signal.SIGALRM, _interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = before


@contextmanager
def one_sentence(least_memory: int = LEAST_MEMORY) -> Iterator[None]:
    """Turn the errors a user can mend, and an interrupt, into one line on stderr and an exit.

    Args:
        least_memory: bytes the process must be allowed to have.
    """
    _interrupted.clear()
    _at_work.set()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored
        signal.signal(signal.SIGINT, _interrupt)
    # Names come from files: one that no terminal can show must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _never_lost():
            _check_limits(least_memory)
            yield
    except KeyboardInterrupt:
        _end(_GO_ON, INTERRUPTED)
    except Exception as error:
        if _interrupted.is_set():  # a library may come out with an error of its own
            _end(_GO_ON, INTERRUPTED)
        if sentence := _sentence(error):
            _end(f"error: {sentence}", 1)
        raise
    finally:
        _at_work.clear()


def _sentence(error: Exception) -> str | None:
    """What to say of an error, None where it is a fault of this project."""
    if isinstance(error, DfdcPrepError):
        return str(error)
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"the system refused{where}: {error.strerror or error}"
    if out_of_memory(error):
        return (
            "expected more memory than this process or its GPU has to give; free some, or give "
            "less (where there is one, a smaller --batch-size), then run the same command again"
        )
    return None


def _check_limits(least_memory: int) -> None:
    """Refuse limits under which libraries end in words of their own, or do not end.

    OpenBLAS asks without end for memory that it may not have (seen at 330 to 554 MB); workers
    do not begin with 18 files.
    """
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and limit < least_memory:
            raise DfdcPrepError(
                f"expected at least {least_memory >> 20} MB of memory for this process, found a "
                f"limit of {limit >> 20} MB; raise it with ulimit -d and ulimit -v"
            )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < LEAST_FILES:
        raise DfdcPrepError(
            f"expected at least {LEAST_FILES} open files for this process, found a limit of "
            f"{files}; raise it with ulimit -n"
        )


def _end(text: str, code: int) -> NoReturn:
    click.echo(_line(text), err=True)
    sys.exit(code)


class Command(click.Command):
    """A click command that ends in one sentence."""

    least_memory = LEAST_MEMORY

    def invoke(self, ctx: click.Context) -> Any:
        with one_sentence(self.least_memory):
            return super().invoke(ctx)


class TrainingCommand(Command):
    """A command that needs TensorFlow."""

    least_memory = LEAST_FOR_TRAINING


class Group(click.Group):
    """A click group whose commands end in one sentence, listed in the order they are written."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_sentence():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
