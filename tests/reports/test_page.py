"""Pages, charts and thumbnails: escaping, missing values, same bytes, colours that follow."""

import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import Chart, Page, Section, Table, Text, render, shown, thumbnail

HOSTILE = "<img src=x onerror=alert(1)>\"'</script>.mp4"


class Tags(HTMLParser):
    """Collects the start tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*blocks: Text | Table | Chart, title: str = "faces") -> Page:
    return Page(title, "A folder.", [Section("Clips", blocks)])


def test_a_hostile_name_is_shown_and_adds_no_element() -> None:
    table = Table(HOSTILE, (HOSTILE,), [(HOSTILE,)], searchable=True)
    found = Tags(render(page_of(Text(HOSTILE), table, title=HOSTILE)))
    harmless = Tags(render(page_of(Text("x"), Table("x", ("x",), [("x",)], searchable=True))))
    assert found.tags == harmless.tags
    assert found.text.count(HOSTILE) == 6


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_page_of_the_same_elements(text: str) -> None:
    table = Table(text, (text, "n"), [(text, None)])
    assert Tags(render(page_of(Text(text), table))).tags.count("td") == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("-inf"), "–"),
        (95634, "95,634"),
        (0.90219, "0.9022"),
        (1234.56, "1,234.6"),
        (True, "yes"),
        ("a\u202eb\nc\ud800", "a\\u202eb c\\ud800"),
    ],
)
def test_how_values_are_shown(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_a_long_text_is_cut_in_the_middle() -> None:
    assert shown("a" * 5000 + "end").endswith("aend")
    assert len(shown("a" * 5000)) < 1010


def test_the_page_allows_its_own_script_and_no_other_source() -> None:
    html = render(page_of(Text("x")))
    assert (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in html
    )
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", html)


def test_a_chart_takes_the_colour_of_the_text_and_repeats_no_id() -> None:
    values = {"REAL": np.arange(50.0), "FAKE": np.arange(20.0)}
    drawn = [charts.histogram(values, name, "pixels") for name in ("one", "two")]
    assert all("currentColor" in svg and "#010203" not in svg for svg in drawn)
    ids = re.findall(r' id="([^"]+)"', "".join(drawn))
    assert ids
    assert len(ids) == len(set(ids))
    assert drawn[0] == charts.histogram(values, "one", "pixels")


def test_a_chart_of_a_name_with_dollars_and_tags_shows_the_name() -> None:
    svg = charts.bars(["$x^2$ <b>", "b"], {"REAL": [3, 4]}, "bars", "clips")
    assert "$x^2$ &lt;b&gt;" in svg


@pytest.mark.parametrize("most", [1, 3, 6, 8, 43, 32_000])
def test_an_axis_of_counts_has_ticks_at_whole_numbers(most: int) -> None:
    svg = charts.bars(["ok", "no face"], {"REAL": [most, 1]}, "status", "clips")
    numbers = [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg) if text[0].isdigit()]
    assert numbers
    assert "." not in "".join(numbers)


@pytest.mark.parametrize("values", [{}, {"REAL": np.empty(0)}, {"FAKE": np.ones(3)}])
def test_a_histogram_of_few_values_is_drawn(values: dict[str, charts.Floats]) -> None:
    assert charts.histogram(values, "few", "pixels").startswith("<svg")


def test_a_thumbnail_is_a_small_jpeg_and_none_where_the_image_is_broken() -> None:
    file = BytesIO()
    Image.new("RGBA", (300, 200), (255, 0, 0, 255)).save(file, "PNG")
    assert str(thumbnail(file.getvalue())).startswith("data:image/jpeg;base64,")
    assert thumbnail(file.getvalue()[:60]) is None
    assert thumbnail(b"GIF89a") is None
    assert thumbnail(np.zeros((40, 40, 3), np.uint8)) == thumbnail(np.zeros((40, 40, 3), np.uint8))
