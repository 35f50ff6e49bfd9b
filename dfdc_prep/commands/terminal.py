"""What a command prints: results, and errors as one line on stderr and an exit code.

Results are tables drawn by rich on a terminal, plain text in a pipe. There is no traceback.

Exit codes: 0 success, 1 error, 2 usage error (click's own), 3 finished with failed items or
leaks, 130 interrupted.
"""

import io
import resource
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from dfdc_prep.storage.urls import Location
from manifests.errors import DfdcPrepError, out_of_memory
from manifests.folders import REPORT
from manifests.result import TextTable

if TYPE_CHECKING:
    from rich.table import Table

DONE_WITH_FAILURES = 3
INTERRUPTED = 130
_INTERRUPTED_MESSAGE = "interrupted: run the same command again to resume"
#: Longest message printed, in characters; names and values in files can be of any length.
MAX_MESSAGE_CHARS = 1000
#: Memory limit, in bytes, below which the libraries do not load.
MIN_MEMORY_BYTES = 1 << 30
#: The same for commands that load TensorFlow, which aborts below it. A small model needed
#: 2.4 GB, including the stacks of 42 threads.
MIN_TRAINING_MEMORY_BYTES = 4 << 30
#: Limit on open files below which worker processes do not start.
MIN_OPEN_FILES = 32


def _one_line(text: str) -> str:
    """Escape unprintable characters and cut the middle out of a message that is too long."""
    shown = _printable(" ".join(text.split()))
    if len(shown) <= MAX_MESSAGE_CHARS:
        return shown
    half = MAX_MESSAGE_CHARS // 2
    return f"{shown[:half]} … {shown[-half:]}"


#: Set while a command runs, and after an interrupt was received.
_running, _interrupted = Event(), Event()
#: Seconds until an interrupt that Python ignored is raised again.
_REDELIVERY_DELAY_S = 0.05


def _on_interrupt(signum: int, _frame: FrameType | None) -> None:
    if not _running.is_set():  # the command has finished: let the signal end the process
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)
        return
    _interrupted.set()
    raise KeyboardInterrupt


@contextmanager
def _redelivering_interrupts() -> Iterator[None]:
    """Raise an interrupt again if Python ignored it because it arrived in a callback."""

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _REDELIVERY_DELAY_S)
        else:
            previous_hook(unraisable)

    previous_hook, sys.unraisablehook = sys.unraisablehook, hook
    signal.signal(signal.SIGALRM, _on_interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = previous_hook


@contextmanager
def reporting_errors(min_memory: int = MIN_MEMORY_BYTES) -> Iterator[None]:
    """Report errors the user can fix, and interrupts, as one line on stderr, and exit.

    Other exceptions propagate with their traceback.

    Args:
        min_memory: smallest memory limit, in bytes, under which the command can run.

    Raises:
        SystemExit: with code 1 after an error, 130 after an interrupt.
    """
    _interrupted.clear()
    _running.set()
    signal.signal(signal.SIGTERM, _on_interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored
        signal.signal(signal.SIGINT, _on_interrupt)
    # Messages contain file names; one that the terminal cannot encode must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _redelivering_interrupts():
            _check_limits(min_memory)
            yield
    except KeyboardInterrupt:
        _exit_with(_INTERRUPTED_MESSAGE, INTERRUPTED)
    except Exception as error:
        if _interrupted.is_set():  # a library may turn the interrupt into its own error
            _exit_with(_INTERRUPTED_MESSAGE, INTERRUPTED)
        if message := _error_message(error):
            _exit_with(f"error: {message}", 1)
        raise
    finally:
        _running.clear()


def _error_message(error: Exception) -> str | None:
    """Return the message for an error the user can fix; None for a bug in this project."""
    if isinstance(error, DfdcPrepError):
        return "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"the system refused{where}: {error.strerror or error}"
    if out_of_memory(error):
        return (
            "expected more memory than is available to this process or its GPU; free some or use "
            "less (for example a smaller --batch-size), then run the same command again"
        )
    return None


def _check_limits(min_memory: int) -> None:
    """Reject resource limits under which libraries hang or fail with an unrelated error.

    OpenBLAS retries an allocation forever under limits of 330 to 554 MB; worker processes do
    not start with 18 open files.
    """
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and limit < min_memory:
            raise DfdcPrepError(
                f"expected at least {min_memory >> 20} MB of memory for this process, found a "
                f"limit of {limit >> 20} MB; raise it with ulimit -d and ulimit -v"
            )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < MIN_OPEN_FILES:
        raise DfdcPrepError(
            f"expected at least {MIN_OPEN_FILES} open files for this process, found a limit of "
            f"{files}; raise it with ulimit -n"
        )


def _exit_with(message: str, code: int) -> NoReturn:
    click.echo(_one_line(message), err=True)
    sys.exit(code)


def echo_parts(plain: str, parts: Iterable[TextTable | str]) -> None:
    """Print a result to stdout.

    Args:
        plain: printed where stdout is no terminal, so that scripts can rely on it.
        parts: printed on a terminal.
    """
    if not sys.stdout.isatty():
        click.echo(plain)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for part in parts:
        if isinstance(part, TextTable):
            console.print(_drawn(part))
        else:
            console.print(Text(_printable(part)), soft_wrap=True)


def report_hint(folder: Location) -> str:
    """Return the line that says where the page about a folder is, or which command writes it."""
    page = folder / REPORT
    if isinstance(page, Path) and page.is_file():
        return f"report: {page}"
    return f"for a report to look at: dfdc-prep report {shlex.quote(str(folder))}"


def _drawn(table: TextTable) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in table.rows]
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for index, name in enumerate(table.header):
        numeric = all(_is_numeric(row[index]) for row in rows)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a name may contain [bold].
        drawn.add_row(*(Text(_printable(_cell(cell))) for cell in row))
    return drawn


def _is_numeric(cell: object) -> bool:
    if isinstance(cell, str):
        return cell in ("", "none") or cell[:1].isdigit()
    return cell is None or isinstance(cell, int | float)


def _cell(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}" if cell == 0 or abs(cell) >= 10 else f"{cell:,.4f}"
    return f"{cell:,}" if isinstance(cell, int) else "" if cell is None else str(cell)


def _printable(text: str) -> str:
    """Escape control characters, which could move the cursor or change the terminal's title."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
