"""Progress: a bar that fits its terminal, and a line every half minute without a terminal."""

import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from dfdc_prep import progress
from dfdc_prep.progress import Progress


def test_off_a_terminal_lines_tell_done_total_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 4.0, 10.0, 39.0, 40.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))
    with Progress(119_154, "clips", "extract", done=100) as bar:
        for _ in range(4):
            bar.set_postfix(failed=1, refresh=False)
            bar.update(250)
    assert capsys.readouterr().err.splitlines() == [
        "extract: 600 of 119154 clips, 1 %, 39:31 left, 50.00 clips/s, failed=1",
        "extract: 1100 of 119154 clips, 1 %, 1:18:42 left, 25.00 clips/s, failed=1",
    ]


def test_less_than_one_a_second_is_told_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 20.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))
    with Progress(10, "clips", "sample") as bar:
        bar.update()
    assert capsys.readouterr().err == "sample: 1 of 10 clips, 10 %, 03:00 left,  0.05 clips/s\n"


def test_an_unknown_total_is_told_without_a_share(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    with Progress(None, "records", "verify") as bar:
        bar.update(3)
    line = capsys.readouterr().err
    assert line.startswith("verify: 3 records, ")
    assert "%" not in line


def test_a_log_that_cannot_be_written_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    with open("/dev/full", "w", buffering=1) as full, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", full)
        with Progress(2, "clips", "extract") as bar:
            assert bar.update()
        with suppress(OSError):
            full.close()


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, "clips", "extract") as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_a_bar_fits_its_terminal_and_shows_the_time_left(columns: int, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import time\nfrom dfdc_prep.progress import Progress\n"
        "with Progress(17920, 'images', 'epoch 12/20') as bar:\n"
        "    for _ in range(4):\n"
        "        time.sleep(0.15)\n"
        "        bar.set_postfix({'loss': '0.1234', 'accuracy': '0.9876'}, refresh=False)\n"
        "        bar.update(320)\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    env = {**os.environ, "COLUMNS": str(columns)}
    subprocess.run([sys.executable, script], stderr=theirs, env=env, check=True, timeout=60)
    text = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)
    shown = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(map(len, shown)) <= columns
    assert re.search(r"12/20: .*1280/17920, [\d:]+ left, [\d.]+ ", shown[-1])
    assert (chr(0x2588) in "".join(shown) or "|" in shown[-1]) == (columns >= 80)
