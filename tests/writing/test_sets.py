"""Shards of several data sets, of all crops, of given splits, and for tests alone."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.errors import TableError
from dfdc_prep.writing.tfrecord import parse_example, read_records
from tests.crop_sets import make_crops, make_faces, make_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three faces folders whose clips have the same names."""
    folder = tmp_path_factory.mktemp("sets")
    make_set(folder / "ff", "faceforensics++", 20, ["Deepfakes", "FaceSwap"])
    make_set(folder / "celeb", "celeb-df-v2", 12, ["synthesis"])
    make_set(folder / "unnamed", None, 16, ["x"])
    return folder


def rows(shards: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(shards / "manifest.parquet").to_pylist())


def test_sets_give_equal_shares_and_share_nothing(sets: Path, tmp_path: Path) -> None:
    names = ("ff", "celeb", "unnamed")
    result = dfdc_prep.shard([sets / name for name in names], tmp_path / "shards")
    found = rows(tmp_path / "shards")
    counts = Counter((row["dataset"], row["label"]) for row in found)
    assert counts == {
        (name, label): 12
        for name in ("faceforensics++", "celeb-df-v2", "unnamed")
        for label in ("REAL", "FAKE")
    }
    methods = Counter(row["method"] for row in found if row["dataset"] == "faceforensics++")
    assert methods == {None: 12, "Deepfakes": 6, "FaceSwap": 6}
    assert "faceforensics++, FAKE by method: 6 Deepfakes, 6 FaceSwap" in str(result)
    families: dict[str, set[str]] = {}
    for row in found:
        families.setdefault(row["family"], set()).add(row["split"])
        assert row["family"].startswith(f"{row['dataset']}/")
    assert all(len(splits) == 1 for splits in families.values())
    assert dfdc_prep.verify(tmp_path / "shards").ok
    assert not dfdc_prep.audit(tmp_path / "shards").crossing["clips"][0]
    tests = Counter(row["dataset"] for row in found if row["split"] == "test")
    assert max(tests.values()) - min(tests.values()) <= 2


def test_records_hold_the_crops_of_their_folder(sets: Path, tmp_path: Path) -> None:
    dfdc_prep.shard([sets / "ff", sets / "celeb"], tmp_path / "shards")
    folders = {"faceforensics++": sets / "ff", "celeb-df-v2": sets / "celeb"}
    for path in (tmp_path / "shards").glob("*.tfrecord-*"):
        for record in read_records(path):
            found = parse_example(record)
            (name,), (image,) = found["path"], found["image"]
            dataset, _, inside = name.decode().partition("/")  # type: ignore[union-attr]
            assert image == (folders[dataset] / inside).read_bytes()


def test_the_order_of_the_folders_changes_no_byte(sets: Path, tmp_path: Path) -> None:
    names = ["ff", "celeb", "unnamed"]
    dfdc_prep.shard([sets / name for name in names], tmp_path / "a")
    dfdc_prep.shard([sets / name for name in names[::-1]], tmp_path / "b")
    assert (tmp_path / "a/SHA256SUMS").read_bytes() == (tmp_path / "b/SHA256SUMS").read_bytes()


def test_a_file_that_is_in_two_sets_is_found(sets: Path, tmp_path: Path) -> None:
    """The same crops under another data set's name, and in other families."""
    shutil.copytree(sets / "celeb", tmp_path / "copy")
    table = pq.read_table(tmp_path / "copy/balanced.parquet")
    for name, values in (
        ("dataset", ["other"] * table.num_rows),
        ("path", table["path"].to_pylist()[::-1]),
        ("sha256", table["sha256"].to_pylist()[::-1]),
    ):
        index = table.column_names.index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values))
    pq.write_table(table, tmp_path / "copy/balanced.parquet")
    dfdc_prep.shard([sets / "celeb", tmp_path / "copy"], tmp_path / "shards")
    found = dfdc_prep.audit(tmp_path / "shards")
    assert found.leaking
    splits: dict[str, set[str]] = {}
    for row in rows(tmp_path / "shards"):
        splits.setdefault(row["sha256"], set()).add(row["split"])
    shared = sum({"train", "test"} <= each for each in splits.values())
    leaks = {(leak.first, leak.second): leak.shared for leak in found.files or []}
    assert leaks["train", "test"] == shared > 0
    assert not any(leak.shared for leak in found.families)


def test_folders_that_cannot_be_told_apart(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "unnamed", tmp_path / "unnamed")
    with pytest.raises(TableError, match=r"both called unnamed; rename one .* with --dataset"):
        dfdc_prep.shard([sets / "unnamed", tmp_path / "unnamed"], tmp_path / "shards")
    with pytest.raises(TableError, match="twice; name it once"):
        dfdc_prep.shard([sets / "ff", sets / "celeb" / ".." / "ff"], tmp_path / "shards")
    shutil.copytree(sets / "ff", tmp_path / "ff")
    with pytest.raises(TableError, match="expected every clip in one folder"):
        dfdc_prep.shard([sets / "ff", tmp_path / "ff"], tmp_path / "shards")
    make_set(tmp_path / "slash", "a/b", 5, ["x"])
    with pytest.raises(TableError, match="without a slash"):
        dfdc_prep.shard([sets / "ff", tmp_path / "slash"], tmp_path / "shards")


def test_all_crops_of_several_sets(sets: Path, tmp_path: Path) -> None:
    dfdc_prep.shard([sets / "ff", sets / "celeb"], tmp_path / "shards", crops="all")
    found = Counter(row["dataset"] for row in rows(tmp_path / "shards"))
    assert found == {"faceforensics++": 60, "celeb-df-v2": 24}


def test_only_a_test_split(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", families=6)
    result = dfdc_prep.shard(faces, tmp_path / "shards", test_only=True)
    assert result.shards == {"test": 1}
    assert {row["split"] for row in rows(tmp_path / "shards")} == {"test"}
    assert dfdc_prep.verify(tmp_path / "shards").ok
    metadata = json.loads((tmp_path / "shards/metadata.json").read_text())
    assert metadata["split"] == {"test": 1.0}
    dfdc_prep.report(tmp_path / "shards")


def test_the_splits_of_a_table(tmp_path: Path) -> None:
    crops = [{"video": f"{at}.mp4", "label": ("REAL", "FAKE")[at % 2]} for at in range(6)]
    faces = make_crops(tmp_path / "faces", crops)
    table = pq.read_table(faces / "balanced.parquet")
    splits = ["test", "train", "train", "test", "train", "train"]
    pq.write_table(table.append_column("split", pa.array(splits)), faces / "split.parquet")
    dfdc_prep.shard(faces, tmp_path / "shards", crops="split")
    found = {row["path"]: row["split"] for row in rows(tmp_path / "shards")}
    assert found == dict(zip(table["path"].to_pylist(), splits, strict=True))
    assert dfdc_prep.verify(tmp_path / "shards").ok
    splits[0] = "../x"
    pq.write_table(table.append_column("split", pa.array(splits)), faces / "split.parquet")
    with pytest.raises(TableError, match=r"found '\.\./x' in the column split"):
        dfdc_prep.shard(faces, tmp_path / "other", crops="split")


def test_given_splits_that_leak_are_a_note(tmp_path: Path) -> None:
    crops = [{"video": f"{at}.mp4", "label": "REAL", "family": "0.mp4"} for at in range(4)]
    faces = make_crops(tmp_path / "faces", crops)
    table = pq.read_table(faces / "balanced.parquet")
    splits = pa.array(["train", "test"] * 2)
    pq.write_table(table.append_column("split", splits), faces / "split.parquet")
    result = dfdc_prep.shard(faces, tmp_path / "shards", crops="split")
    assert "families shared by test and train: 1," in str(result)
    report = dfdc_prep.verify(tmp_path / "shards")
    assert report.ok
    assert "made with --crops split: in two splits, 1 family" in str(report)


@pytest.mark.parametrize(
    ("words", "faces", "out"),
    [
        ([], ["faces"], "shards"),
        (["a"], ["a"], "shards"),
        (["a", "b"], ["a"], "b"),
        (["a", "b", "c"], ["a", "b"], "c"),
    ],
)
def test_arguments(words: list[str], faces: list[str], out: str) -> None:
    context = main.commands["shard"].make_context("shard", words)
    given = context.params["faces"]
    assert [given] if isinstance(given, Path) else list(given) == [Path(each) for each in faces]
    assert context.params["out"] == Path(out)
    done = CliRunner().invoke(main, ["shard", *words])
    assert done.exit_code == 1
    assert "run dfdc-prep balance first" in done.stderr


def test_one_data_set_in_two_folders(tmp_path: Path) -> None:
    """A fake keeps its original's split; the order of the folders changes no byte."""
    clips = [f"{at:02d}.mp4" for at in range(12)]
    make_crops(tmp_path / "real", [{"video": clip, "dataset": "dfdc"} for clip in clips])
    fakes = [
        {"video": f"fake{clip}", "label": "FAKE", "original": clip, "family": clip}
        for clip in clips
    ]
    make_crops(tmp_path / "fake", [each | {"dataset": "dfdc"} for each in fakes])
    folders = [tmp_path / "real", tmp_path / "fake"]
    dfdc_prep.shard(folders, tmp_path / "a")
    dfdc_prep.shard(folders[::-1], tmp_path / "b")
    assert (tmp_path / "a/SHA256SUMS").read_bytes() == (tmp_path / "b/SHA256SUMS").read_bytes()
    assert len(rows(tmp_path / "a")) == 24
    assert len({(row["family"], row["split"]) for row in rows(tmp_path / "a")}) == 12
    assert not dfdc_prep.audit(tmp_path / "a").leaking


def test_people_of_different_sets_are_different_people(tmp_path: Path) -> None:
    """Each set calls its people 0 to 9; every person has two clips, in one split."""
    for name in ("x", "y"):
        clips = [
            {
                "video": f"{at:02d}.mp4",
                "label": ("REAL", "FAKE")[at // 20],
                "dataset": name,
                "identity": f"{at % 20 % 10}",
            }
            for at in range(40)
        ]
        make_crops(tmp_path / name, clips)
    folders = [tmp_path / "x", tmp_path / "y"]
    dfdc_prep.shard(folders, tmp_path / "shards", group_by="identity")
    found = rows(tmp_path / "shards")
    people: dict[str, set[str]] = {}
    for row in found:
        people.setdefault(row["identity"], set()).add(row["split"])
        assert row["identity"].startswith(f"{row['dataset']}/")
    assert len(people) == 20
    assert all(len(splits) == 1 for splits in people.values())
    assert dfdc_prep.verify(tmp_path / "shards").ok
    assert not dfdc_prep.audit(tmp_path / "shards").leaking


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--test-only", "--split", "50/50"], "--split has no effect with --test-only"),
        (["--crops", "split", "--split", "50/50"], "--split has no effect with --crops split"),
        (["--crops", "split", "--group-by", "none"], "--group-by has no effect with --crops split"),
        (["--crops", "split", "--test-only"], "--test-only has no effect with --crops split"),
    ],
)
def test_an_option_without_effect_is_refused(words: list[str], said: str) -> None:
    for command in (["shard"], ["export", "webdataset"]):
        done = CliRunner().invoke(main, [*command, *words])
        assert done.exit_code == 2
        assert said in done.output


def test_shards_say_which_data_sets_they_are_from(sets: Path, tmp_path: Path) -> None:
    make_set(tmp_path / "dfdc", "dfdc", 8, ["x"])

    def about(*folders: Path) -> tuple[str, str]:
        out = tmp_path / f"shards{len(list(tmp_path.iterdir()))}"
        dfdc_prep.shard(folders, out, test_only=True)
        found = json.loads((out / "dataset_info.json").read_text())
        croissant = json.loads((out / "croissant.json").read_text())
        assert croissant["description"] == found["description"]
        assert croissant["citeAs"] == found["citation"]
        return found["description"], found["citation"]

    description, citation = about(tmp_path / "dfdc")
    assert "cut from Deepfake Detection Challenge clips" in description
    mixed, cited = about(tmp_path / "dfdc", sets / "celeb")
    assert "cut from clips of celeb-df-v2, dfdc" in mixed
    assert cited == citation != ""
    assert about(sets / "celeb")[1] == ""
