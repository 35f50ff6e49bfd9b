"""Progress: a bar that fits its terminal, and a line every half minute without a terminal."""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dfdc_prep import progress
from dfdc_prep.progress import Progress


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines ten times a second."""
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.1)
    monkeypatch.setattr(progress, "LINES_S", 0.1)


def lines_of(bar: Progress, capsys: pytest.CaptureFixture[str], count: int = 1) -> list[str]:
    """The lines that a bar has written, once there are so many."""
    lines: list[str] = []
    for _ in range(100):
        time.sleep(0.1)
        lines += capsys.readouterr().err.splitlines()
        if len(lines) >= count:
            break
    bar.close()
    return lines


@pytest.mark.usefixtures("hurried")
def test_off_a_terminal_lines_tell_done_total_rate_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = Progress(119_154, "clips", "extract", done=100)
    bar.set_postfix(failed=1, refresh=False)
    bar.update(250)
    line = lines_of(bar, capsys)[-1]
    assert re.fullmatch(
        r"extract: 350 of 119154 clips, 0 %, [\d:]+ left, [\d.]+ clips/s, failed=1", line
    )


@pytest.mark.usefixtures("hurried")
def test_lines_come_while_the_first_thing_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(Progress(14, "clips", "extract"), capsys, 2)
    assert len(lines) >= 2
    assert lines[0].startswith("extract: 0 of 14 clips, 0 %, ? left, ")


@pytest.mark.usefixtures("hurried")
def test_less_than_one_a_second_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress(10, "clips", "sample")
    bar._started -= 20
    bar.update()
    line = lines_of(bar, capsys)[-1]
    assert re.fullmatch(r"sample: 1 of 10 clips, 10 %, 0[23]:\d\d left,  0.0[45] clips/s", line)


@pytest.mark.usefixtures("hurried")
def test_an_unknown_total_is_told_without_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress(None, "records", "verify")
    bar.update(3)
    line = lines_of(bar, capsys)[-1]
    assert line.startswith("verify: 3 records, ")
    assert "%" not in line


@pytest.mark.usefixtures("hurried")
def test_a_log_that_cannot_be_written_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", full)
        with Progress(2, "clips", "extract") as bar:
            time.sleep(0.3)
            bar.update()
            told = [thread for thread in threading.enumerate() if thread.name == "progress"]
            assert told
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
