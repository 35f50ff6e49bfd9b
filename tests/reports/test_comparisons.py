"""The page of what `compare` wrote, and the names of evaluations."""

import re
import shutil
from pathlib import Path

import pytest

import dfdc_prep
from dfdc_prep.errors import DfdcPrepError
from dfdc_prep.reports.charts import MOST_LINES
from dfdc_prep.reports.compared import Comparison
from dfdc_prep.run_files import RunFiles
from tests.reports.folders import HOSTILE, comparison_folder, run_folder
from tests.reports.test_folders import text_of


def test_a_comparison_shows_its_tables(tmp_path: Path) -> None:
    folder = comparison_folder(tmp_path / "found")
    text = text_of(folder)
    other = "model 1"
    assert f"ROC-AUC of {HOSTILE} less that of {other}: +0.200 (95 % interval 0.050 to " in text
    assert "0.400), p after Holm 0.0300: more than chance." in text
    assert f"{other} 53 of 54 0.750 (0.600-0.875)" in text
    assert f"{HOSTILE} {other} ROC-AUC +0.200 0.050 to 0.400 0.0100 0.0300" in text
    assert f"{HOSTILE} accuracy 3 0.800 0.020 0.700 0.900" in text
    assert f"{HOSTILE} 25.0 % 22.5 % 20.0 % 17.5 % 15.0 % 12.5 %" in text
    assert f"{HOSTILE} light dark FAKE called right 0.700 too few 20 34 18" in text
    assert f"{HOSTILE} light ROC-AUC dark bright -0.100 0.050 to 0.400 0.0100 0.0300 4" in text
    html = (folder / "report.html").read_text()
    assert '<p class="warning">Clips without a score count as-chance.</p>' in html
    assert "share called wrong" in html
    assert dfdc_prep.report(folder).kind == "comparison"


def test_a_comparison_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = Comparison.read(comparison_folder(tmp_path / "found", models=3))
    found.write(tmp_path)
    for path in (tmp_path / "found").glob("*.csv"):
        assert path.name == "cross.csv" or path.read_bytes() == (tmp_path / path.name).read_bytes()
    assert len(found.measures) == 36


def test_a_comparison_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    folder = comparison_folder(tmp_path / "found")
    first = dfdc_prep.report(folder).out.read_bytes()
    assert dfdc_prep.report(folder, out=tmp_path / "again.html").out.read_bytes() == first


def test_many_models_are_counted_and_none_vanishes_from_the_tables(tmp_path: Path) -> None:
    models = MOST_LINES + 2
    text = text_of(comparison_folder(tmp_path / "found", models))
    pairs = models * (models - 1) // 2
    assert f"Of {pairs} pairs of models, {pairs} differ in ROC-AUC by more than chance" in text
    assert "2 models more in the table." in text
    assert f"model {models - 1} 25.0 % 22.5 %" in text


def test_a_run_that_was_compared_shows_it_too(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    for path in comparison_folder(tmp_path / "found").glob("*.csv"):
        shutil.copy(path, run)
    text = text_of(run)
    assert "Run: run" in text
    assert "Differences between two models" in text


def test_a_broken_table_of_a_comparison_is_an_error_of_one_line(tmp_path: Path) -> None:
    folder = comparison_folder(tmp_path / "found")
    (folder / "gaps.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DfdcPrepError, match=r"^expected a gaps.csv of dfdc-prep compare [^\n]*$"):
        dfdc_prep.report(folder)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/v1.3", "v1.3"),
        ("runs/v1.3/evaluations/celeb-test", "v1.3-celeb-test"),
        ("evaluations/resnet/celeb-test", "resnet-celeb-test"),
        ("out/beside/b4/celeb-test", "b4-celeb-test"),
        ("out/celeb-test", "celeb-test"),
    ],
)
def test_an_evaluation_is_called_after_its_model_too(path: str, name: str) -> None:
    assert RunFiles(Path(path)).name == name


def test_evaluations_of_one_name_in_two_runs_have_pages_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third = (
        run_folder(tmp_path / "runs" / name / "evaluations" / "celeb-test") for name in "abc"
    )
    pages = [dfdc_prep.report(first, other).out for other in (second, third)]
    assert [str(page) for page in pages] == [
        "a-celeb-test-b-celeb-test.report.html",
        "a-celeb-test-c-celeb-test.report.html",
    ]
    assert re.search("a-celeb-test.*b-celeb-test", pages[0].read_text())
