"""The comparison of a leaking split with one by family."""

import csv
import json

import numpy as np
from click.testing import CliRunner

from benchmarks.paper_splits import Crops, decode, main, read_crops


def test_the_test_sets_are_told_apart_by_what_the_network_trained_on():
    """Family a is in train with both labels, b with REAL only; c is new to the random split."""
    crops = Crops(
        np.array([0, 1, 1, 0, 1, 1, 0]),
        np.array(["a", "a", "a", "b", "b", "c", "d"]),
        {
            "random": np.array(["train", "train", "test", "train", "test", "test", "validation"]),
            "family": np.array(["train", "train", "train", "test", "test", "test", "validation"]),
        },
    )
    sets = {name: np.flatnonzero(mask).tolist() for name, mask in crops.test_sets("random").items()}
    assert sets == {
        "its own test": [2, 4, 5],
        "- a relative of the same label in train": [2],
        "- relatives of the other label only": [4],
        "- no relative in train": [5],
        "the family test, but what it trained on": [4, 5],
        "- no relative in train (family)": [5],
        "families that neither network trained on": [5],
    }
    own = crops.test_sets("family")
    assert np.flatnonzero(own["- no relative in train"]).tolist() == [3, 4, 5]
    assert np.flatnonzero(own["families that neither network trained on"]).tolist() == [5]
    assert np.flatnonzero(crops.watched("random")).tolist() == [2, 4, 5, 6]


def test_a_small_network_on_two_splits_leaves_its_table_and_curves(tiny_shards, tmp_path):
    options = ["--size", "16", "--epochs", "2", "--seeds", "1", "--batch", "8", "--json"]
    done = CliRunner().invoke(
        main, [str(tiny_shards), str(tiny_shards), *options, "--out", str(tmp_path)],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "random, epoch 2: accuracy 0." in json.loads(done.output.splitlines()[-1])["text"]
    table = (tmp_path / "table.md").read_text()
    assert "| random | its own test | 16 (8), " in table
    rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [(row["split"], row["epoch"]) for row in rows] == [
        ("random", "1"), ("family", "1"), ("random", "2"), ("family", "2")
    ]  # fmt: skip
    # The same weights, crops and order: the same figures.
    assert {**rows[0], "split": ""} == {**rows[1], "split": ""}


def test_images_come_in_the_order_of_the_manifest(tiny_shards):
    crops = read_crops({"random": tiny_shards, "family": tiny_shards})
    whole, small = decode(tiny_shards, 224), decode(tiny_shards, 56)
    assert whole.shape == (len(crops.labels), 224, 224, 3)
    means = whole.mean((1, 2)), small.mean((1, 2))
    assert np.abs(means[0] - means[1]).max() < 1
