"""Values that the parameter types reject before a command runs."""

from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner

from cli import main
from dfdc_prep.commands.options import MAX_COUNT
from tests.bare_tables import write
from training.evaluate import main as evaluate
from training.fit import main as fit


@pytest.mark.parametrize(("name", "completes"), [("source", True), ("slice", False)])
def test_a_shell_completes_paths(name: str, completes: bool) -> None:
    extract = main.get_command(Context(main), "extract")
    parameter = next(each for each in extract.params if each.name == name)
    items = parameter.type.shell_complete(Context(extract), parameter, "dat")
    assert [(item.value, item.type) for item in items] == [("dat", "file")] * completes


@pytest.mark.parametrize("command", ["balance", "split", "shard", "sample", "fit"])
@pytest.mark.parametrize("seed", ["-1", str(2**32), "1" + "0" * 400])
def test_a_seed_out_of_range(tmp_path: Path, command: str, seed: str) -> None:
    words = [command, str(tmp_path / "x"), "--seed", seed]
    done = CliRunner().invoke(*((fit, words[1:]) if command == "fit" else (main, words)))
    assert done.exit_code == 2
    assert "Invalid value for '--seed'" in done.stderr


@pytest.mark.parametrize("count", ["0", str(MAX_COUNT + 1), "1" + "0" * 400])
def test_a_count_out_of_range(tmp_path: Path, count: str) -> None:
    table = write(tmp_path, "videoname,label,original\na,REAL,\nb,FAKE,a\n")
    for option in ("--per-class", "--frames-per-clip"):
        done = CliRunner().invoke(main, ["balance", str(table), option, count])
        assert done.exit_code == 2
        assert f"Invalid value for '{option}'" in done.stderr


def test_the_largest_seed_and_count(tmp_path: Path) -> None:
    table = write(tmp_path, "videoname,label,original\na,REAL,\nb,FAKE,a\n")
    out = tmp_path / "balanced.csv"
    words = ["balance", str(table), "--seed", str(2**32 - 1), "--frames-per-clip", str(MAX_COUNT)]
    assert CliRunner().invoke(main, [*words, "--out", str(out)]).exit_code == 0
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize("out", ["", ".", "..", "table", "x.CSV", "folder.csv"])
def test_an_out_that_is_not_a_table_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    write(tmp_path, "videoname,label,original\na,REAL,\nb,FAKE,a\n")
    for command in ("balance", "split"):
        done = CliRunner().invoke(main, [command, "table.csv", "--out", out])
        assert done.exit_code == 2
        assert "Invalid value for '--out'" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "folder.csv"}


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff"])
@pytest.mark.parametrize("command", ["summary", "audit", "verify", "sample", "extract", "shard"])
def test_an_invalid_path(name: str, command: str) -> None:
    done = CliRunner().invoke(main, [command, name])
    assert done.exit_code == 2
    assert "expected a path" in done.stderr


def test_text_that_is_not_utf8() -> None:
    calls = [
        (main, "split", "--group-by"),
        (main, "shard", "--split"),
        (evaluate, "run", "--split"),
    ]
    for command, first, option in [*calls, (fit, "shards", "--weights")]:
        done = CliRunner().invoke(command, [first, option, "\udcff"])
        assert done.exit_code == 2
        assert "expected text in UTF-8, found '\\udcff'" in done.stderr


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_not_finite(number: str) -> None:
    calls = [(main, "extract", "--margin"), (main, "extract", "--timeout")]
    for command, first, option in [*calls, (fit, "shards", "--learning-rate")]:
        done = CliRunner().invoke(command, [first, option, number])
        assert done.exit_code == 2
        assert f"Invalid value for '{option}'" in done.stderr
