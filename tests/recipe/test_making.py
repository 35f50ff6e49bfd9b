"""A recipe has all that the crops, the split and the shards can be made from, and checks it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import dfdc_prep
from dfdc_prep.crops.encoding import decode
from dfdc_prep.errors import DfdcPrepError, RecipeError, ShardError, SourceError, TableError
from dfdc_prep.recipe.file import landmarks_of, read_recipe
from dfdc_prep.recipe.fingerprints import clip_print, crop_print
from dfdc_prep.recipe.making import _ranges
from dfdc_prep.recipe.tables import faces_tables, shards_manifest
from manifests.arrow import MANIFEST_SCHEMA
from manifests.files import file_sha256
from manifests.tables.parquet import bound, manifest_hash

pytestmark = pytest.mark.slow


def test_a_recipe_of_faces(faces: Path, clips: Path, tmp_path: Path) -> None:
    report = dfdc_prep.make_recipe(faces, tmp_path / "a.recipe", landmarks=True)
    recipe = read_recipe(tmp_path / "a.recipe")
    rows = recipe.table.sort_by([(n, "ascending") for n in ("part", "video", "frame", "face")])
    manifest = pq.read_table(faces / "manifest.parquet")
    for name in ("video", "label", "original", "family", "frame", "x", "h", "score", "width"):
        assert rows[name].to_pylist() == manifest[name].to_pylist()
    assert [each.hex() for each in rows["sha256"].to_pylist()] == manifest["sha256"].to_pylist()
    assert landmarks_of(rows)[:, 2, 1].tolist() == manifest["nose_y"].to_pylist()
    for row in rows.to_pylist():
        found = clip_print(clips / row["part"] / row["video"])
        assert (row["clip_bytes"], row["clip_sha256"]) == (found.size, found.sha256)
        assert (row["first_frame"], row["clip_frames"]) == (found.first_frame, found.frames)
        path = faces / "crops" / row["part"] / row["folder"]
        image = decode((path / f"{row['frame']:06d}_{row['face']}.png").read_bytes())
        assert (row["pixels"], row["sketch"]) == crop_print(image)
        assert row["file"] is None
    # The tables that a rebuild gives are those of the folder.
    assert recipe.header["tables"] == {
        name: file_sha256(faces / name)
        for name in ("manifest.parquet", "balanced.parquet", "split.parquet")
    }
    assert recipe.header["left_out"] == []
    assert str(report).splitlines()[2] == "crops    12 of 6 clips"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.recipe", "faces"]


def test_the_derived_tables_come_back(faces: Path, tmp_path: Path) -> None:
    dfdc_prep.make_recipe(faces, tmp_path / "a.recipe")
    recipe, manifest = read_recipe(tmp_path / "a.recipe"), pq.read_table(faces / "manifest.parquet")
    found = dict(faces_tables(recipe, manifest))
    for name in ("balanced.parquet", "split.parquet"):
        assert bound(found[name], manifest_hash(faces)).equals(
            pq.read_table(faces / name), check_metadata=True
        )
    # Without the crops of a clip, the tables have the others.
    some = manifest.filter(pc.not_equal(manifest["video"], "519.mp4"))
    assert dict(faces_tables(recipe, some))["split.parquet"].num_rows == 10
    assert pc.all(pc.is_null(recipe.table["landmarks"])).as_py()
    assert recipe.header["left_out"][0].startswith("landmarks, which --landmarks keeps")


def test_a_recipe_of_shards(cut: Path, tmp_path: Path) -> None:
    dfdc_prep.make_recipe(cut / "shards", tmp_path / "a.recipe", faces=cut / "faces")
    recipe = read_recipe(tmp_path / "a.recipe")
    manifest = pq.read_table(cut / "faces" / "manifest.parquet")
    assert shards_manifest(recipe, manifest).equals(
        pq.read_table(cut / "shards" / "manifest.parquet"), check_metadata=True
    )
    files = recipe.header["files"]
    assert {"SHA256SUMS", "metadata.json", "croissant.json"} <= files.keys()
    assert all((cut / "shards" / name).read_text() == text for name, text in files.items())


def test_every_face_of_a_frame_in_shards_is_kept(
    clips: Path, yunet_model: Path, tmp_path: Path
) -> None:
    faces, shards = tmp_path / "faces", tmp_path / "shards"
    dfdc_prep.extract(clips, faces, frames=2, detector_model=yunet_model, workers=2)
    manifest = pq.read_table(faces / "manifest.parquet").to_pylist()
    # A second face, further right: the same crop again.
    second = [{**row, "face": 1, "path": row["path"].replace("_0.", "_1.")} for row in manifest]
    for row in manifest:
        shutil.copy(faces / row["path"], faces / row["path"].replace("_0.", "_1."))
    rows = [row for pair in zip(manifest, second, strict=True) for row in pair]
    pq.write_table(pa.Table.from_pylist(rows, MANIFEST_SCHEMA), faces / "manifest.parquet")
    log = pq.read_table(faces / "clips.parquet")
    pq.write_table(bound(log, manifest_hash(faces)), faces / "clips.parquet")
    some = [row for row in rows if row["face"] == 1 and row["frame"] > 10]
    table = bound(pa.Table.from_pylist(some, MANIFEST_SCHEMA), manifest_hash(faces))
    pq.write_table(table, faces / "balanced.parquet")
    dfdc_prep.shard(faces, shards, split="34/33/33")
    dfdc_prep.make_recipe(shards, tmp_path / "a.recipe", faces=faces)
    found = read_recipe(tmp_path / "a.recipe").table.to_pylist()
    assert sorted(row["face"] for row in found) == [0] * len(some) + [1] * len(some)
    assert all((row["record"] is None) == (row["face"] == 0) for row in found)


def test_the_same_bytes_after_a_restart_and_from_another_place(
    faces: Path, clips: Path, tmp_path: Path
) -> None:
    dfdc_prep.make_recipe(faces, tmp_path / "a.recipe")
    # A run that ends at a lost crop keeps what it has read.
    crop = max(faces.glob("crops/*/*/*.png"))
    crop.rename(tmp_path / "lost.png")
    with pytest.raises(ShardError, match="expected to read the crop"):
        dfdc_prep.make_recipe(faces, tmp_path / "b.recipe")
    journal = tmp_path / "b.recipe.journal"
    assert 0 < len(journal.read_text().splitlines()) < 6
    with journal.open("a") as file:
        file.write('{"key": "half a li')
    (tmp_path / "lost.png").rename(crop)
    elsewhere = Path(shutil.copytree(clips, tmp_path / "elsewhere"))
    dfdc_prep.make_recipe(faces, tmp_path / "b.recipe", source=elsewhere)
    assert (tmp_path / "a.recipe").read_bytes() == (tmp_path / "b.recipe").read_bytes()
    assert not journal.exists()


def test_aligned_crops_keep_their_landmarks_and_fakes_their_masks(
    shared: Path, yunet_model: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    dfdc_prep.extract(
        shared / "data" / "faceforensics",
        faces,
        compression="c40",
        frames=1,
        align="five-point",
        compare=True,
        masks=True,
        detector_model=yunet_model,
        workers=2,
    )
    dfdc_prep.make_recipe(faces, tmp_path / "a.recipe")
    recipe = read_recipe(tmp_path / "a.recipe")
    assert recipe.header["left_out"] == []
    assert not np.isnan(landmarks_of(recipe.table)).any()
    rows = recipe.table.to_pylist()
    assert [row["mask_sha256"] is not None for row in rows] == [r["label"] == "FAKE" for r in rows]
    assert {row["file"] for row in rows if row["label"] == "REAL"} == {
        f"original_sequences/youtube/c40/videos/{name}.mp4" for name in (183, 253)
    }
    # The set names its people, so that a split by identity has columns of its own.
    dfdc_prep.balance(faces, strategy="pairs")
    dfdc_prep.split(faces, split="50/50", group_by="identity")
    dfdc_prep.shard(faces, tmp_path / "shards", split="50/50", group_by="identity")
    dfdc_prep.make_recipe(faces, tmp_path / "b.recipe")
    assert read_recipe(tmp_path / "b.recipe").header["tables"] == {
        name: file_sha256(faces / name)
        for name in ("manifest.parquet", "balanced.parquet", "split.parquet")
    }
    dfdc_prep.make_recipe(tmp_path / "shards", tmp_path / "c.recipe", faces=faces)
    assert (
        "identity_source"
        in read_recipe(tmp_path / "c.recipe").header["columns"]["manifest.parquet"]
    )


def refused(
    path: Path, out: Path, kind: type[DfdcPrepError], message: str, **options: Path
) -> None:
    with pytest.raises(kind, match=message) as caught:
        dfdc_prep.make_recipe(path, out, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith("expected ")
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_what_cannot_be_rebuilt_is_refused(faces: Path, cut: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.recipe"
    refused(tmp_path / "none", out, TableError, "found none")
    (tmp_path / "empty").mkdir()
    refused(faces, out, SourceError, "found no metadata", source=tmp_path / "empty")
    refused(faces, out, RecipeError, "no folder on this machine", source=tmp_path / "none")
    refused(cut / "shards", out, RecipeError, "found a shards folder", faces=cut / "shards")
    run = json.loads((faces / "run.json").read_text())
    for command, message in (("import", "how its crops were cut"), ("rebuild", "hand on the rec")):
        (faces / "run.json").write_text(json.dumps({**run, "command": command}))
        refused(faces, out, RecipeError, message)
    (faces / "run.json").write_text(json.dumps({**run, "options": {"layout": "dfdc"}}))
    refused(faces, out, RecipeError, "found no frames")
    (faces / "run.json").write_text(json.dumps(run))
    (faces / "clips.parquet").unlink()
    refused(faces, out, RecipeError, r"found no clips\.parquet")


def test_a_changed_row_is_refused(faces: Path, tmp_path: Path) -> None:
    table = pq.read_table(faces / "manifest.parquet")
    rows = table.to_pylist()
    rows[3]["crop_x"] += 1
    pq.write_table(pa.Table.from_pylist(rows, table.schema), faces / "manifest.parquet")
    log = pq.read_table(faces / "clips.parquet")
    pq.write_table(bound(log, manifest_hash(faces)), faces / "clips.parquet")
    for name in ("balanced.parquet", "split.parquet"):
        (faces / name).unlink()
    refused(faces, tmp_path / "a.recipe", RecipeError, "expected crop_x -?[0-9]+ of crops/")


def test_another_clip_is_refused(faces: Path, clips: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(clips, tmp_path / "elsewhere"))
    part = elsewhere / "dfdc_train_part_1"
    shutil.copy(part / "634.mp4", part / "519.mp4")
    refused(faces, tmp_path / "a.recipe", RecipeError, "found another file", source=elsewhere)
    (part / "519.mp4").unlink()
    refused(faces, tmp_path / "a.recipe", RecipeError, "found no such clip", source=elsewhere)


def test_a_card_says_who_may_use_it(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"license": "CC BY 4.0", "citeAs": "Us, 2026"}')
    dfdc_prep.make_recipe(faces, tmp_path / "a.recipe", card=tmp_path / "card.json")
    shown = str(dfdc_prep.make_recipe(tmp_path / "a.recipe", show=True))
    assert "license   CC BY 4.0\n" in shown
    assert "citeAs    Us, 2026" in shown


def test_the_rows_of_each_of_many_clips_are_its_own() -> None:
    names = sorted(f"c{n:02}{end}.mp4" for n in range(90) for end in ("519", "519_515", "634"))
    videos = [name for name in names for _ in range(10)]
    table = pa.table({"part": ["dfdc_train_part_1"] * len(videos), "video": videos})
    found = _ranges(table)
    assert len(found) == len(names)
    for (_, video), rows in found.items():
        assert {videos[row] for row in rows} == {video}
        assert len(rows) == 10
