"""The browser harness sees what it is there to see: outside requests, errors, faults."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.browser.conftest import Visit


def test_an_outside_request_is_blocked_and_counted(visit: Visit, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="http://example.org/a.png" alt="">')
    visit.open(page)
    assert visit.outside == ["http://example.org/a.png"]
    visit.outside.clear()
    visit.errors.clear()


def test_errors_on_the_console_are_collected(visit: Visit, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('said'); throw new Error('thrown')</script>")
    visit.open(page)
    assert visit.errors == ["said", "thrown"]
    visit.errors.clear()


def test_an_image_without_a_text_is_an_accessibility_fault(visit: Visit, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<html lang="en"><title>t</title><main><img src="data:,"></main>')
    visit.open(page)
    assert [fault.split(":")[0] for fault in visit.accessibility_faults()] == ["image-alt"]


def test_the_script_says_what_is_missing_where_it_cannot_install_it(tmp_path: Path) -> None:
    for name in ("bash", "env", "id"):
        os.symlink(str(shutil.which(name)), tmp_path / name)
    script = Path(__file__).resolve().parents[2] / "scripts" / "debian"
    done = subprocess.run([script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    advice = "sudo apt-get install chromium strace ffmpeg"
    assert done.stderr == f"chromium, strace or ffprobe is missing: {advice}\n"
