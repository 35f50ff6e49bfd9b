"""A page as data, and its rendering as one self-contained HTML file.

A report builds a `Page` out of the blocks below; one template draws them all. The file loads
nothing: charts are inline SVG, images are data URIs, and the content security policy allows no
other source. All text is escaped, so a hostile file name is shown and never interpreted.
"""

import base64
import hashlib
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from manifests.files import write_text
from manifests.pictures.images import CROP_FORMATS, ImageError, open_image, reading
from manifests.wording import counted

#: Shown for a value that is missing, undefined or not finite.
MISSING = "–"
#: Longest text shown of a name or value, in characters; the middle of longer ones is cut out.
MAX_TEXT_CHARS = 1000
#: Longer side of a thumbnail, pixels.
SIDE = 128
#: JPEG quality of a thumbnail.
_QUALITY = 80
_NUMBER = re.compile(r"[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?( %)?")


class Text(NamedTuple):
    """A paragraph; `kind` warning draws it as a box that stands out."""

    text: str
    kind: Literal["plain", "warning", "good"] = "plain"


def sentences(lines: Iterable[str]) -> list[Text]:
    """Return lines that a command prints as paragraphs, with a capital letter."""
    return [Text(f"{line[:1].upper()}{line[1:]}") for line in lines]


class TextList(NamedTuple):
    """A bulleted list of sentences."""

    items: Sequence[str]


class Table(NamedTuple):
    """A table; cells are text, numbers or None, and the first of each row is its header."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    more: int = 0  # number of rows left out
    searchable: bool = False  # show a field that filters the rows

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, which are aligned to the right."""
        columns = [[c for c in column if c is not None] for column in zip(*self.rows, strict=True)]
        found = [bool(column) and all(map(_is_number, column)) for column in columns]
        return found or [False] * len(self.header)


def _is_number(cell: object) -> bool:
    """Whether a cell is a number, or a number formatted as text, such as `98.1 %`."""
    if isinstance(cell, str):
        return bool(_NUMBER.fullmatch(cell))
    return isinstance(cell, int | float) and not isinstance(cell, bool)


class Chart(NamedTuple):
    """A chart as inline SVG (see `dfdc_prep.reports.charts`)."""

    title: str
    svg: Markup
    alt: str  # what a reader should see in it, for screen readers
    note: str = ""  # a sentence below the chart


class Charts(NamedTuple):
    """Charts side by side, as many in a row as fit."""

    charts: Sequence[Chart]


class Picture(NamedTuple):
    """An image, a data URI (see `thumbnail`) or None if it is unreadable, and its caption."""

    source: Markup | None
    alt: str
    lines: Sequence[str] = ()
    tags: Sequence[tuple[str, str]] = ()  # what `Filters` filter by: names and values


class Sheet(NamedTuple):
    """Pictures in a grid, and the number of those left out."""

    caption: str
    pictures: Sequence[Picture]
    more: int = 0


class Command(NamedTuple):
    """A button that copies a command with the path of the faces folder in it, as the reader has it.

    The folder's own path is not in the page, whose bytes would depend on it.
    """

    name: str
    before: str  # what comes before the folder, and after it; both as a shell reads them
    after: str


class Group(NamedTuple):
    """Pictures that belong together, a line about them, and what can be done about them."""

    pictures: Sequence[Picture]
    line: str = ""
    commands: Sequence[Command] = ()


class Groups(NamedTuple):
    """Groups of pictures, each side by side: originals and fakes, near-identical pairs."""

    caption: str
    groups: Sequence[Group]
    more: int = 0


class Filters(NamedTuple):
    """Sheets and tables with fields that filter them: pictures by tags, rows by columns."""

    names: Sequence[str]  # of the tags and columns, single words
    blocks: "Sequence[Sheet | Table]"


class Folded(NamedTuple):
    """Tables that are shown when their title is opened."""

    title: str
    tables: Sequence[Table]


Block = Filters | Text | TextList | Table | Chart | Charts | Sheet | Groups | Folded


class Section(NamedTuple):
    """A part of a page with a heading, listed in the page's contents."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The section's id: its title in lower case, words joined by hyphens."""
        return "-".join(re.findall(r"[^\W_]+", self.title.lower()))


class Page(NamedTuple):
    """A whole page.

    `verdict` says what was found and what was not checked; `facts` are the most important
    numbers, as (what, value).
    """

    title: str
    lead: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, object]] = ()
    verdict: Sequence[Text] = ()
    footer: str = ""


def thumbnail(image: bytes | npt.NDArray[np.uint8] | None, side: int = SIDE) -> Markup | None:
    """Return a small JPEG of an image as a data URI.

    Args:
        image: an encoded image, or RGB uint8 [H, W, 3].
        side: longer side of the thumbnail, pixels; smaller images are not enlarged.

    Returns:
        None if the image is None or cannot be decoded.
    """
    if image is None:
        return None
    try:
        opened: Any
        if isinstance(image, bytes):
            opened = open_image(image, CROP_FORMATS)
        else:
            opened = Image.fromarray(image)
        with opened, reading():
            opened.draft("RGB", (side, side))
            small = opened.convert("RGB")
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            small.save(file, "JPEG", quality=_QUALITY, optimize=True)
    except ImageError:
        return None
    return Markup("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())


class Gallery(NamedTuple):
    """The crops of a manifest, to be shown."""

    table: pa.Table
    # The encoded images of some rows; None for one that cannot be read.
    read: Callable[[Iterable[int]], dict[int, bytes | None]]

    def pictures(
        self, rows: Iterable[int], notes: Sequence[str] = (), side: int = SIDE
    ) -> list[Picture]:
        """The crops of some rows, captioned by label, clip and an optional note each."""
        wanted = [int(row) for row in rows]
        data = self.read(wanted)
        captions = self.table.select(["video", "label"]).take(pa.array(wanted, pa.int64()))
        found = []
        for row, caption, note in zip(
            wanted, captions.to_pylist(), notes or repeat(""), strict=False
        ):
            label, video = caption["label"], caption["video"]
            lines = (f"{label} {note}".rstrip(), video)
            found.append(Picture(thumbnail(data[row], side), f"{label} crop of {video}", lines))
        return found

    def pairs(self, pairs: Sequence[tuple[int, int]], lines: Iterable[str]) -> list[Group]:
        """Pairs of rows side by side, with a line about each."""
        pictures = iter(self.pictures([row for pair in pairs for row in pair]))
        return [Group([next(pictures), next(pictures)], line) for line in lines]


def settings(groups: Mapping[str, object]) -> Folded:
    """Return tables of named values as a JSON file holds them; none of what is no object."""
    tables = []
    for name, values in groups.items():
        if isinstance(values, dict) and values:
            rows = [(str(key), setting(value)) for key, value in values.items()]
            tables.append(Table(name.capitalize(), ("name", "value"), rows))
    number = sum(len(table.rows) for table in tables)
    return Folded(counted(number, "setting"), tables)


def target_share(metadata: object, split: str) -> str | None:
    """Return the share of crops that metadata.json wanted for a split; None if it does not say."""
    wanted = metadata.get("split") if isinstance(metadata, dict) else None
    share = wanted.get(split) if isinstance(wanted, dict) else None
    return percent(share, 1) if isinstance(share, int | float) else None


def percent(part: float, whole: float) -> str:
    """Return a share as text; 0 of 0 is 0."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def setting(value: object) -> str:
    """Return the value of a setting as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {setting(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(setting(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else str(value)


def render(page: Page) -> str:
    """Return the page as HTML; equal pages give equal text."""
    templates = files("dfdc_prep.reports") / "templates"
    style = (templates / "style.css").read_text()
    scripts = ("menu.js", "search.js", "copy.js", "gallery.js")
    script = "\n".join((templates / name).read_text() for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=PackageLoader("dfdc_prep.reports"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    safe = {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}
    return environment.get_template("page.html.j2").render(page=page, **safe)


def write_page(page: Page, path: Path) -> None:
    """Render the page and write it atomically; OutputError if another run is writing it."""
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
    if not isinstance(value, float):
        return _printable(str(value))
    if 0 < abs(value) < 1e-4:
        return f"{value:.2g}"
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 4
    return f"{value:,.{digits}f}"


def short_number(value: float) -> str:
    """Return a number with four digits, and with all of those before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _printable(text: str) -> str:
    """Escape control and direction characters, and cut the middle out of a long text."""
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() else " " if c == "\n" else c.encode("unicode_escape").decode()
            for c in text
        )
    half = MAX_TEXT_CHARS // 2
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:half]} … {text[-half:]}"
