"""The examples in docs/shards.md for reading the shards, run with the libraries they use."""

import re
from pathlib import Path

import pytest

from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.splitting.split import SplitPlan
from tests.crop_sets import make_faces

DOCS = Path(__file__).resolve().parents[2] / "docs" / "shards.md"
CHAPTER = r"^## (.+)\n(?:(?!## |```).*\n)*```python\n((?:(?!```).*\n)*)```"
SNIPPETS = dict(re.findall(CHAPTER, DOCS.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards/ of 25 families, one REAL and one FAKE crop each."""
    folder = tmp_path_factory.mktemp("readers")
    options = (TFRecords(2), CropSelection(SplitPlan.parse("56/24/20")))
    write_crops(make_faces(folder / "faces", families=25), folder / "shards", *options)
    return folder


@pytest.mark.parametrize("title", SNIPPETS)
def test_a_snippet_of_the_docs_prints_what_is_there(
    title: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(folder)
    exec(compile(SNIPPETS[title], str(DOCS), "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "28 crops to train on, 14 of them FAKE"


def test_every_reader_has_its_snippet() -> None:
    assert len(SNIPPETS) == 7


def test_tfds_knows_names_labels_and_counts(folder: Path) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder / "shards"))
    assert builder.info.name == "dfdc_faces"
    assert builder.info.features["label"].names == ["REAL", "FAKE"]
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert counts == {"train": 28, "validation": 12, "test": 10}
    assert builder.info.metadata["seed"] == 42
    image, label = next(iter(builder.as_dataset(split="test", as_supervised=True)))
    assert image.shape == (224, 224, 3)
    assert int(label) in (0, 1)


def test_tfds_reads_every_feature_in_the_order_of_the_manifest(folder: Path) -> None:
    import pandas as pd
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder / "shards"))
    read = tfds.ReadConfig(interleave_cycle_length=1)
    table = pd.read_parquet(folder / "shards" / "manifest.parquet")
    for split in ("train", "validation", "test"):
        faces = list(builder.as_dataset(split=split, read_config=read).as_numpy_iterator())
        rows = table[table["split"] == split]
        for name in ("video", "part", "family", "path"):
            assert [face[name].decode() for face in faces] == rows[name].to_list()
        assert [("REAL", "FAKE")[face["label"]] for face in faces] == rows["label"].to_list()
        assert [face["frame"] for face in faces] == rows["frame"].to_list()


def test_mlcroissant_validates_and_reads_the_manifest(folder: Path) -> None:
    import mlcroissant as mlc
    import pandas as pd

    dataset = mlc.Dataset(str(folder / "shards" / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.ctx.conforms_to.value.endswith("croissant/1.1")
    rows = pd.read_parquet(folder / "shards" / "manifest.parquet")
    read = [record["faces/path"].decode() for record in dataset.records("faces")]
    assert read == rows["path"].to_list()
    splits = [record["splits/name"] for record in dataset.records("splits")]
    assert splits == ["train", "validation", "test"]
