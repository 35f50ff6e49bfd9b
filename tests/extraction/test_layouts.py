"""Complete extractions of the data sets beside DFDC, from a tree to an audited official split."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli import main
from dfdc_prep.sample.builder import build_sample
from dfdc_prep.video.reader import open_clip
from manifests.arrow import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.schemas import PROVENANCE_COLUMNS
from manifests.tables.parquet import read_manifest, read_table
from tests.catalog import trees


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A real clip and a fake of it, from the sample."""
    folder = tmp_path_factory.mktemp("sample") / "dfdc"
    build_sample(folder, 2)
    for metadata in folder.glob("*/metadata.json"):
        for name, entry in json.loads(metadata.read_text()).items():
            original = metadata.parent / (entry.get("original") or "")
            if original.is_file():
                return original, metadata.parent / name
    pytest.fail("the sample has no fake whose original is there")


def extracted(source: Path, out: Path, *options: str | Path) -> pd.DataFrame:
    """Extract with HOG, which needs no weights; return the manifest."""
    result = call("extract", source, out, "--detector", "hog", *options)
    assert result.exit_code == 0, result.output
    return read_manifest(out / "manifest.parquet").to_pandas()


def tree_of_real_clips(real_clips: Path, root: Path) -> Path:
    """The six real clips of FaceForensics++ in its own tree."""
    names = {
        "original_sequences/youtube": ("004", "519", "634"),
        "manipulated_sequences/Deepfakes": ("004_982", "519_515", "634_660"),
    }
    for folder, stems in names.items():
        videos = root / folder / "c23" / "videos"
        videos.mkdir(parents=True)
        for stem in stems:
            (videos / f"{stem}.mp4").symlink_to(real_clips / "dfdc_train_part_1" / f"{stem}.mp4")
    return root


@pytest.mark.slow
def test_real_clips_of_faceforensics_give_the_crops_of_a_dfdc_tree(
    real_clips: Path, tmp_path: Path
) -> None:
    source = tree_of_real_clips(real_clips, tmp_path / "ff")
    found = extracted(source, tmp_path / "a", "--compression", "c23")
    same = extracted(real_clips / "dfdc_train_part_1", tmp_path / "b")
    key = ["video", "frame", "face"]
    found, same = (each.sort_values(key, ignore_index=True) for each in (found, same))
    own = ["part", "path", "family_source", *PROVENANCE_COLUMNS]
    pd.testing.assert_frame_equal(found.drop(columns=own), same.drop(columns=own))
    fakes = found[found["label"] == "FAKE"]
    people = fakes["identity"] + "_" + fakes["face_identity"] + ".mp4"
    assert fakes["video"].tolist() == people.tolist()
    assert set(fakes["method"]) == {"Deepfakes"}


@pytest.mark.slow
def test_celeb_df_from_its_tree_to_an_audited_official_split(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    source = trees.make_celeb_df(tmp_path / "Celeb-DF-v2", *pair)
    found = extracted(source, faces)
    assert found["dataset"].unique().tolist() == ["celeb-df-v2"]
    assert len(found) == len(trees.CELEB_DF)
    assert call("balance", faces).exit_code == 0
    output = call("split", faces, "--official").output
    assert re.search(r"^test +1 +1 ", output, re.MULTILINE)
    split = read_manifest(faces / "split.parquet").to_pandas()
    assert (split["split"] == split["official_split"]).all()
    audit = call("audit", faces)
    assert audit.exit_code == 3
    assert "shared by test and train" in audit.output
    assert "people, filmed or swapped in" in audit.output


@pytest.mark.slow
def test_the_preview_has_the_columns_of_every_clip(pair: tuple[Path, Path], tmp_path: Path) -> None:
    found = extracted(trees.make_preview(tmp_path / "preview", *pair), tmp_path / "faces")
    clips = read_table(tmp_path / "faces" / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pandas()
    keys = ["part", "video", "family", *PROVENANCE_COLUMNS]
    pd.testing.assert_frame_equal(found[keys], clips[keys])
    assert found["path"].is_unique


def test_the_clips_that_labels_csv_names_and_that_are_missing_are_told(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    source = trees.make_flat(tmp_path / "test", *pair)
    result = call("extract", source, tmp_path / "faces", "--detector", "hog")
    assert result.exit_code == 3
    assert "not on disk, 1 of 3 clips: ccc.mp4" in result.output


def test_a_table_and_another_layout_in_the_same_folder(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    source, faces = trees.make_table(tmp_path / "clips", *pair), tmp_path / "faces"
    found = extracted(source, faces, "--table", source / "clips.csv")
    assert found["identity"].tolist() == ["ann", "ann"]
    other = trees.make_flat(tmp_path / "flat", *pair)
    result = call("extract", other, faces, "--detector", "hog")
    assert result.exit_code == 1
    assert "expected layout dfdc-flat in" in result.output
    assert "found layout table of an earlier run" in result.output


def test_clips_without_labels_give_crops_that_training_leaves_out(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    source, faces = tmp_path / "mine", tmp_path / "faces"
    trees.make_tree(source, {"a.mp4": False, "b.mp4": True}, *pair)
    result = call("extract", source, faces, "--detector", "hog")
    assert result.exit_code == 0, result.output
    assert "2 clips without a label" in result.output
    crops = read_table(faces / "manifest.parquet", MANIFEST_SCHEMA, "").to_pandas()
    assert crops[["video", "label"]].values.tolist() == [
        ["a.mp4", "UNKNOWN"], ["b.mp4", "UNKNOWN"],
    ]  # fmt: skip
    result = call("balance", faces)
    assert result.exit_code == 1
    assert "found crops of clips without a label; extract them again" in result.output


def test_folders_of_frames_give_the_crops_of_their_clip(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    with open_clip(pair[0]) as video:
        for frame in video.frames(range(8)):
            folder = tmp_path / "frames" / "real" / "frames" / "clip_1"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame.rgb()).save(folder / f"frame_{frame.index}.png")
    options = ("--frames", "8", "--sampling", "exact")
    found = extracted(tmp_path / "frames", tmp_path / "a", *options)
    assert found["video"].unique().tolist() == ["clip_1"]
    assert found["frame"].tolist() == list(range(8))
    assert found["time_s"].isna().all()
    again = call("extract", tmp_path / "frames", tmp_path / "a", "--detector", "hog", *options)
    assert again.exit_code == 0, again.output
    assert "8 crops" in again.output


def test_frames_by_label(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """A fake has some of its original's frames, or frames of its own if it needs more."""
    source = trees.make_tree(tmp_path / "set", {"real/a.mp4": False, "fake/a.mp4": True}, *pair)
    few = extracted(source, tmp_path / "few", "--frames", "real=6,fake=2")
    frames = few.groupby("label")["frame"].agg(set)
    assert few["label"].value_counts().to_dict() == {"REAL": 6, "FAKE": 2}
    assert frames["FAKE"] < frames["REAL"]
    many = extracted(source, tmp_path / "many", "--frames", "fake=5,real=2")
    assert many["label"].value_counts().to_dict() == {"REAL": 2, "FAKE": 5}
    result = call("extract", source, tmp_path / "bad", "--frames", "real=2")
    assert result.exit_code == 2
    assert "expected real=20,fake=5 or one number" in result.output


@pytest.mark.slow
def test_ten_frames_of_every_clip_of_two_families_of_faceforensics(
    shared: Path, yunet_model: Path, tmp_path: Path
) -> None:
    """253.mp4 has 501 frames; its fakes by three of the four methods have 390."""
    words = ["--frames", "10", "--detector", "yunet", "--detector-model", yunet_model]
    result = call("extract", shared / "data" / "faceforensics", tmp_path / "faces", *words)
    assert result.exit_code == 0, result.output
    found = read_manifest(tmp_path / "faces" / "manifest.parquet").to_pandas()
    frames = found.groupby(["family", "part", "video"])["frame"].agg(tuple)
    assert len(frames) == 10
    assert set(frames.map(len)) == {10}
    assert frames.groupby("family").nunique().tolist() == [1, 1]
