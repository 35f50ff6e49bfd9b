"""The demo app in a real browser, with a model trained for a moment."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, camera

from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.splitting.split import SplitPlan
from tests.browser.conftest import NARROW, Visit
from tests.training.conftest import SMALL, make_faces, smallest
from training.runs import experiment

HOSTILE = "<img src=x onerror=alert(1)>\"'.png"
#: Longest time between a move of the threshold and the page's answer, milliseconds.
MAX_REACTION_MS = 200
SECONDS = 1000


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on 40 crops."""
    folder = tmp_path_factory.mktemp("app")
    faces = make_faces(folder / "faces", families=20)
    write_crops(
        faces,
        folder / "shards",
        TFRecords(),
        CropSelection(SplitPlan.parse("56/24/20", "original", 42)),
    )
    options = experiment.FitOptions(
        folder / "shards", "v1.3", SMALL | {"epochs": 1}, folder / "run", "none", steps_per_epoch=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "EfficientNetB7", smallest)
        experiment.fit(options, log=print)
    return folder / "run"


@pytest.fixture(scope="module")
def app(run_folder: Path, yunet_model: Path) -> Iterator[str]:
    """The address of the app, started as a user starts it."""
    words = [str(run_folder), "--port", "0", "--detector-model", str(yunet_model), "--max-mb", "5"]
    with subprocess.Popen(
        [sys.executable, "-m", "training.app", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
        process.terminate()
        assert process.wait(30) == 0


def png(image: Any) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, "PNG")
    return written.getvalue()


def upload(visit: Visit, app: str, name: str, content: bytes) -> Any:
    """Upload a file with the form and wait until its page is there."""
    page = visit.open(app)
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Score the faces").click()
    page.locator("#result, .notice").wait_for(timeout=120 * SECONDS)
    return page


@pytest.fixture(scope="module")
def clip(real_clips: Path) -> bytes:
    return (real_clips / "dfdc_train_part_1" / "634.mp4").read_bytes()


@pytest.fixture(scope="module")
def scored(chromium: Any, app: str, clip: bytes) -> dict[str, str]:
    """Addresses of pages that are ready: a clip, an image, no face, an error."""
    contents = {
        "clip.mp4": clip,
        "two.png": png(np.hstack([astronaut(), astronaut()[:, ::-1]])),
        "grass.png": png(camera()[300:]),
        "broken.mp4": clip[:3000],
    }
    context = chromium.new_context()
    places = {}
    for name, content in contents.items():
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        places[name] = context.request.post(f"{app}/jobs", multipart={"file": file}).url
    page = context.new_page()
    for place in places.values():
        page.goto(place)
        page.locator("#result, .notice").wait_for(timeout=120 * SECONDS)
    context.close()
    return places


def downloaded(page: Any, name: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    return Path(download.value.path()).read_bytes()


def words_at(page: Any, threshold: str, low: str, high: str) -> set[str]:
    """The words on the page at a threshold, if the test had given another undecided band."""
    band = {"low": low, "high": high}
    page.evaluate("band => Object.assign(document.getElementById('result').dataset, band)", band)
    page.get_by_label("Threshold").fill("0.5")
    page.get_by_label("Threshold").fill(threshold)
    return set(page.locator(".word").all_text_contents())


def test_the_threshold_decides_without_the_server(visit: Visit, scored: dict[str, str]) -> None:
    page = visit.open(scored["two.png"])
    page.wait_for_load_state("networkidle")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    assert words_at(page, "0", "0", "0") == {"FAKE"}
    assert words_at(page, "1", "1", "1") == {"REAL"}
    assert "0 of 2 faces FAKE at 1.00, 0 undecided" in page.locator("#counts").inner_text()
    for threshold in ("0", "1"):
        assert words_at(page, threshold, "0", "1") == {"UNDECIDED"}
    assert "0 of 2 faces FAKE at 1.00, 2 undecided" in page.locator("#counts").inner_text()
    assert requests == []


def test_nothing_of_a_result_covers_or_stretches_its_neighbour(
    visit: Visit, scored: dict[str, str]
) -> None:
    page = visit.open(scored["two.png"])
    first, second = (each.bounding_box() for each in page.locator(".box text").all())
    assert first["y"] + first["height"] <= second["y"] or second["x"] >= first["x"] + first["width"]
    crop = page.locator(".pair img").first.bounding_box()
    assert page.locator(".pair").first.bounding_box()["height"] <= crop["height"] + 1
    copy, delete = (
        page.get_by_role("button", name=name).bounding_box() for name in ("Copy", "Delete")
    )
    assert copy["y"] + copy["height"] + 8 <= delete["y"]


def test_a_model_tested_on_few_clips_shows_no_verdict(
    visit: Visit, app: str, scored: dict[str, str]
) -> None:
    """The first view is the server's; the script says the same."""
    assert "clips: too few to say" in visit.open(app).locator("#facts ~ dl").inner_text()
    page = visit.open(scored["clip.mp4"])
    assert set(page.locator(".word").all_text_contents()) == {"UNDECIDED"}
    assert "No score of this model decides" in page.locator(".verdict").inner_text()
    assert page.locator(".fake, .real").count() == 0


def test_the_page_answers_the_threshold_at_once(visit: Visit, scored: dict[str, str]) -> None:
    page = visit.open(scored["clip.mp4"])
    page.wait_for_load_state("networkidle")
    took = page.evaluate(
        """async () => {
          const slider = document.getElementById("threshold"), took = [];
          for (let step = 0; step < 20; step++) {
            const start = performance.now();
            slider.value = step / 20;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            took.push(performance.now() - start);
          }
          return took;
        }"""
    )
    assert median(took) < MAX_REACTION_MS  # others may be busy on the machine


def test_a_clip_has_a_curve_frames_and_downloads(visit: Visit, app: str, clip: bytes) -> None:
    page = upload(visit, app, "clip.mp4", clip)
    assert page.locator("#plot circle").count() == 10
    before = page.locator("#threshold-line").get_attribute("y1")
    page.get_by_label("Threshold").fill("0.9")
    assert page.locator("#threshold-line").get_attribute("y1") != before
    page.get_by_role("button", name="Frame at").nth(3).click()
    assert page.locator("#view-3").is_visible()
    assert not page.locator("#view-0").is_visible()
    assert len(json.loads(downloaded(page, "Prediction (JSON)"))["faces"]) == 10
    assert downloaded(page, "Crops (ZIP)")[:2] == b"PK"
    page.get_by_role("link", name="Annotated clip").wait_for(timeout=120 * SECONDS)
    assert downloaded(page, "Annotated clip")[4:8] == b"ftyp"


def test_a_hostile_name_is_text(visit: Visit, app: str) -> None:
    page = upload(visit, app, HOSTILE, png(astronaut()))
    shown = page.get_by_role("heading", level=1).inner_text()
    assert shown.startswith("<img src=x onerror=alert(1)>")
    assert page.locator("img[src=x]").count() == 0


def test_no_face_and_a_broken_clip_are_messages(visit: Visit, app: str, clip: bytes) -> None:
    page = upload(visit, app, "grass.png", png(camera()[300:]))
    assert page.get_by_role("heading", name="No face found").is_visible()
    page = upload(visit, app, "broken.mp4", clip[:3000])
    assert "broken.mp4" in page.locator(".notice .problem").inner_text()


def test_a_file_that_is_too_large_is_not_sent(visit: Visit, app: str) -> None:
    page = visit.open(app)
    file = {"name": "large.mp4", "mimeType": "video/mp4", "buffer": b"x" * 5_000_001}
    page.locator("input[type=file]").set_input_files(file)
    assert "at most 5 MB" in page.get_by_role("alert").inner_text()
    assert page.get_by_role("button", name="Score the faces").is_disabled()


def test_every_page_is_accessible(
    visit: Visit, scheme: str, app: str, scored: dict[str, str]
) -> None:
    for place in (app, *scored.values()):
        visit.open(place)
        assert visit.accessibility_faults() == []


def test_nothing_is_wider_than_a_phone(visit: Visit, app: str, scored: dict[str, str]) -> None:
    visit.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    for place in (app, *scored.values()):
        page = visit.open(place)
        assert page.evaluate("document.documentElement.scrollWidth") == NARROW[0]
