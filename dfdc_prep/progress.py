"""Tells on stderr how a long run goes: a bar on a terminal, elsewhere a line every half minute."""

from collections.abc import Iterable
from contextlib import suppress
from shutil import get_terminal_size
from threading import Event, Lock, Thread
from time import monotonic

import click
from tqdm import tqdm

#: Seconds from the start to the first line where stderr is no terminal, and between two lines.
FIRST_LINE_S, LINES_S = 10.0, 30.0
_RATE = "{remaining} left, {rate_noinv_fmt}{postfix}"
_LINE = "{desc}{n_fmt} of {total_fmt}{unit}, {percentage:.0f} %, " + _RATE
_UNKNOWN_TOTAL = "{desc}{n_fmt}{unit}, {rate_noinv_fmt}{postfix}"
_BAR = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, " + _RATE
#: In fewer columns the numbers leave no place for a bar.
_BAR_COLUMNS = 80
_NARROW = "{desc}{n_fmt}/{total_fmt}, " + _RATE

_lock = Lock()


def tell(text: str) -> None:
    """Write lines for the user to stderr; a log that cannot be written ends no run."""
    lines = (line if line.isprintable() else ascii(line) for line in text.split("\n"))
    with suppress(OSError):
        click.echo("\n".join(lines), err=True)


def aligned(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what is said of each, one a line, in two columns."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


class Progress(tqdm):  # type: ignore[type-arg]
    """A bar of tqdm that does not fall silent where stderr is no terminal.

    Args:
        total: the number of things, None if it is not known.
        unit: their noun.
        description: what is done to them.
        done: how many are done at the start.
    """

    postfix: str | None = None

    def __init__(self, total: int | None, unit: str, description: str, done: int = 0) -> None:
        self._closed = Event()
        wide = get_terminal_size().columns >= _BAR_COLUMNS
        super().__init__(
            total=total,
            unit=f" {unit}",
            desc=f"{description}: ",
            initial=done,
            dynamic_ncols=True,
            # tqdm's own format where there is neither a share nor a time left.
            bar_format=None if total is None else _BAR if wide else _NARROW,
            disable=None,
        )
        # A disabled tqdm keeps none of this.
        self._prefix, self._unit, self._initial = f"{description}: ", f" {unit}", done
        self._started = monotonic()
        if self.disable:  # not from `update`: a single clip may take minutes
            Thread(target=self._tell_lines, name="progress", daemon=True).start()

    def update(self, n: float | None = 1) -> bool | None:
        """Count `n` more; from any thread."""
        if not self.disable:
            return super().update(n)
        with _lock:
            self.n += n or 0
        return False

    def close(self) -> None:
        """End the bar or the lines."""
        self._closed.set()
        super().close()

    def _tell_lines(self) -> None:
        pause = FIRST_LINE_S
        while not self._closed.wait(pause):
            tell(self._line())
            pause = LINES_S

    def _line(self) -> str:
        return str(
            self.format_meter(
                self.n,
                self.total or 0,
                monotonic() - self._started,
                prefix=self._prefix,
                unit=self._unit,
                initial=self._initial,
                postfix=self.postfix,
                bar_format=_LINE if self.total else _UNKNOWN_TOTAL,
            )
        )
