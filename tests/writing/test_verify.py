"""verify_shards: an intact folder passes, and every kind of damage is reported."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cli import main
from dfdc_prep.errors import ShardError
from dfdc_prep.reports.shards_report import shards_page
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import (
    TFRecords,
    encode_example,
    frame_record,
    parse_example,
    read_records,
)
from dfdc_prep.writing.verify import verify_shards
from dfdc_prep.writing.writer import write_crops, write_sums
from manifests.splitting.split import SplitPlan
from tests.crop_sets import make_crops, make_faces

TRAIN = "dfdc_faces-train.tfrecord-00001-of-00002"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    options = (TFRecords(2), CropSelection(SplitPlan.parse("56/24/20")))
    write_crops(make_faces(folder / "faces", families=10), folder / "shards", *options)
    return folder / "shards"


@pytest.fixture
def shards(healthy: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(healthy, tmp_path / "shards"))


def faults(shards: Path) -> list[str]:
    return [str(fault) for fault in verify_shards(shards).faults]


def rewrite(shards: Path, change: Callable[[int, dict[str, bytes | int]], None]) -> None:
    """Change the records of one shard and update SHA256SUMS."""
    framed = []
    for index, record in enumerate(read_records(shards / TRAIN)):
        face = {name: values[0] for name, values in parse_example(record).items()}
        change(index, face)
        framed.append(frame_record(encode_example(face)))
    (shards / TRAIN).write_bytes(b"".join(framed))
    write_sums(shards, {})


def test_a_healthy_folder_passes(healthy: Path) -> None:
    report = verify_shards(healthy)
    assert not report.faults
    assert report.records == 20
    assert "20 records" in report.text()
    done = CliRunner().invoke(main, ["verify", str(healthy)])
    assert done.exit_code == 0


def test_a_flipped_byte_anywhere_is_found(healthy: Path) -> None:
    draw = random.Random(5)
    for file in sorted(healthy.iterdir()):
        whole = file.read_bytes()
        for place in draw.sample(range(len(whole)), 4):
            data = bytearray(whole)
            data[place] ^= 1 << draw.randrange(8)
            file.write_bytes(data)
            found = faults(healthy)
            file.write_bytes(whole)
            assert any(fault.startswith(file.name) for fault in found) or (
                file.name == "SHA256SUMS" and found
            ), (file.name, place)
    assert not faults(healthy)


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text.replace("  ", " *", 1),
        lambda text: text.replace("\n", "\r\n", 1),
        lambda text: text + "\n",
        lambda text: text.removesuffix("\n"),
        lambda text: text.upper(),
        lambda text: "",
        lambda text: "".join(reversed(text.splitlines(keepends=True))),
    ],
)
def test_any_change_of_sha256sums_is_found(shards: Path, alter: Callable[[str], str]) -> None:
    file = shards / "SHA256SUMS"
    file.write_text(alter(file.read_text()), newline="")
    assert faults(shards)


def test_the_shard_the_record_and_the_fault_are_named(shards: Path) -> None:
    data = bytearray((shards / TRAIN).read_bytes())
    first = len(frame_record(next(read_records(shards / TRAIN))))
    data[first + 5000] ^= 1
    (shards / TRAIN).write_bytes(data)
    assert f"{TRAIN}, record 1: has a wrong data checksum" in faults(shards)
    assert f"{TRAIN}: its hash differs from SHA256SUMS" in faults(shards)
    done = CliRunner().invoke(main, ["verify", str(shards)])
    assert done.exit_code == 1
    assert "record 1: has a wrong data checksum" in done.output


def test_a_label_that_differs_from_the_manifest(shards: Path) -> None:
    def turn(index: int, face: dict[str, bytes | int]) -> None:
        if index == 2:
            face["label"] = 1 - int(face["label"])

    rewrite(shards, turn)
    assert faults(shards) == [f"{TRAIN}, record 2: differs from the manifest in label"]


def test_a_family_that_differs_from_the_manifest(shards: Path) -> None:
    rewrite(shards, lambda index, face: face.update(family=b"other.mp4"))
    assert f"{TRAIN}, record 0: differs from the manifest in family" in faults(shards)


def test_an_image_that_does_not_decode(shards: Path) -> None:
    def harm(index: int, face: dict[str, bytes | int]) -> None:
        if index == 3:
            face["image"] = bytes(face["image"])[:20_000]

    rewrite(shards, harm)
    (fault,) = faults(shards)
    assert f"{TRAIN}, record 3: its image is a damaged image" in fault


def test_an_image_of_another_crop(shards: Path, tmp_path: Path) -> None:
    other = next(read_records(shards / TRAIN.replace("00001-of", "00000-of")))
    image = parse_example(other)["image"][0]
    rewrite(shards, lambda index, face: face.update(image=image) if index == 1 else None)
    (fault,) = faults(shards)
    assert f"{TRAIN}, record 1: its image is not the crop crops/" in fault


def test_records_too_few_and_too_many(shards: Path) -> None:
    framed = [frame_record(record) for record in read_records(shards / TRAIN)]
    (shards / TRAIN).write_bytes(b"".join(framed[:-1]))
    write_sums(shards, {})
    assert any("dataset_info.json says" in fault for fault in faults(shards))
    assert any(f"record {len(framed) - 1}: is missing, but" in fault for fault in faults(shards))
    (shards / TRAIN).write_bytes(b"".join([*framed, framed[0]]))
    write_sums(shards, {})
    assert f"{TRAIN}, record {len(framed)}: has no row in the manifest" in faults(shards)


@pytest.mark.parametrize("column", ["family", "joined_family"])
def test_a_family_in_two_splits(shards: Path, column: str) -> None:
    table = pq.read_table(shards / "manifest.parquet")
    families = table[column].to_pylist()
    families[0] = families[-1] = "clip007.mp4"
    index = table.column_names.index(column)
    table = table.set_column(index, table.schema.field(index), pa.array(families))
    pq.write_table(table, shards / "manifest.parquet")
    write_sums(shards, {})
    what = column.replace("_", " ")
    assert f"manifest.parquet: {what} clip007.mp4 is in two splits" in faults(shards)


def test_a_leak_that_was_asked_for_is_a_note(healthy: Path, tmp_path: Path) -> None:
    options = (TFRecords(), CropSelection(SplitPlan.parse("56/24/20", group_by="none")))
    write_crops(healthy.parent / "faces", tmp_path / "shards", *options)
    report = verify_shards(tmp_path / "shards")
    assert not report.faults
    assert "in two splits, " in report.text()


def test_what_is_not_known_of_families_is_said(healthy: Path, tmp_path: Path) -> None:
    assert "families of 10 FAKE clips: 10 known, 0 read from names, 0 not known" in (
        verify_shards(healthy).text()
    )
    clips = [{"video": f"{at}.mp4", "label": "FAKE" if at % 2 else "REAL"} for at in range(12)]
    faces = make_crops(tmp_path / "faces", clips)
    written = write_crops(
        faces, tmp_path / "shards", TFRecords(), CropSelection(SplitPlan.parse("50/30/20"))
    )
    for text in (written.text(), verify_shards(tmp_path / "shards").text()):
        assert "families of 6 FAKE clips: 0 known, 0 read from names, 6 not known" in text
        assert "no known family is in two splits; nothing says what 6 of 6 FAKE clips" in text
        assert "\nno family is in two splits" not in text
    page = shards_page(tmp_path / "shards")
    assert "Not known: nothing says what 6 of 6 FAKE clips were made from" in repr(page.verdict)


def test_a_count_that_is_wrong(shards: Path) -> None:
    info = json.loads((shards / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"][1] = "99"
    (shards / "dataset_info.json").write_text(json.dumps(info))
    write_sums(shards, {})
    (fault,) = faults(shards)
    assert fault.startswith(f"{TRAIN}: has ")
    assert fault.endswith("records, dataset_info.json says 99")


@pytest.mark.parametrize("count", [1e999, None, "many", [7]])
def test_an_invalid_count(shards: Path, count: object) -> None:
    info = json.loads((shards / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"][1] = count
    (shards / "dataset_info.json").write_text(json.dumps(info))
    write_sums(shards, {})
    (fault,) = faults(shards)
    assert fault.startswith("dataset_info.json: cannot be used (")


def test_a_file_too_many_and_one_too_few(shards: Path) -> None:
    (shards / "label.labels.txt").unlink()
    (shards / "notes.txt").write_text("mine")
    assert faults(shards) == [
        "label.labels.txt: is missing",
        "notes.txt: is not listed in SHA256SUMS",
    ]


def test_a_folder_without_shards_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ShardError, match="found none of its files"):
            verify_shards(folder)


def test_metadata_that_lacks_an_option_is_a_fault(shards: Path) -> None:
    told = json.loads((shards / "metadata.json").read_text())
    (shards / "metadata.json").write_text(
        json.dumps(told | {"group_by": None}).replace("group_by", "x")
    )
    write_sums(shards, {})
    assert "manifest.parquet: cannot be used ('group_by')" in faults(shards)


def test_a_faces_folder_is_not_told_to_remove_its_crops(healthy: Path) -> None:
    with pytest.raises(ShardError, match="found a faces folder; give the folder that holds"):
        verify_shards(healthy.parent / "faces")
