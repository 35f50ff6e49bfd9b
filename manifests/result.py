"""What the commands return: reports that print as text, as a table in a notebook, and as JSON."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from pathlib import Path

#: Rows of a table shown in a notebook.
MOST_ROWS = 20


@dataclass(frozen=True)
class TextTable:
    """A table for a terminal or a notebook; cells are text, numbers or None."""

    header: Sequence[str]
    rows: Iterable[Sequence[object]]


class Result(ABC):
    """A report that shows itself in a terminal and in a notebook."""

    @abstractmethod
    def text(self) -> str:
        """What the command prints, also `str(result)`."""

    @abstractmethod
    def cells(self) -> TextTable:
        """The facts as a table."""

    def parts(self) -> Iterable[TextTable | str]:
        """What the command prints on a terminal: lines and tables."""
        return [self.text()]

    def caption(self) -> str:
        """The line above the table in a notebook: the last one that the command prints."""
        return self.text().splitlines()[-1]

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """A small HTML table with the facts of the result; all text is escaped."""
        table, caption = self.cells(), escape(self.caption())
        rows = list(table.rows)
        if not rows:
            return f"<p>{caption}</p>"
        body = "".join(_row("td", row) for row in rows[:MOST_ROWS])
        if len(rows) > MOST_ROWS:
            more = f"and {len(rows) - MOST_ROWS:,} more"
            body += _row("td", [more, *[""] * (len(table.header) - 1)])
        head = _row("th", table.header)
        return (
            f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"
        )


def plain_text(parts: Iterable[TextTable | str]) -> str:
    """Lines and tables as plain text."""
    return "\n".join(
        f"\n{_plain(part)}\n" if isinstance(part, TextTable) else part for part in parts
    )


def _plain(table: TextTable) -> str:
    """The table in columns: names on the left, numbers on the right."""
    lines = [list(table.header)]
    for row in table.rows:
        columns = (str(cell).split("\n") for cell in row)
        lines += map(list, zip_longest(*columns, fillvalue=""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < 3 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def written_to(out: Path | None) -> list[str]:
    """The last line of a report, if a file was written."""
    return [] if out is None else [f"written to {out}"]


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(_text(cell))}</{tag}>" for cell in cells) + "</tr>"


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
