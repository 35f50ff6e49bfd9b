"""The table commands, run through the command line."""

import importlib
import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cli import main
from tests.bare_tables import write
from tests.crop_sets import make_faces


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_the_real_csv_from_balance_to_audit(real_csv: Path, tmp_path: Path) -> None:
    balanced, split = tmp_path / "balanced.csv", tmp_path / "split.csv"
    assert "16,000 FAKE crops" in call("balance", real_csv, "--out", balanced).output
    output = call("split", balanced, "--out", split).output
    assert re.search("test +3,200 +3,200 +3,200 +3,200\nthe splits are alike in kind", output)
    assert "\npictures: not compared" in output
    assert "\nfamilies: known of every FAKE clip\nno family is in two splits\n" in output
    found = call("audit", split)
    assert found.exit_code == 0
    assert found.output.startswith("no leak found: compared families; not compared: files, ")
    call("split", balanced, "--group-by", "none", "--out", split)
    leaking = call("audit", split, "--json")
    assert leaking.exit_code == 3
    assert json.loads(leaking.output)["verdict"] == "leaks"


def test_a_faces_folder_from_balance_to_audit(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", fakes=2)
    (faces / "balanced.parquet").rename(faces / "manifest.parquet")
    assert "REAL: 12 crops of 12 clips" in call("summary", faces).output
    assert "written to" in call("balance", faces).output
    assert re.search("fit +6 +6", call("split", faces, "--split", "fit=50/test=50").output)
    found = call("audit", faces)
    assert found.exit_code == 0
    assert found.output.startswith("no leak found: compared families, files, near-identical images")
    assert "files: none shared among 24 of 24 crops\n" in found.output


def test_results_of_bare_tables_are_written_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = write(tmp_path, "videoname,label,original\na,REAL,\nb,FAKE,a\nc,REAL,\nd,FAKE,c\n")
    call("balance", table)
    call("split", "balanced.csv", "--split", "50/50")
    header, *rows = (tmp_path / "split.csv").read_text().splitlines()
    assert header == "video,label,original,family,family_source,split"
    assert len(rows) == 4


@pytest.mark.parametrize("command", ["split", "shard"])
def test_a_split_without_crops_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    faces = make_faces(tmp_path / "faces", families=2)
    done = call(command, faces)
    assert done.exit_code == 1
    assert "found none in test: families, or the groups of --group-by, are kept" in done.stderr
    assert not (faces / "split.parquet").exists()
    assert not (tmp_path / "shards").exists()
    assert call(command, faces, "--split", "50/50").exit_code == 0


@pytest.mark.parametrize(
    ("command", "table", "function"),
    [
        ("balance", "manifest.parquet", "manifests.balancing.balance.balance"),
        ("split", "balanced.parquet", "manifests.splitting.split.assign_splits"),
    ],
)
def test_a_folder_removed_during_the_run_gets_no_table_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, table: str, function: str
) -> None:
    faces = make_faces(tmp_path / "faces")
    (faces / "balanced.parquet").rename(faces / table)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    module, _, name = function.rpartition(".")
    original = getattr(importlib.import_module(module), name)

    def remove_folder_first(*values: object) -> object:
        shutil.rmtree(faces)
        return original(*values)

    monkeypatch.setattr(function, remove_folder_first)
    found = CliRunner().invoke(main, [command, str(faces)])
    assert found.exit_code == 1
    assert found.stderr.startswith("error: the system refused")
    assert list(here.iterdir()) == []
    assert not faces.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["summary", "absent"], "found nothing; run dfdc-prep extract first, or give a CSV"),
        (["balance", "."], "run dfdc-prep extract first"),
        (["split", "."], "run dfdc-prep balance first"),
        (["split", "table.csv", "--split", "a"], "as in 56/24/20"),
        (["audit", "table.csv"], "run dfdc-prep split first"),
        (["import", "absent", "table.csv"], "found none; give its path"),
        (["balance", "table.csv", "--out", "absent/x.csv"], "the system refused"),
    ],
)
def test_a_user_error_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "videoname,label,original\na,REAL,\nb,FAKE,a\n")
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 1
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert message in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("split", "split", ["audit"]),
        ("manifest", "split", ["audit"]),
        ("balanced", "camera", ["split", "--group-by", "camera"]),
        ("balanced", "camera", ["shard", "--group-by", "camera", "--split", "50/50"]),
    ],
)
def test_a_column_of_structs_is_reported_in_one_line(
    tmp_path: Path, name: str, column: str, words: list[str]
) -> None:
    faces = _faces(tmp_path, name, {column: {"a": 1}})
    found = CliRunner().invoke(main, [words[0], str(faces), *words[1:]])
    assert found.exit_code == 1
    assert found.stderr.count("\n") == 1
    assert f"in the column {column}" in found.stderr or f"in column {column}" in found.stderr
    assert "found struct<a: int64>" in found.stderr


def test_group_by_a_numeric_column(tmp_path: Path) -> None:
    faces = _faces(tmp_path, "balanced", {"camera": 7})
    words = ("split", faces, "--group-by", "camera", "--split", "all_of_it=1")
    assert re.search("all_of_it +4 +4", call(*words).output)


def test_a_duplicate_column_is_reported_in_one_line(tmp_path: Path) -> None:
    faces = _faces(tmp_path, "balanced", {"split": "train"}, {"split": "test"})
    found = CliRunner().invoke(main, ["split", str(faces)])
    assert found.exit_code == 1
    assert found.stderr.startswith("error: expected each column once in ")
    assert "found split twice" in found.stderr


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.nulls(2), None),
        (pa.array([2**62, -1]), None),
        (pa.array([float("inf"), float("nan")]), None),
        (pa.array([True, False]), None),
        (pa.array(["12", "x"]), "string"),
        (pa.array([["a"], ["b"]]), "list<element: string>"),
        (pa.array([{"a": 1}, {"a": 2}]), "struct<a: int64>"),
        (pa.array([b"\xff", b"\xfe"]), "binary"),
    ],
)
@pytest.mark.parametrize("name", ["w", "crop_size", "original_height"])
def test_invalid_sizes(tmp_path: Path, column: pa.Array, found: str | None, name: str) -> None:
    path = tmp_path / "table.parquet"
    table = pa.table({"video": ["a", "b"], "label": ["REAL", "FAKE"], "w": [7, 8], "h": [9, 9]})
    if name in table.column_names:
        table = table.drop_columns([name])
    pq.write_table(table.append_column(name, column), path)
    done = CliRunner().invoke(main, ["summary", str(path), "--json"])
    if found is None:
        assert json.loads(done.stdout, parse_constant=pytest.fail)["classes"]["FAKE"] == 1
    else:
        assert done.exit_code == 1
        assert done.stderr.startswith(f"error: expected numbers in the column {name}, ")
        assert found in done.stderr


@pytest.mark.parametrize("bare", [True, False])
def test_invalid_utf8_is_reported_in_one_line(tmp_path: Path, bare: bool) -> None:
    faces = _faces(tmp_path, "balanced", {"camera": "x"})
    path = faces / "balanced.parquet"
    table = pq.read_table(path)
    broken = pa.array([b"\xff\xfe"] * table.num_rows).cast(pa.string(), safe=False)
    pq.write_table(table.drop_columns(["camera"]).append_column("camera", broken), path)
    out = tmp_path / "split.csv"
    done = CliRunner().invoke(main, ["split", str(path if bare else faces), "--out", str(out)])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: expected ")
    assert "Invalid UTF8" in done.stderr
    assert not out.exists()


def _faces(folder: Path, name: str, *columns: dict[str, object]) -> Path:
    """Make a faces folder whose table `name` has further columns, each with one value."""
    faces = make_faces(folder / "faces", families=4)
    table = pq.read_table(faces / "balanced.parquet")
    for column in columns:
        for key, value in column.items():
            table = table.append_column(key, pa.array([value] * table.num_rows))
    pq.write_table(table, faces / f"{name}.parquet")
    return faces


def test_frames_in_folders_of_clips_from_summary_to_audit(tmp_path: Path) -> None:
    clips = [(label, f"{n:03}") for label in ("real", "fake") for n in range(20)]
    rows = [f"{label}/{clip}/{frame}.png,{label}" for label, clip in clips for frame in range(5)]
    table = write(tmp_path, "\n".join(["path,label", *rows]) + "\n")
    said = "40 clips, read by the folders of the images: real/000/0.png is of 000"
    summary = call("summary", table, "--json")
    assert json.loads(summary.output)["notes"] == [said]
    assert json.loads(summary.output)["clips"] == {"REAL": 20, "FAKE": 20}
    assert said in call("balance", table, "--out", tmp_path / "balanced.csv").output
    split = tmp_path / "split.csv"
    assert "40 clips" in call("split", tmp_path / "balanced.csv", "--out", split).output
    assert json.loads(call("audit", split, "--json").output)["crossing"]["clips"] == [0, 40]
    call("split", table, "--group-by", "none", "--out", split)
    found = call("audit", split)
    assert found.exit_code == 3
    assert " of 40 clips\n" in found.output


def test_labels_the_other_way_round_are_refused(tmp_path: Path) -> None:
    rows = [f"{n:05}.mp4,{n % 2},{('fake', 'real')[n % 2]}" for n in range(20)]
    table = write(tmp_path, "\n".join(["video,label,label_str", *rows]) + "\n")
    for command in ("summary", "balance", "split", "audit"):
        found = CliRunner().invoke(main, [command, str(table)])
        assert found.exit_code == 1
        assert "where the column label_str says FAKE, in 20 of 20 rows" in found.stderr
    out = tmp_path / "balanced.csv"
    assert "1 is REAL" in call("balance", table, "--real-is", "1", "--out", out).output
    labels = dict(line.split(",")[1:3] for line in out.read_text().splitlines()[1:])
    assert labels == {"FAKE": "fake", "REAL": "real"}
