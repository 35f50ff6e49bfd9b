"""The folder of the worst mistakes: which, in which order, and what is written."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from manifests.errors import OutputError
from training.data.shards import Shards
from training.evaluation import heatmaps
from training.measures.predictions import Batch, Predictions, Source, clips_of, read_batches


def predictions(labels, logits, clips):
    columns = {"video": clips, "part": ["p"] * len(clips), "family": clips, "path": clips}
    columns |= {"label": ["REAL"] * len(clips), "frame": [0] * len(clips), "face": [0] * len(clips)}
    return Predictions(pa.table(columns), np.array(labels), np.array(logits, np.float64))


def kept_of(predictions):
    return heatmaps.KeptImages(predictions.rows, 42, mistakes=True)


def test_the_most_confident_mistake_of_each_clip_comes_first():
    found = predictions([0, 0, 1, 1, 1], [2.0, 3.0, -4.0, 5.0, -0.1], ["a", "a", "b", "c", "d"])
    assert heatmaps.worst_mistakes(found.labels, found.logits, found.clips) == [2, 1, 4]


def test_the_worst_mistakes_are_kept_while_the_images_come():
    rng = np.random.default_rng(1)
    labels, clips = rng.integers(0, 2, 300), [f"{n}" for n in rng.integers(0, 40, 300)]
    images = rng.integers(0, 256, (300, 4, 4, 3), np.uint8)
    found = predictions(labels, rng.normal(0, 3, 300).round(1), clips)
    kept = heatmaps.KeptImages(found.rows, 42, mistakes=True)
    for start in range(0, 300, 7):
        part = slice(start, start + 7)
        kept.add(Batch(start, images[part], labels[part], None), found.logits[part])
    assert kept.worst == heatmaps.worst_mistakes(labels, found.logits, clips_of(found.rows))
    assert set(kept.images) == {*kept.worst, *kept.samples}
    assert all((image == images[at]).all() for at, image in kept.images.items())


def test_a_perfect_model_has_an_empty_table(tmp_path):
    perfect = predictions([0, 1], [-3.0, 3.0], ["a", "b"])
    heatmaps.write_mistakes(tmp_path / "mistakes", None, perfect, kept_of(perfect))
    with open(tmp_path / "mistakes" / "mistakes.csv", newline="") as file:
        assert list(csv.DictReader(file)) == []


def test_fit_writes_the_crops_of_the_shards_and_their_heatmaps(finished, tiny_shards):
    folder = finished.folder / "mistakes"
    with open(folder / "mistakes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all((row["label"] == "FAKE") != (float(row["score"]) >= 0.5) for row in rows)
    source = Source(Shards(tiny_shards), "test", 4)
    position = source.rows["path"].to_pylist().index(rows[0]["path"])
    crop = np.concatenate([batch.images for batch in read_batches(source)])[position]
    drawn = np.asarray(Image.open(folder / rows[0]["image"]))
    assert drawn.shape == (224, 448, 3)
    assert np.array_equal(drawn[:, :224], crop)


def test_a_users_file_in_the_folder_is_not_deleted(tmp_path):
    folder = tmp_path / "mistakes"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    perfect = predictions([0], [-1.0], ["a"])
    with pytest.raises(OutputError, match=r"found notes\.txt"):
        heatmaps.write_mistakes(folder, None, perfect, kept_of(perfect))
    assert (folder / "notes.txt").read_text() == "mine"
