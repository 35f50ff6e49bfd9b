"""A page of every kind of block in a real browser, light and dark."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfdc_prep.reports import charts
from dfdc_prep.reports.page import (
    Chart,
    Charts,
    Command,
    Folded,
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
#: A command of which a part is a name that a shell would take apart.
COMMAND = Command("Copy --same", "dfdc-prep identify", f"--same {shlex.quote(HOSTILE)}")


@pytest.fixture(scope="module")
def every_block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"REAL": np.arange(50.0), "FAKE": np.arange(20.0)}
    pictures = [
        Picture(thumbnail(np.full((64, 64, 3), 90, np.uint8)), HOSTILE, (HOSTILE, "REAL")),
        Picture(None, "FAKE b.mp4", ("b.mp4",)),
    ]
    rows = [(f"{HOSTILE}{n}", "no_face", n, HOSTILE) for n in range(40)]
    chart = Chart("Sizes", charts.histogram(values, "one", HOSTILE), HOSTILE, HOSTILE)
    blocks = (
        Text("plain"),
        Text("beware", "warning"),
        Text("well", "good"),
        TextList(["one", HOSTILE]),
        Table("Why clips failed", ("clip", "status", "n", "why"), rows, more=3, searchable=True),
        Charts([chart, Chart("Bars", charts.bars(["a"], {"REAL": [1]}, "b", "n"), "one bar")]),
        Sheet("Crops", pictures, more=2),
        Groups("Pairs", [Group(pictures, HOSTILE, [COMMAND])]),
        Folded("2 settings", [Table("Options", ("name", "value"), [("a", HOSTILE), ("b", 2)])]),
    )
    others = [Section(f"Other clips {n}", [Text("plain")] * 20) for n in range(8)]
    verdict = [Text(HOSTILE, "warning"), Text(f"Not checked: {HOSTILE}")]
    sections = [Section("Clips", blocks), *others]
    page = Page(HOSTILE, HOSTILE, sections, [("clips", 1234)], verdict, "made")
    path = tmp_path_factory.mktemp("a page's") / "page.html"
    write_page(page, path)
    return path


def test_every_block_is_accessible(
    visit: Visit, scheme: str, size: tuple[int, int], every_block: Path
) -> None:
    visit.open(every_block).locator("summary").first.click()
    assert visit.accessibility_faults() == []


def test_the_search_field_hides_the_rows_without_the_words(visit: Visit, every_block: Path) -> None:
    page = visit.open(every_block)
    page.get_by_label("Search the rows").fill("mp417 NO_FACE")
    table = page.get_by_role("region", name="Why clips failed")
    assert table.locator("tbody tr:visible").count() == 1
    assert page.get_by_role("status").first.inner_text() == "1 of 40 rows"


def test_nothing_is_wider_than_the_window(
    visit: Visit, size: tuple[int, int], every_block: Path
) -> None:
    page = visit.open(every_block)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]


def test_a_wide_table_scrolls_in_a_box_with_a_name(visit: Visit, every_block: Path) -> None:
    visit.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page = visit.open(every_block)
    box = page.get_by_role("region", name="Why clips failed").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")


def test_the_menu_stays_in_view_and_covers_no_heading(
    visit: Visit, size: tuple[int, int], every_block: Path
) -> None:
    page = visit.open(every_block)
    menu = page.get_by_role("navigation")
    link = menu.get_by_role("link", name="Other clips 5")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('a[aria-current]')?.text == 'Other clips 5'"
    )
    bar, heading = menu.bounding_box(), page.get_by_role("heading", name="Other clips 5")
    assert bar is not None
    assert bar["y"] == 0
    assert heading.bounding_box()["y"] >= bar["y"] + bar["height"]
    shown = link.bounding_box()
    assert 0 <= shown["x"] <= size[0] - shown["width"]


def test_settings_are_folded(visit: Visit, every_block: Path) -> None:
    page = visit.open(every_block)
    table = page.get_by_role("region", name="Options").first
    assert not table.is_visible()
    page.locator("summary").first.click()
    assert table.is_visible()


def pasted(page: Any) -> list[str]:
    """What the keyboard pastes, as a shell reads it."""
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    page.keyboard.press("Control+V")
    text = page.locator("textarea").input_value()
    page.evaluate("document.querySelector('textarea').remove()")
    return shlex.split(text)


@pytest.mark.parametrize("clipboard", [True, False])
def test_a_command_is_copied_with_the_folder_of_the_page(
    visit: Visit, every_block: Path, clipboard: bool
) -> None:
    """By the keyboard, with the clipboard of new browsers or without one."""
    if clipboard:
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        visit.page.add_init_script("delete Navigator.prototype.clipboard")
    page = visit.open(every_block)
    button = page.get_by_role("button", name="Copy --same")
    for folder in (str(every_block.parent), "other faces"):
        page.get_by_label("Faces folder in the commands").fill(folder)
        button.press("Enter")
        page.get_by_text(re.compile("^Copied: dfdc-prep identify")).wait_for()
        assert pasted(page) == ["dfdc-prep", "identify", folder, "--same", HOSTILE]
    page.get_by_label("Faces folder in the commands").fill("~/my faces")
    button.press("Enter")
    page.get_by_text(" ~/'my faces' ").wait_for()
    page.reload()
    assert page.get_by_label("Faces folder").input_value() == str(every_block.parent)
    assert page.locator("[role=status].copied").count() == 1
