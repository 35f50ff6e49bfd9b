"""A page of every kind of block in a real browser, light and dark."""

from pathlib import Path

import numpy as np
import pytest

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import (
    Chart,
    Charts,
    Group,
    Groups,
    Page,
    Picture,
    Section,
    Sheet,
    Table,
    Text,
    TextList,
    thumbnail,
    write_page,
)
from tests.browser.conftest import NARROW, Visit

HOSTILE = "<img src=x onerror=alert(1)>\"'</script>.mp4"


@pytest.fixture(scope="module")
def every_block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"REAL": np.arange(50.0), "FAKE": np.arange(20.0)}
    pictures = [
        Picture(thumbnail(np.full((64, 64, 3), 90, np.uint8)), HOSTILE, (HOSTILE, "REAL")),
        Picture(None, "FAKE b.mp4", ("b.mp4",)),
    ]
    rows = [(f"{HOSTILE}{n}", "no_face", n) for n in range(40)]
    chart = Chart("Sizes", charts.histogram(values, "one", HOSTILE), HOSTILE, HOSTILE)
    blocks = (
        Text("plain"),
        Text("beware", "warning"),
        Text("well", "good"),
        TextList(["one", HOSTILE]),
        Table("Why clips failed", ("clip", "status", "n"), rows, more=3, searchable=True),
        Charts([chart, Chart("Bars", charts.bars(["a"], {"REAL": [1]}, "b", "n"), "one bar")]),
        Sheet("Crops", pictures, more=2),
        Groups("Pairs", [Group(pictures, HOSTILE)]),
    )
    page = Page(HOSTILE, HOSTILE, [Section("Clips", blocks)], [("clips", 1234)], "made")
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(page, path)
    return path


def test_every_block_is_accessible(visit: Visit, scheme: str, every_block: Path) -> None:
    visit.open(every_block)
    assert visit.accessibility_faults() == []


def test_the_search_field_hides_the_rows_without_the_words(visit: Visit, every_block: Path) -> None:
    page = visit.open(every_block)
    page.get_by_label("Search the rows").fill("mp417 NO_FACE")
    assert page.locator("tbody tr:visible").count() == 1
    assert page.get_by_role("status").inner_text() == "1 of 40 rows"


def test_nothing_is_wider_than_a_phone(visit: Visit, every_block: Path) -> None:
    visit.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page = visit.open(every_block)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
