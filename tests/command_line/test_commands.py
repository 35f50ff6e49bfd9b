"""The command line as a whole: help, speed of help, exit codes, one-line error messages."""

import re
import resource
import signal
import subprocess
import sys
from configparser import ConfigParser
from functools import partial
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner

from cli import main
from tests.readme import commands

HEAVY = (
    "tensorflow",
    "keras",
    "cv2",
    "dlib",
    "pyarrow",
    "pandas",
    "sklearn",
    "skimage",
    "av",
    "ray",
)
ORDER = [
    *("extract", "balance", "shard", "fit"),
    *("sample", "import", "gather", "identify", "split", "export"),
    "recipe",
    "rebuild",
    *("summary", "audit", "probe", "verify", "report"),
    *("evaluate", "compare", "predict", "app"),
]


def test_commands_are_listed_in_the_order_of_the_pipeline() -> None:
    assert main.list_commands(Context(main)) == ORDER


@pytest.mark.parametrize("typed", commands())
def test_every_command_has_an_example(typed: str) -> None:
    text = commands()[typed].get_help()
    assert "Example:" in text
    assert f"\n    {typed} " in text


@pytest.mark.parametrize("words", [[], ["export"]])
def test_every_command_is_in_a_section_and_no_summary_is_cut(words: list[str]) -> None:
    text = CliRunner().invoke(main, [*words, "--help"], terminal_width=60).output
    shown = re.findall(r"^  (\w+) {2,}[A-Z]", text, re.MULTILINE)
    exports = {"deepfakebench", "webdataset", "huggingface"}
    assert set(shown) == (
        exports
        if words
        else {"fit", "evaluate", "compare", "predict", "app", "probe", *main.commands}
    )
    assert "..." not in text.partition("Options:")[2]


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in ORDER)])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom cli import main\nmain(sys.argv[1:], standalone_mode=False)\n"
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("heavy: []\n")


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "nowhere"],
        ["import", "nowhere", "nothing.csv"],
        ["summary", "nowhere"],
        ["balance", "nowhere"],
        ["split", "nowhere"],
        ["shard", "nowhere"],
        ["audit", "nowhere"],
        ["verify", "nowhere"],
        ["report", "nowhere"],
        ["compare", "nowhere", "runs/a"],
    ],
    ids=lambda words: words[0],
)
def test_a_wrong_path_is_an_error_message_and_exit_code_1(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    *before, told = done.stderr.splitlines()
    assert before == (["reading nowhere"] if words[0] == "extract" else [])
    assert told.startswith("error: expected ")
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir()), "a partial output was left"


def test_the_list_of_commands_imports_no_training() -> None:
    code = "import sys, cli; cli.main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    listed = done.stdout
    assert all(f"\n  {name} " in listed for name in ORDER)
    assert "training" not in listed.splitlines()[-1]


def test_usage_is_exit_code_2() -> None:
    for words in (["--no-such-option"], ["unknown"], ["sample"], ["extract", "--frames", "0"]):
        assert CliRunner().invoke(main, words).exit_code == 2


def test_the_console_script_is_the_entry_point() -> None:
    config = ConfigParser()
    config.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"].split()
    assert scripts == ["dfdc-prep", "=", "dfdc_prep.__main__:main"]


def test_version_option() -> None:
    done = CliRunner().invoke(main, ["--version"])
    assert done.exit_code == 0
    assert "version" in done.output


@pytest.mark.parametrize(
    ("kind", "limit", "said"),
    [
        (resource.RLIMIT_NOFILE, 31, "expected at least 32 open files"),
        (resource.RLIMIT_DATA, 900 << 20, "expected at least 1024 MB of memory"),
    ],
)
def test_a_limit_that_is_too_low_is_an_error_message(kind: int, limit: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "verify", "shards"],
        capture_output=True,
        text=True,
        preexec_fn=partial(resource.setrlimit, kind, (limit, limit)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "ask",
    [
        "import numpy; numpy.empty(1 << 50)",
        "import tensorflow; tensorflow.zeros([1 << 45])",
        "import jax.numpy; jax.numpy.zeros(1 << 45).block_until_ready()",
    ],
)
def test_out_of_memory_is_an_error_message(ask: str) -> None:
    script = f"""
from dfdc_prep.commands.terminal import reporting_errors
with reporting_errors():
    {ask}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: expected more memory than")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["command", "callback", "end"])
def test_an_interrupt_ends_a_command_wherever_it_falls(where: str) -> None:
    interrupted = f"""
import gc, signal, sys, time
from dfdc_prep.commands.terminal import reporting_errors
def callback(*_): signal.raise_signal(signal.SIGTERM)
with reporting_errors():
    if "{where}" == "callback":
        gc.callbacks.append(callback)
        gc.collect(0)
        gc.callbacks.clear()
    elif "{where}" == "command":
        signal.raise_signal(signal.SIGTERM)
    if "{where}" != "end":
        time.sleep(30)
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True)
    said = "" if where == "end" else "interrupted: run the same command again to resume\n"
    assert done.stderr == said
    assert done.returncode == (-signal.SIGINT if where == "end" else 130)


@pytest.mark.parametrize("words", [["fit", "no"], ["evaluate", "no"], ["predict", "no", "x.jpg"]])
def test_a_missing_input_is_told_before_tensorflow_is_imported(
    words: list[str], tmp_path: Path
) -> None:
    code = (
        "import sys, cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, *({'tensorflow', 'keras', 'sklearn'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert re.fullmatch(r"error: expected .* in no, found .*\n", done.stderr)


def test_the_notes_of_tensorflow_are_dropped_and_nothing_else() -> None:
    code = (
        "import sys\nfrom training import without_startup_notes\n"
        "with without_startup_notes():\n    import tensorflow\n"
        "    print('a warning', file=sys.stderr)\n"
        "print('after', file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "a warning\nafter\n"
