"""How every command line of this project ends: one sentence and an exit code, no traceback.

Exit codes: 0 done, 1 an error, 2 usage (click's own), 3 done but something failed or
leaks, 130 interrupted.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from manifests.errors import DfdcPrepError

DONE_WITH_FAILURES = 3
INTERRUPTED = 130


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn the errors a user can mend, and an interrupt, into one line on stderr and an exit."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except DfdcPrepError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        click.echo(f"error: the system refused{where}: {error.strerror or error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted: run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)


class Command(click.Command):
    """A click command that ends in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_sentence():
            return super().invoke(ctx)


class Group(click.Group):
    """A click group whose commands end in one sentence, listed in the order they are written."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_sentence():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
