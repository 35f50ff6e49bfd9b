"""The reports of real folders in a real browser: no request, no error, no accessibility fault."""

import json
from pathlib import Path

import pytest

import dfdc_prep
from tests.browser.conftest import NARROW, Visit
from tests.reports.folders import (
    HOSTILE,
    comparison_folder,
    faces_folder,
    run_folder,
    shards_folder,
)

KINDS = ("faces", "shards", "run", "comparison", "table", "audit", "runs")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a folder of each kind; the splits of the shards leak."""
    root = tmp_path_factory.mktemp("reports")
    folders = {
        "faces": faces_folder(root / "faces"),
        "shards": shards_folder(root / "made", group_by="none"),
        "run": run_folder(root / "run"),
        "comparison": comparison_folder(root / "comparison"),
    }
    pages = {kind: dfdc_prep.report(folder).out for kind, folder in folders.items()}
    table, audit = root / "faces" / "split.csv", root / "audit.json"
    dfdc_prep.split(folders["faces"], group_by="none", out=table)
    audit.write_text(json.dumps(dfdc_prep.audit(folders["shards"]).as_json()))
    other = run_folder(root / "other", images=20)
    pages |= {"table": dfdc_prep.report(table).out, "audit": dfdc_prep.report(audit).out}
    return {**pages, "runs": dfdc_prep.report(folders["run"], other, out=root / "runs.html").out}


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_accessible(
    visit: Visit, scheme: str, size: tuple[int, int], kind: str, reports: dict[str, Path]
) -> None:
    visit.open(reports[kind])
    assert visit.accessibility_faults() == []


@pytest.mark.parametrize("kind", ["faces", "run"])
def test_a_hostile_name_is_shown_and_not_run(
    visit: Visit, kind: str, reports: dict[str, Path]
) -> None:
    dialogs: list[str] = []
    visit.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = visit.open(reports[kind])
    assert page.get_by_text(HOSTILE).count() > 0
    assert page.locator("img:not([src^='data:image/jpeg;base64,'])").count() == 0
    assert dialogs == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_is_decoded_and_the_page_fits_a_phone(
    visit: Visit, kind: str, reports: dict[str, Path]
) -> None:
    visit.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page = visit.open(reports[kind])
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
    widths = page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert all(width > 0 for width in widths)


def test_the_contents_lead_to_the_sections(visit: Visit, reports: dict[str, Path]) -> None:
    page = visit.open(reports["run"])
    for link in page.get_by_role("navigation").get_by_role("link").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_the_keyboard_reaches_the_content_first(visit: Visit, reports: dict[str, Path]) -> None:
    page = visit.open(reports["faces"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_crops_and_failed_clips_are_filtered(visit: Visit, reports: dict[str, Path]) -> None:
    page = visit.open(reports["faces"])
    crops = page.locator("#crops")
    shown = crops.locator(".picture:visible")
    for label in ("REAL", "FAKE"):
        crops.get_by_label("Label").select_option(label)
        assert {text.split()[0] for text in shown.all_inner_texts()} == {label}
    assert crops.locator("figure:visible").count() == 1
    assert crops.get_by_role("status").inner_text() == "12 of 24 crops, 6 of 7 clips shown"
    family = crops.get_by_label("Family")
    family.select_option(shown.first.get_attribute("data-family"))
    assert shown.count() == 1
    family.select_option("all")
    crops.get_by_label("Label").select_option("all")
    crops.get_by_label("Status").select_option("unreadable")
    assert crops.get_by_role("status").inner_text() == "0 of 24 crops, 2 of 7 clips shown"
    crops.get_by_label("Words").fill("ONERROR=alert unreadable.mp4")
    rows = crops.locator("tbody tr:visible")
    assert rows.count() == 1
    assert f"found no picture in {HOSTILE}" in rows.inner_text()


def test_a_crop_is_enlarged_by_the_keyboard(
    visit: Visit, scheme: str, reports: dict[str, Path]
) -> None:
    page = visit.open(reports["faces"])
    page.locator("#crops").get_by_label("Label").select_option("FAKE")
    crops = page.locator("#crops .picture:visible")
    crops.first.get_by_role("button").press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.locator("img").evaluate("image => image.naturalWidth") == 224
    assert visit.accessibility_faults() == []
    for key, number in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 11)):
        page.keyboard.press(key)
        said = dialog.get_by_role("status").inner_text()
        assert said.startswith(f"{number + 1} of 12")
        assert crops.nth(number).inner_text().split()[1] in said
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert crops.nth(11).get_by_role("button").evaluate("it => it === document.activeElement")
