"""`dfdc-prep compare`: runs and tables on one split, seeds, coverage, groups."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard
from scipy.stats import norm
from sklearn import metrics as sk

from benchmarks.paired import drawn
from cli import main
from dfdc_prep.run_files import (
    COMPARISON_FILES,
    CropSettings,
    FitConfig,
    RunConfig,
    RunFiles,
    ShardsConfig,
)
from manifests.files import write_json
from tests.evaluation.conftest import make_results, make_shards, scores_of
from training.evaluation.attributes import attribute_rows
from training.evaluation.text import write_card
from training.measures.predictions import Level
from training.recipes import choose_recipe


@pytest.fixture
def compared(shards, results, tmp_path, monkeypatch):
    """Runs the command in a folder of its own; returns the result."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object):
        return CliRunner().invoke(main, ["compare", str(shards), *map(str, words)])

    return run


def table_of(folder: Path, drop: int = 0) -> Path:
    """The scores of a run as a CSV, without some clips."""
    scores = list(scores_of(folder).items())[drop:]
    path = Path(f"{folder.name}.csv")
    pd.DataFrame(scores, columns=["clip", "score"]).to_csv(path, index=False)
    return path


def test_a_run_and_its_scores_as_a_table_are_the_same(compared, results):
    done = compared(results["good"], table_of(results["good"]), "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["differences"]
    assert [row["difference"] for row in rows] == pytest.approx([0, 0], abs=1e-12)
    files = RunFiles(Path("evaluations/comparison"))
    assert {row.p for row in files.comparison("comparison.csv")} == {1}
    assert sorted(p.name for p in (files.folder / "scores").iterdir()) == [
        "good.csv.scores.csv", "good.csv.scores.parquet", "good.scores.csv", "good.scores.parquet",
    ]  # fmt: skip


def test_the_figures_are_scikit_learns_on_the_clips(compared, results):
    done = compared(results["good"], results["weak"])
    assert done.exit_code == 0, done.output
    values = {(row.model, row.measure): row.value for row in
              RunFiles(Path("evaluations/comparison")).cross()}  # fmt: skip
    aucs = []
    for name, folder in results.items():
        scores = scores_of(folder)
        labels = [not video.startswith("r") for video in scores]
        aucs.append(sk.roc_auc_score(labels, list(scores.values())))
        assert values[name, "auc"] == pytest.approx(aucs[-1], abs=1e-9)
        brier = sk.brier_score_loss(labels, list(scores.values()))
        assert values[name, "brier"] == pytest.approx(brier, abs=1e-9)
    (row, _) = RunFiles(Path("evaluations/comparison")).comparison("comparison.csv")
    assert row.difference == pytest.approx(aucs[0] - aucs[1], abs=1e-9)
    assert row.low < row.difference < row.high
    assert row.p == row.p_holm
    assert row.p_delong is None
    assert "DeLong: not given: rows share families" in done.stdout
    assert (Path("evaluations/comparison/report.txt")).read_text() == done.stdout


def test_skipped_clips_are_told_and_do_not_vanish(compared, results):
    table = table_of(results["good"], drop=5)
    done = compared(results["good"], table)
    assert "49 of 54" in done.stdout
    assert "count as-chance (good: 54 ok; good.csv: 49 ok, 5 missing)" in done.stdout
    done = compared(results["good"], table, "--missing", "left-out")
    assert "count left-out: 49 clips that every model scored are compared" in done.stdout
    assert "+0.000" in done.stdout
    done = compared(table, "--min-coverage", 0.95)
    assert done.exit_code == 1
    assert "expected scores for at least 95 % of the clips in good.csv, found 90.7 %" in done.stderr
    done = compared(table, "--min-coverage", 0.9)
    assert "Every model scored at least 90 % of the clips" in done.stdout


def test_rows_of_other_splits_are_counted(compared, results):
    table = table_of(results["good"])
    rows = pd.read_csv(table)
    others = pd.DataFrame({"clip": ["a003.mp4", "r007", "part_1/b011.mp4"], "score": 0.5})
    pd.concat([rows, others]).to_csv(table, index=False)
    done = compared(table)
    said = "good.csv: 54 rows of clips of this split, 3 of other splits, left out, and 0 of unknown"
    assert said in done.stdout
    (row,) = RunFiles(Path("evaluations/comparison")).comparison("coverage.csv")
    assert (row.ok, row.missing, row.elsewhere, row.counted_as) == (54, 0, 3, "as-chance")


def recipe_run(folder: Path, shards: Path, seed: int, epochs: int = 3) -> Path:
    """A finished run with its config.json."""
    data = ShardsConfig("", {}, CropSettings(None, None), {})
    options = FitConfig("none", None, "float32", seed)
    recipe = choose_recipe("v1.3", {"epochs": epochs})
    make_results(folder, shards, 1.5, seed)
    config = RunConfig(recipe, options, data, str(shards), [], "CPU", {})
    write_json(RunFiles(folder).config_file, asdict(config))
    return folder


def test_runs_that_differ_in_their_seed_are_one_row(compared, results, shards, tmp_path):
    runs = [recipe_run(tmp_path / f"s{seed}", shards, seed) for seed in (1, 2, 3)]
    other = recipe_run(tmp_path / "longer", shards, 1, epochs=4)
    done = compared(*runs, other, results["weak"])
    assert done.exit_code == 0, done.output
    files = RunFiles(Path("evaluations/comparison"))
    spread = {row.measure: row for row in files.comparison("seeds.csv")}
    values = [r.value for r in files.cross() if r.measure == "auc" and r.model.startswith("s")]
    assert (spread["auc"].model, spread["auc"].runs) == ("s1 + s2 + s3", 3)
    assert spread["auc"].mean == pytest.approx(np.mean(values))
    assert spread["auc"].deviation == pytest.approx(np.std(values, ddof=1))
    ends = (spread["auc"].smallest, spread["auc"].largest)
    assert ends == pytest.approx((min(values), max(values)))
    pairs = {(row.model, row.other) for row in files.comparison("comparison.csv")}
    assert pairs == {("s1 + s2 + s3", "longer"), ("s1 + s2 + s3", "weak"), ("longer", "weak")}


def test_the_same_run_twice_is_not_two_seeds(compared, shards, tmp_path):
    run = recipe_run(tmp_path / "s1", shards, 1)
    done = compared(run, shutil.copytree(run, tmp_path / "copy"))
    assert done.exit_code == 0, done.output
    files = RunFiles(Path("evaluations/comparison"))
    assert files.comparison("seeds.csv") == []
    assert {row.difference for row in files.comparison("comparison.csv")} == {0}


def people(key: str, values: list[str], **columns: list[object]) -> Path:
    """A table of attributes."""
    path = Path("people.csv")
    pd.DataFrame({key: values, **columns}).to_csv(path, index=False)
    return path


def test_groups_by_family_have_their_own_figures(compared, results):
    families = [f"r{number:03d}.mp4" for number in range(24)]
    light = ["dark" if number % 2 else "bright" for number in range(24)]
    path = people("family", [*families, "r999.mp4"], light=[*light, "dark"])
    done = compared(results["good"], "--attributes", path)
    assert done.exit_code == 0, done.output
    scores = {n: s for n, s in scores_of(results["good"]).items() if int(n[1:4]) % 2 == 0}
    rows = RunFiles(Path("evaluations/comparison")).comparison("attributes.csv")
    (row,) = (r for r in rows if r.group == "bright" and r.measure == "auc")
    labels = [not name.startswith("r") for name in scores]
    assert row.value == pytest.approx(sk.roc_auc_score(labels, list(scores.values())), abs=1e-9)
    assert (row.real, row.fake, row.families) == (12, 24, 12)
    assert "a row for 54 of 54 clips, by family; 7 rows of it are of no family" in done.stdout
    assert "light: dark too few to say, with fewer than 10 families" in done.stdout
    assert RunFiles(Path("evaluations/comparison")).comparison("gaps.csv") == []


@pytest.mark.parametrize(("key", "shared"), [("clip", 18), ("person", 0)])
def test_the_largest_gap_is_between_groups_that_share_families_or_not(
    tmp_path, monkeypatch, key, shared
):
    monkeypatch.chdir(tmp_path)
    shards = make_shards(tmp_path / "shards", 80)
    run = make_results(tmp_path / "run", shards, 2.0)
    names = sorted(scores_of(run))
    by_clip = people(key, names, group=["b" if name[0] == "b" else "a" for name in names])
    if key == "person":
        persons = [f"p{n}" for n in range(40)]
        people(key, persons, group=["a" if n < 20 else "b" for n in range(40)])
    done = CliRunner().invoke(main, ["compare", "shards", "run", "--attributes", str(by_clip)])
    assert done.exit_code == 0, done.output
    gaps = RunFiles(Path("evaluations/comparison")).comparison("gaps.csv")
    (gap,) = (row for row in gaps if row.measure == "right_fake")
    assert gap.shared == (60 if shared else 0)
    assert gap.low < gap.difference < gap.high
    assert gap.p == gap.p_holm


@pytest.mark.parametrize("groups", [2, 6])
def test_the_interval_of_the_largest_gap_holds_for_all_pairs_of_groups(groups):
    labels, of, (logits, _) = drawn(np.random.default_rng(2), 200, 12, (1.5, 1.5))
    names = [str(family % groups) for family in of]
    where = {"set": "shards", "split": "test", "model": "run"}
    _, gaps = attribute_rows(Level(labels, logits, of), "light", names, where)
    (gap,) = (gap for gap in gaps if gap.measure == "accuracy")
    deviation = abs(gap.difference) / norm.isf(gap.p / 2)
    reach = norm.isf(0.025 / (groups * (groups - 1) / 2))
    assert 1 < (gap.high - gap.low) / 2 / (reach * deviation) < 1.2  # Student, not normal


def test_numbers_are_cut_at_their_quartiles_and_names_are_left_out(compared, results):
    names = sorted(scores_of(results["good"]))
    ages, notes = list(range(20, 20 + len(names))), [f"n{i}" for i in range(len(names))]
    path = people("clip", names, age=ages, note=notes)
    done = compared(results["good"], "--attributes", path)
    rows = RunFiles(Path("evaluations/comparison")).comparison("attributes.csv")
    assert [row.group for row in rows if row.measure == "accuracy"] == [
        "20 to 33.25",
        "33.25 to 46.5",
        "46.5 to 59.75",
        "59.75 to 73",
    ]
    assert "The column note has more than 10 values: left out." in done.stdout


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"clip": ["a000", "a000.mp4"], "light": ["a", "b"]}, "found several of a000.mp4"),
        ({"light": ["a", "b"]}, "expected a column clip, family or person"),
        ({"clip": ["a000"]}, "expected a column with groups"),
    ],
)
def test_attributes_that_cannot_be_used_are_refused(compared, results, columns, said):
    pd.DataFrame(columns).to_csv("people.csv", index=False)
    done = compared(results["good"], "--attributes", "people.csv")
    assert done.exit_code == 1
    assert said in done.stderr


def test_results_of_other_images_are_refused(compared, tmp_path):
    other = make_results(tmp_path / "run", make_shards(tmp_path / "others", 12), 1.0)
    done = compared(other)
    assert done.exit_code == 1
    assert re.search("expected predictions for the test split .* found none of", done.stderr)


def test_no_file_of_a_user_is_touched(compared, results, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = compared(results["good"], "--out", tmp_path / "mine")
    assert done.exit_code == 1
    assert "found notes.txt; choose another folder" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_the_same_results_give_the_same_bytes(compared, results):
    folder = Path("evaluations/comparison")
    compared(*results.values())
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert compared(*results.values()).exit_code == 0
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before
    assert set(before) == {*COMPARISON_FILES, "cross.csv", "report.txt"}


def test_tensorflow_is_not_loaded(shards, results, tmp_path):
    words = ["compare", str(shards), *map(str, results.values()), "--json"]
    code = (
        "import sys, cli\n"
        f"cli.main({words!r}, standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'cv2'} & sys.modules.keys()\n"
        "print(*heavy, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == ""


def test_one_clip_of_each_label_a_family_has_delong(compared, shards, results, tmp_path):
    singles = {name for name in scores_of(results["good"]) if name[0] != "b"}
    for folder in results.values():
        path = table_of(folder)
        table = pd.read_csv(path)
        table[table["clip"].isin(singles)].to_csv(path, index=False)
    done = compared("good.csv", "weak.csv", "--missing", "left-out")
    (row, _) = RunFiles(Path("evaluations/comparison")).comparison("comparison.csv")
    assert 0 < row.p_delong < 0.01, done.output
    assert "DeLong: for independent clips" in done.stdout


def test_a_config_with_another_recipe_is_another_model():
    data = ShardsConfig("", {}, CropSettings(None, None), {})
    options = FitConfig("none", None, "float32", 1)
    config = RunConfig(choose_recipe("v1.3", {}), options, data, "shards", [], "CPU", {})
    from training.evaluation.comparison import Entry

    alike = replace(config, options=replace(options, seed=2))
    other = replace(config, options=replace(options, precision="mixed_float16"))
    recipes = [Entry("a", None, config=each).recipe for each in (config, alike, other)]
    assert recipes[0] == recipes[1] != recipes[2]


def test_the_hub_reads_the_results_of_a_model_card(shards, tmp_path):
    run = RunFiles(recipe_run(tmp_path / "run", shards, 1))
    write_card(run)
    card = ModelCard.load(run.card_file)
    assert card.data.library_name == "keras"
    found = {each.metric_name: each for each in card.data.eval_results}
    assert len(found) == 6
    image = found["ROC-AUC, per image"]
    assert image.metric_value == run.metrics().image.auc
    assert (image.metric_type, image.dataset_split) == ("roc_auc", "test")
    assert image.dataset_name == "shards"
    low, high = run.metrics().image.interval.auc
    ends = {"low": low, "high": high}
    assert image.metric_args == {"confidence": 0.95, **ends, "resampled": "families"}
    assert low < image.metric_value < high
    assert card.text.startswith("\n# v1.3")
