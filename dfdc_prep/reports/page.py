"""A page as data, and its rendering as one self-contained HTML file.

A report builds a `Page` out of the blocks below; one template draws them all. The file loads
nothing: charts are inline SVG, images are data URIs, and the content security policy allows no
other source. All text is escaped, so a hostile file name is shown and never interpreted.
"""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from manifests.files import write_text

#: Shown for a value that is missing, undefined or not finite.
MISSING = "–"
#: Longest text shown of a name or value, in characters; the middle of longer ones is cut out.
MAX_TEXT_CHARS = 1000
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?(e[+-]?\d+)?( %)?")


@dataclass(frozen=True)
class Text:
    """A paragraph; `kind` warning draws it as a box that stands out."""

    text: str
    kind: Literal["plain", "warning", "good"] = "plain"
    block: ClassVar[str] = "text"


@dataclass(frozen=True)
class TextList:
    """A bulleted list of sentences."""

    items: Sequence[str]
    block: ClassVar[str] = "text_list"


@dataclass(frozen=True)
class Table:
    """A table with a header row; cells are text, numbers or None.

    Attributes:
        caption: what the table shows; always visible.
        header: names of the columns.
        rows: cells by row; the first cell of each row is its header.
        more: number of rows left out, for the line "and N more".
        searchable: show a field that filters the rows.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    more: int = 0
    searchable: bool = False
    block: ClassVar[str] = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, which are aligned to the right."""
        columns = zip(*self.rows, strict=True)
        return [
            any(cell is not None for cell in column)
            and all(cell is None or _is_number(cell) for cell in column)
            for column in columns
        ] or [False] * len(self.header)


def _is_number(cell: object) -> bool:
    """Whether a cell is a number, or a number formatted as text, such as `98.1 %`."""
    if isinstance(cell, str):
        return bool(_NUMBER.fullmatch(cell))
    return isinstance(cell, int | float) and not isinstance(cell, bool)


@dataclass(frozen=True)
class Chart:
    """A chart as inline SVG (see `dfdc_prep.reports.charts`).

    Attributes:
        title: heading of the chart.
        svg: the drawing.
        alt: what a reader should see in it, for screen readers.
        note: a sentence below the chart.
    """

    title: str
    svg: Markup
    alt: str
    note: str = ""
    block: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Charts:
    """Charts side by side, as many in a row as fit."""

    charts: Sequence[Chart]
    block: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Picture:
    """One image of a contact sheet.

    Attributes:
        source: a data URI (see `dfdc_prep.reports.thumbnails`), None if the image is unreadable.
        alt: what the image is.
        lines: caption, one short line each.
    """

    source: Markup | None
    alt: str
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: pictures in a grid.

    Attributes:
        caption: what the pictures have in common.
        pictures: in reading order.
        more: number of pictures left out.
    """

    caption: str
    pictures: Sequence[Picture]
    more: int = 0
    block: ClassVar[str] = "sheet"


@dataclass(frozen=True)
class Group:
    """Pictures that belong together, and a line about them."""

    pictures: Sequence[Picture]
    line: str = ""


@dataclass(frozen=True)
class Groups:
    """Groups of pictures, each side by side: originals and fakes, near-identical pairs."""

    caption: str
    groups: Sequence[Group]
    more: int = 0
    block: ClassVar[str] = "groups"


Block = Text | TextList | Table | Chart | Charts | Sheet | Groups


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading, listed in the page's contents."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The section's id: its title in lower case, words joined by hyphens."""
        words = "".join(c if c.isalnum() else " " for c in self.title.lower()).split()
        return "-".join(words)


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: what the page is about, such as `faces`.
        lead: one sentence below the title.
        facts: the most important numbers, as (what, value).
        sections: in reading order.
        footer: how the page was made.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, object]] = field(default_factory=tuple)
    footer: str = ""


def settings_table(name: str, values: object) -> Table:
    """Return a table of named values as a JSON file holds them; empty if it is no object."""
    found = values if isinstance(values, dict) else {}
    rows = [(str(key), _setting(value)) for key, value in found.items()]
    return Table(name.capitalize(), ("name", "value"), rows)


def _setting(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_setting(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else str(value)


def render(page: Page) -> str:
    """Return the page as HTML; equal pages give equal text."""
    environment = _environment()
    style, script = (_source(name) for name in ("style.css", "search.js"))
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{_sha256(script)}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.j2").render(
        page=page, style=Markup(style), script=Markup(script), policy=Markup(policy)
    )


def write_page(page: Page, path: Path) -> None:
    """Render the page and write it atomically.

    Raises:
        OutputError: another run is writing the same file.
        OSError: the folder cannot be written.
    """
    write_text(path, render(page))


def shown(value: Any) -> Any:
    """Return how a value is shown: numbers grouped, missing values as a dash, text printable.

    Markup, which is HTML already, is returned unchanged.
    """
    if isinstance(value, Markup):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _shown_float(value)
    return _printable(str(value))


def _shown_float(value: float) -> str:
    if value == 0 or abs(value) >= 1e-4:
        digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 4
        return f"{value:,.{digits}f}"
    return f"{value:.2g}"


def _printable(text: str) -> str:
    """Escape control and direction characters, and cut the middle out of a long text."""
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() else " " if c == "\n" else c.encode("unicode_escape").decode()
            for c in text
        )
    if len(text) <= MAX_TEXT_CHARS:
        return text
    half = MAX_TEXT_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dfdc_prep.reports"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
