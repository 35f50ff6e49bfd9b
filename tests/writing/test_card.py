"""The card of a data set: RAI fields in croissant.json, the Hub's YAML in README.md."""

import json
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import DatasetCard

import dfdc_prep
from cli import main
from dfdc_prep.errors import OptionsDiffer
from dfdc_prep.writing.card import read_card
from manifests.errors import TableError
from manifests.wording import front_matter
from tests.crop_sets import make_faces, make_set

GIVEN = {
    "dataSocialImpact": "Meant against forgeries.",
    "dataBiases": ["Most people are actors.", "Few are old: < 5 %"],
    "dataCollectionTimeframe": ["2019-01-01", "2019-12-31"],
    "license": "cc-by-4.0",
    "citeAs": "@misc{us}",
    "creator": ["A. Person"],
    "url": "https://example.org/faces",
    "datePublished": "2020-06-25",
}


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(GIVEN))
    return path


def croissant(shards: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shards / "croissant.json").read_text())
    return found


def test_what_the_crops_show_is_said_without_a_card(tmp_path: Path) -> None:
    make_set(tmp_path / "ff", "faceforensics++", 20, ["Deepfakes", "FaceSwap"])
    result = dfdc_prep.shard(tmp_path / "ff", tmp_path / "shards", crops="all")
    found = croissant(tmp_path / "shards")
    assert found["conformsTo"][1] == "http://mlcommons.org/croissant/RAI/1.0"
    said = {key.removeprefix("rai:"): found[key] for key in found if key.startswith("rai:")}
    assert said["dataCollection"].startswith("60 face crops, cut from existing clips of `face")
    assert "20 `Deepfakes`, 20 `FaceSwap`" in said["dataManipulationProtocol"]
    assert "train: " in said["dataBiases"][0]
    assert "no family is in two splits" in said["dataLimitations"]
    assert "pictures: 60 of 60 compared" in str(said["dataLimitations"])
    assert "grouped by original, seed 42." in said["dataPreprocessingProtocol"][2]
    (line,) = (line for line in str(result).splitlines() if line.startswith("croissant.json"))
    # The vocabulary has 20 properties.
    assert line == (
        "croissant.json leaves out 10 fields that --card gives: dataCollectionMissingData, "
        "dataCollectionRawData and 8 more"
    )
    assert len(said) == 10


def test_mlcroissant_reads_what_a_card_gives(card: Path, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces")
    result = dfdc_prep.shard(faces, tmp_path / "shards", card=card)
    assert "dataSocialImpact" not in str(result)
    metadata = mlc.Dataset(str(tmp_path / "shards" / "croissant.json")).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert metadata.ctx.conforms_to.value.endswith("croissant/1.1")
    assert metadata.data_social_impact == GIVEN["dataSocialImpact"]
    assert set(GIVEN["dataBiases"]) < set(metadata.data_biases)
    assert metadata.data_annotation_protocol
    assert metadata.personal_sensitive_information
    assert metadata.license == ["cc-by-4.0"]
    assert [each.name for each in metadata.creators] == GIVEN["creator"]
    assert croissant(tmp_path / "shards")["rai:dataCollectionTimeframe"] == [
        "2019-01-01",
        "2019-12-31",
    ]
    assert dfdc_prep.verify(tmp_path / "shards").ok


def test_another_card_is_another_description(card: Path, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces")
    dfdc_prep.shard(faces, tmp_path / "shards", card=card)
    assert dfdc_prep.shard(faces, tmp_path / "shards", card=card).already_exists
    with pytest.raises(OptionsDiffer, match="found another card"):
        dfdc_prep.shard(faces, tmp_path / "shards")
    shards = {path.name: path.read_bytes() for path in (tmp_path / "shards").glob("*tfrecord*")}
    dfdc_prep.shard(faces, tmp_path / "shards", overwrite=True)
    assert shards == {path.name: path.read_bytes() for path in (tmp_path / "shards").glob("*tfr*")}


def test_the_hub_reads_the_card_of_an_export(card: Path, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces")
    out = dfdc_prep.export_huggingface(faces, tmp_path / "plain").out
    found = DatasetCard.load(out / "README.md")
    assert found.data.license == "other"
    assert found.data.task_categories == ["image-classification"]
    assert found.data.size_categories == ["n<1K"]
    assert found.data.to_dict()["configs"][0]["data_files"][0]["path"] == "train-*.parquet"
    assert "## Data social impact" not in found.text
    assert "Terms: The terms of the clips" in found.text
    out = dfdc_prep.export_huggingface(faces, tmp_path / "given", card=card).out
    found = DatasetCard.load(out / "README.md")
    assert found.data.license == "cc-by-4.0"
    assert "## Data social impact\n\nMeant against forgeries.\n" in found.text
    assert "- Most people are actors.\n" in found.text
    assert "Made by: A. Person" in found.text


def test_toml_gives_the_same_fields(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(
        'dataSocialImpact = "x"\ndatePublished = 2020-06-25\ndataBiases = ["a", "b"]\n'
    )
    fields = {"dataSocialImpact": ["x"], "datePublished": ["2020-06-25"], "dataBiases": ["a", "b"]}
    assert read_card(tmp_path / "card.toml") == fields


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"dataBias": "x"}', "found 'dataBias'; did you mean dataBiases"),
        ('{"quux": "x"}', "they are dataCollection, "),
        ('{"dataBiases": 3}', "a list of texts as dataBiases"),
        ('{"dataBiases": []}', r"found \[\]; leave out what is not known"),
        ('{"dataBiases": [" "]}', "leave out what is not known"),
        ('{"datePublished": "last year"}', "expected dates as datePublished"),
        ("[1]", "expected fields in"),
        ("{", "expected JSON or TOML"),
    ],
)
def test_a_card_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(TableError, match=said):
        read_card(tmp_path / "card.json")
    make_faces(tmp_path / "faces", 3)
    words = ["shard", f"{tmp_path}/faces", f"{tmp_path}/out", "--card", f"{tmp_path}/card.json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_front_matter_is_the_yaml_of_its_values() -> None:
    values = {
        "no": ["yes", "a: b", "- c", "'", '"\n---\n', "ä 😀", "n<1K", "", "1"],
        "12": {"x": [{"a": 1, "b": [{"c": 0.5}]}, {"d": None}], "y": True},
    }
    text = front_matter(values)
    assert yaml.safe_load(text.removeprefix("---\n").removesuffix("---\n")) == values
    assert "\n---\n" not in text.removeprefix("---\n").removesuffix("---\n")
    yaml.safe_load(front_matter({"a": "\x7f\u2028\ud800"})[4:-4])
