"""Tables on a terminal, plain text in a pipe, and the line about the report."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_prep.commands.terminal import echo_parts, report_hint
from manifests.result import TextTable


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_the_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    echo_parts("plain", [TextTable(("a",), [(1,)])])
    assert capsys.readouterr().out == "plain\n"


def test_a_terminal_gets_tables_with_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    echo_parts(
        "plain", ["[bold]line\x1b]0;title", TextTable(("name", "n"), [("[red]x\x07", 1234)])]
    )
    printed = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "[bold]line\\x1b]0;title" in printed
    assert "[red]x\\x07" in printed
    assert "1,234" in printed
    assert "plain" not in printed


def test_a_command_draws_its_table_on_a_real_terminal(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("video,label,original\na.mp4,REAL,\nb.mp4,FAKE,a.mp4\n")
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "cli", "summary", str(table)], stdout=slave, check=True
    )
    os.close(slave)
    printed = os.read(master, 100_000).decode()
    os.close(master)
    assert done.returncode == 0
    assert "─" in printed
    assert "REAL: 1 crop of 1 clip" in printed


def test_the_hint_names_the_page_or_the_command_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "my faces"
    folder.mkdir()
    assert report_hint(folder) == f"for a report to look at: dfdc-prep report '{folder}'"
    (folder / "report.html").touch()
    assert report_hint(folder) == f"report: {folder / 'report.html'}"
