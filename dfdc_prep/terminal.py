"""Prints results: tables drawn by rich on a terminal, plain text in a pipe."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfdc_prep.storage.urls import Location
from manifests.folders import REPORT
from manifests.result import TextTable

if TYPE_CHECKING:
    from rich.table import Table


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
