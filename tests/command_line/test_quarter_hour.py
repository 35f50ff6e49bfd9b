"""The script for a machine that is there for a quarter of an hour survives what its steps do."""

import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu.quarter_hour import Step, run_steps, steps_for


def step(name, code, limit=30.0, **further):
    return Step(name, (sys.executable, "-c", code), limit, **further)


#: Starts a process of its own, writes its number and waits.
HANGS = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
open({path!r}, "w").write(str(child.pid))
child.wait()
"""


def test_the_table_has_every_row_whatever_a_step_does(tmp_path):
    steps = [
        step("good", "print('said'); print('{\"rate\": \"3\"}')", text=lambda found: found["rate"]),
        step("fails", "raise SystemExit('no such card')"),
        step("hangs", HANGS.format(path=str(tmp_path / "pid")), limit=3.0),
        step("missing", "print('{}')", needs=("no_such_module",)),
        step("silent", "pass"),
        step("last", "print('{}')"),
    ]  # fmt: skip
    out = tmp_path / "out"
    table = run_steps(steps, out, minutes=5, device="none")
    rows = [line.split(" | ")[:2] for line in table.splitlines()[4:]]
    assert rows == [
        ["| good", "3"],
        ["| fails", "not measured: failed: no such card"],
        ["| hangs", "not measured: ran over 3 s"],
        ["| missing", "not measured: no_such_module not installed"],
        ["| silent", "not measured: printed no figures"],
        ["| last", "{}"],
    ]
    assert (out / "table.md").read_text() == table
    # What the step had started is gone, or a zombie that nobody has waited for.
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or " Z " in state.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"process {pid} goes on")


def test_the_table_is_whole_after_each_step(tmp_path):
    look = f"import json; print(json.dumps(open({str(tmp_path / 'table.md')!r}).read()))"
    found = run_steps(
        [
            step("first", "print('{}')"),
            step("second", look, text=lambda found: "seen"),
            step("third", "print('{}')"),
        ],
        tmp_path, 5, "none",
    )  # fmt: skip
    seen = json.loads((tmp_path / "measured.json").read_text())["results"]["second"]["found"]
    assert [row.split(" | ")[0] for row in seen.splitlines()[4:]] == [
        "| first",
        "| second",
        "| third",
    ]
    assert seen.count("not yet") == 2
    assert "not yet" not in found


def test_no_step_begins_when_the_time_is_over_and_the_same_command_goes_on(tmp_path):
    steps = [step("one", "print(1)"), step("two", "print(2)")]
    assert run_steps(steps[:1], tmp_path, 5, "none").count("not measured") == 0
    assert run_steps(steps, tmp_path, 0, "none").count("not measured: no time left") == 1
    before = (tmp_path / "measured.json").stat().st_mtime_ns
    table = run_steps([step("one", "raise SystemExit(1)"), steps[1]], tmp_path, 5, "none")
    assert "not measured" not in table
    assert (tmp_path / "measured.json").stat().st_mtime_ns > before


def test_figures_of_another_machine_are_measured_again(tmp_path):
    run_steps([step("one", "print(1)")], tmp_path, 5, "a card")
    table = run_steps([step("one", "raise SystemExit(1)")], tmp_path, 5, "another card")
    assert "| one | not measured: failed" in table


def test_ours_is_divided_by_timms(tmp_path):
    rates = [step("ours, batch 64", 'print(\'{"later": 30}\')'),
             step("timm compiled, batch 64", 'print(\'{"later": 20}\')')]  # fmt: skip
    assert "| ours, batch 64 / timm compiled | 1.50 |" in run_steps(rates, tmp_path, 5, "none")


@pytest.mark.parametrize("rehearse", [True, False])
def test_the_steps_have_names_of_their_own(tmp_path, rehearse):
    steps = steps_for(tmp_path, tmp_path, tmp_path, rehearse=rehearse)
    assert len({each.name for each in steps}) == len(steps)
    assert steps[0].name == "Enter to the first step, first time"
