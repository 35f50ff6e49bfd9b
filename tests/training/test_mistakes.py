"""The folder of the worst mistakes: which, in which order, and what is written."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from manifests.errors import OutputError
from training.evaluation import evaluator
from training.evaluation.explanation import mistakes
from training.evaluation.predictions import Predictions, split_rows


def predictions(labels, logits, clips):
    columns = {"video": clips, "part": ["p"] * len(clips), "family": clips, "path": clips}
    columns |= {"label": ["REAL"] * len(clips), "frame": [0] * len(clips), "face": [0] * len(clips)}
    return Predictions(pa.table(columns), np.array(labels), np.array(logits, np.float64))


def test_the_most_confident_mistake_of_each_clip_comes_first():
    found = predictions([0, 0, 1, 1, 1], [2.0, 3.0, -4.0, 5.0, -0.1], ["a", "a", "b", "c", "d"])
    assert mistakes.worst_mistakes(found) == [2, 1, 4]


def test_a_perfect_model_has_an_empty_table(tmp_path):
    perfect = predictions([0, 1], [-3.0, 3.0], ["a", "b"])
    assert mistakes.worst_mistakes(perfect) == []
    mistakes.write_mistakes(tmp_path / "mistakes", None, perfect, {}, {})
    with open(tmp_path / "mistakes" / "mistakes.csv", newline="") as file:
        assert list(csv.DictReader(file)) == []


def test_fit_writes_the_crops_of_the_shards_and_their_heatmaps(finished, tiny_shards):
    folder = finished.folder / "mistakes"
    with open(folder / "mistakes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all((row["label"] == "FAKE") != (float(row["score"]) >= 0.5) for row in rows)
    paths = split_rows(tiny_shards, "test")["path"].to_pylist()
    position = paths.index(rows[0]["path"])
    (crop,) = evaluator.read_images(tiny_shards, "test", 4, [position]).values()
    drawn = np.asarray(Image.open(folder / rows[0]["image"]))
    assert drawn.shape == (224, 448, 3)
    assert np.array_equal(drawn[:, :224], crop)


def test_a_users_file_in_the_folder_is_not_deleted(tmp_path):
    folder = tmp_path / "mistakes"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"found notes\.txt"):
        mistakes.write_mistakes(folder, None, predictions([0], [-1.0], ["a"]), {}, {})
    assert (folder / "notes.txt").read_text() == "mine"
