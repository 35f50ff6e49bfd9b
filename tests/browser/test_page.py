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
        Groups("Pairs", [Group(pictures, HOSTILE, [COMMAND])]),
    )
    page = Page(HOSTILE, HOSTILE, [Section("Clips", blocks)], [("clips", 1234)], "made")
    path = tmp_path_factory.mktemp("a page's") / "page.html"
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
    page.reload()
    assert page.get_by_label("Faces folder").input_value() == str(every_block.parent)
    assert page.locator("[role=status].copied").count() == 1
