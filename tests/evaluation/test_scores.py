"""Scores from elsewhere: names, columns, clips without a score."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from manifests.errors import TableError
from tests.evaluation.conftest import manifest, scores_of
from training.measures.scores import (
    clips_of_split,
    find_clips,
    level_of,
    read_scores,
    score_table,
    write_scores,
)

CLIPS = clips_of_split(manifest())
TEST = [name for name, split in zip(*CLIPS.select(["video", "split"]).to_pydict().values(),
        strict=True) if split == "test"]  # fmt: skip


def written(path: Path, columns: dict[str, list[object]]) -> Path:
    """A CSV, or parquet, as anybody's program writes it."""
    frame = pd.DataFrame(columns)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def read(*given: object) -> pa.Table:
    """The score table of a file."""
    return read_scores(*given).table


def values(count: int = len(TEST)) -> list[object]:
    return list(np.linspace(0.01, 0.99, count))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "form",
    [
        lambda name: name,
        lambda name: Path(name).stem,
        lambda name: f"/data/videos/{name}",
        lambda name: f"part_{int(name[1:4]) % 2}/{Path(name).stem}.avi",
        lambda name: f"C:\\dfdc\\{name}",
    ],
)
def test_names_with_or_without_folder_and_ending(tmp_path, form, suffix):
    path = written(tmp_path / f"a{suffix}", {"clip": [form(n) for n in TEST], "score": values()})
    found = read(path, {}, CLIPS, "test")
    assert set(found["status"].to_pylist()) == {"ok"}
    expected = dict(zip(TEST, values(), strict=True))
    got = dict(zip(found["video"].to_pylist(), found["score"].to_pylist(), strict=True))
    assert got == pytest.approx(expected, abs=1e-12)


def test_columns_are_named_by_the_user(tmp_path):
    path = written(tmp_path / "a.csv", {"filename": TEST, "label": values(), "score": [7] * 54})
    columns = {"clip": ["filename"], "score": ["label"]}
    assert set(read(path, columns, CLIPS, "test")["status"].to_pylist()) == {"ok"}
    with pytest.raises(TableError, match="found 54 other values; give probabilities, or logits"):
        read(path, {}, CLIPS, "test")


def test_a_column_that_the_user_names_is_taken_or_missed(tmp_path):
    path = written(tmp_path / "a.csv", {"clip": TEST, "score": values(), "logit": [0.0] * 54})
    got = read(path, {"score": ["score"]}, CLIPS, "test")["score"].to_pylist()
    assert sorted(got) == pytest.approx(sorted(values()), abs=1e-12)  # not of the logits
    with pytest.raises(
        TableError, match=r"expected the column p_fak in \S+a\.csv, found clip, score"
    ):
        read(path, {"score": ["p_fak"]}, CLIPS, "test")


def test_scores_of_predict_are_read(tmp_path):
    faces = {"file": TEST, "status": ["ok"] * 54, "p_fake": values(), "faces": [1] * 54}
    found = read(written(tmp_path / "a.csv", faces), {}, CLIPS, "test")
    assert found["status"].to_pylist() == ["ok"] * 54


def test_no_clip_is_dropped(tmp_path):
    given = [None, *values(51)]
    path = written(tmp_path / "a.csv", {"clip": TEST[:52], "score": given})
    found = read(path, {}, CLIPS, "test").to_pylist()
    assert [row["status"] for row in found].count("ok") == 51
    by_name = {row["video"]: row for row in found}
    assert by_name[TEST[0]]["status"] == "error"
    assert by_name[TEST[0]]["score"] is by_name[TEST[-1]]["score"] is None
    assert by_name[TEST[-1]]["status"] == "missing"
    assert len(found) == 54


def test_clips_of_other_splits_are_left_out(tmp_path):
    names = CLIPS["video"].to_pylist()
    path = written(tmp_path / "a.csv", {"clip": names, "score": values(len(names))})
    found = read_scores(path, {}, CLIPS, "test")
    assert (found.table.num_rows, found.elsewhere) == (54, len(names) - 54)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"clip": ["a00.mp4"], "score": [0.1]}, "found 1 other name in 1 row: a00.mp4; "
         "did you mean a0"),
        ({"clip": ["a000", "a000.mp4"], "score": [0.1, 0.2]}, "1 clip with several, as a000.mp4: "
         "results per clip are not compared with those per face or frame"),
        ({"clip": ["a000"], "score": ["high"]}, "expected numbers in the column score"),
        ({"clip": ["a000"], "other": [0.1]}, "expected a column of P(FAKE)"),
        ({"who": ["a000"], "score": [0.1]}, "expected a column that names the clips"),
        ({"clip": ["a000"], "score": [-0.1]}, "found 1 other value"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, columns, said):
    with pytest.raises(TableError, match=re.escape(said)):
        read(written(tmp_path / "a.csv", columns), {}, CLIPS, "test")


def test_results_per_face_are_not_taken_for_clips(results, shards):
    with pytest.raises(TableError, match="results per clip are not compared with those per face"):
        read(results["good"] / "predictions.parquet", {}, CLIPS, "test")


def test_scores_per_clip_do_not_fit_faces_labelled_one_by_one(tmp_path):
    both = pa.concat_tables([CLIPS, CLIPS])
    path = written(tmp_path / "a.csv", {"clip": TEST, "score": values()})
    with pytest.raises(TableError, match="expected clips of one label"):
        read(path, {}, both, "test")


def test_a_name_in_several_parts_needs_its_part():
    parts = ["manipulated/Deepfakes/c23/videos", "manipulated/FaceSwap/c23/videos"]
    clips = pa.table({"part": parts, "video": ["000_003.mp4"] * 2})
    assert find_clips(["FaceSwap/000_003", "Deepfakes/000_003.mp4"], clips, "x").tolist() == [1, 0]
    with pytest.raises(TableError, match=r"found '000_003\.mp4', which is in manipulated/Deepf"):
        find_clips(["000_003.mp4"], clips, "x")


@pytest.mark.parametrize(
    ("missing", "logit", "right"),
    [("as-real", -1, {0.0, 1.0}), ("as-fake", 1, {0.0, 1.0}), ("as-chance", 0, {0.5})],
)
def test_a_clip_without_a_score_counts_as_told(missing, logit, right):
    logits = np.where(np.arange(CLIPS.num_rows) % 5 == 0, np.nan, 2.0)
    level = level_of(score_table(CLIPS, logits), missing)
    lacking = np.isnan(logits)
    assert set(np.sign(level.logits[lacking])) == {logit}
    assert set(level.right()[lacking]) == right
    assert np.abs(level.logits[lacking]).max() in (0, pytest.approx(36.04, abs=0.01))
    assert (level.logits[~lacking] == 2).all()


def test_a_score_table_is_read_back_as_it_was(tmp_path):
    of_test = clips_of_split(
        manifest().filter([s == "test" for s in manifest()["split"].to_pylist()])
    )
    logits = np.linspace(-50, 50, of_test.num_rows)
    table = score_table(of_test, logits)
    write_scores(table, tmp_path / "scores.parquet")
    for suffix in (".parquet", ".csv"):
        again = read(tmp_path / f"scores{suffix}", {}, CLIPS, "test")
        assert again["logit"].to_pylist() == logits.tolist()
        assert again["family"].to_pylist() == table["family"].to_pylist()


def test_the_tables_of_a_run_are_of_its_predictions(results, shards):
    assert len(scores_of(results["good"])) == 54
