"""A rebuilt data set is the author's to the byte, or it is said what is not."""

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pytest
from click.testing import CliRunner

import dfdc_prep
from cli import main
from dfdc_prep.errors import OptionsDiffer, OutputError, RecipeError
from dfdc_prep.recipe.comparison import Comparison
from dfdc_prep.recipe.file import read_recipe, write_recipe
from manifests.arrow import CLIP_LOG_SCHEMA
from manifests.tables.parquet import read_table
from tests.extraction.test_run import digest
from tests.recipe import copies
from tests.storage.server import S3Server

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TABLES = ("balanced.parquet", "split.parquet")
Rebuild = Callable[..., Comparison]


@pytest.fixture(scope="session")
def recipe(cut: Path) -> Path:
    """The recipe of the crops."""
    dfdc_prep.make_recipe(cut / "faces", cut / "faces.recipe", landmarks=True)
    return cut / "faces.recipe"


@pytest.fixture(scope="session")
def shards_recipe(cut: Path) -> Path:
    """The recipe of the shards."""
    dfdc_prep.make_recipe(cut / "shards", cut / "shards.recipe", faces=cut / "faces")
    return cut / "shards.recipe"


@pytest.fixture
def rebuild(monkeypatch: pytest.MonkeyPatch) -> Rebuild:
    """Rebuild without a detector's weights."""
    monkeypatch.setenv("DFDC_PREP_YUNET", "/nowhere")

    def call(*places: object, **how: Any) -> Comparison:
        found = dfdc_prep.rebuild(*map(str, places), **{"workers": 2, **how})
        assert isinstance(found, Comparison)
        return found

    return call


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_another_machine_leaves_the_same_bytes(
    cut: Path, recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    flat, scratch = tmp_path / "clips of mine", tmp_path / "scratch"
    flat.mkdir()
    scratch.mkdir()
    for clip in clips.glob("*/*.mp4"):
        (flat / clip.name).symlink_to(clip)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    found = rebuild(recipe, flat, tmp_path / "theirs", workers=1)
    assert (found.ok, found.crops, found.clips) == (True, {"same to the byte": 12}, {"same": 6})
    assert set(found.files.values()) == {"same"}
    assert not found.libraries
    assert digest(tmp_path / "theirs") == digest(cut / "faces")
    for name in TABLES:
        assert (tmp_path / "theirs" / name).read_bytes() == (cut / "faces" / name).read_bytes()
    assert not any(scratch.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"faces": "all", "share_boxes": False, "compare": True},
        {"align": "five-point", "margin": 0.15, "size": 96},
        {"masks": True, "format": "jpg", "frames": {"real": 3, "fake": 2}},
        {"masks": True, "sampling": "keyframes", "align": "eyes"},
    ],
    ids=str,
)
def test_every_option_is_rebuilt(
    options: dict[str, Any], real_clips: Path, yunet_model: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    part, source = real_clips / "dfdc_train_part_1", tmp_path / "dfdc"
    source.mkdir()
    entries = json.loads((part / "metadata.json").read_text())
    for name in ("004.mp4", "004_982.mp4"):
        (source / name).symlink_to(part / name)
    (source / "metadata.json").write_text(
        json.dumps({n: entries[n] for n in entries if "004" in n})
    )
    given = {"frames": 2, "workers": 2, "detector_model": yunet_model, **options}
    dfdc_prep.extract(source, tmp_path / "faces", **given)
    dfdc_prep.make_recipe(tmp_path / "faces", tmp_path / "a.recipe", landmarks=True)
    found = rebuild(tmp_path / "a.recipe", source, tmp_path / "theirs")
    assert (found.ok, set(found.files.values())) == (True, {"same"})
    assert digest(tmp_path / "theirs") == digest(tmp_path / "faces")


def test_families_of_faceforensics_are_rebuilt(
    shared: Path, yunet_model: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    source = shared / "data" / "faceforensics"
    dfdc_prep.extract(
        source, tmp_path / "faces", frames=2, masks=True, detector_model=yunet_model, workers=2
    )
    dfdc_prep.make_recipe(tmp_path / "faces", tmp_path / "a.recipe", landmarks=True)
    found = rebuild(tmp_path / "a.recipe", source, tmp_path / "theirs")
    assert (found.ok, found.clips) == (True, {"same": 10})
    assert digest(tmp_path / "theirs") == digest(tmp_path / "faces")


def test_each_clip_that_is_not_the_authors_is_named_and_good_ones_go_on(
    cut: Path, recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    part, mine = clips / "dfdc_train_part_1", tmp_path / "dfdc" / "dfdc_train_part_1"
    mine.mkdir(parents=True)
    copies.remuxed(part / "004.mp4", mine / "004.mp4")
    copies.reencoded(part / "004_982.mp4", mine / "004_982.mp4")
    shutil.copyfile(part / "634.mp4", mine / "519.mp4")
    copies.cut(part / "519_515.mp4", mine / "519_515.mp4")
    (mine / "634_660.mp4").write_text("no clip")
    out = tmp_path / "theirs"
    found = rebuild(recipe, mine.parent, out)
    named = {each.clip.partition("/")[2]: each for each in found.differing}
    assert {name: each.copy for name, each in named.items()} == {
        "004.mp4": "re-muxed",
        "004_982.mp4": "re-encoded",
        "519.mp4": "other clip",
        "519_515.mp4": "cut short",
        "634.mp4": "missing",
        "634_660.mp4": "unreadable",
    }
    assert found.crops == {"same to the byte": 2, "near": 2, "not there": 8}
    near = named["004_982.mp4"].psnr
    assert near is not None
    assert 25 < near < 60
    assert not found.ok
    assert "2 of 12 crops" in found.text().splitlines()[-1]
    assert found.text().count("\ndfdc_train_part_1/") == 5
    log = read_table(out / "clips.parquet", CLIP_LOG_SCHEMA, "")
    assert log["copy"].to_pylist()[:2] == ["re-muxed", "re-encoded"]
    assert log["status"].to_pylist()[2] == "missing"
    for path in part.glob("*.mp4"):
        shutil.copyfile(path, mine / path.name)
    again = rebuild(recipe, mine.parent, out)
    assert (again.ok, again.clips) == (True, {"same": 6})
    assert digest(out) == digest(cut / "faces")


def test_a_copy_in_which_the_middle_was_changed_is_altered(
    recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(clips, tmp_path / "dfdc")) / "dfdc_train_part_1" / "519.mp4"
    data = bytearray(mine.read_bytes())
    data[len(data) // 4 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 4)
    mine.write_bytes(data)
    found = rebuild(recipe, tmp_path / "dfdc", tmp_path / "theirs")
    assert found.clips == {"same": 5, "altered": 1}


def test_a_run_that_is_killed_ten_times_goes_on(
    cut: Path, recipe: Path, clips: Path, tmp_path: Path
) -> None:
    out, draw = tmp_path / "theirs", random.Random(7)
    words = [sys.executable, "-m", "cli", "rebuild", str(recipe), str(clips), str(out)]
    for _ in range(10):
        process = subprocess.Popen(
            [*words, "--workers", "1"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(draw.uniform(0.5, 3))
        process.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        process.wait(60)
        time.sleep(0.1)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert digest(out) == digest(cut / "faces")
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_slices_are_finished_by_the_command_without_one(
    cut: Path, recipe: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "theirs"
    for number in (1, 2):
        part = dfdc_prep.rebuild(recipe, clips, out, slice=f"{number}/2", workers=2)
        assert f"slice {number}/2; when all are done, run the same command without" in str(part)
        assert not (out / "manifest.parquet").exists()
    with pytest.raises(OutputError, match="found those of rebuild; run rebuild without --slice"):
        dfdc_prep.gather(out)
    journals = [path.read_bytes() for path in out.glob("journal-*")]
    assert sum(each.count(b"\n") for each in journals) == 3
    found = dfdc_prep.rebuild(recipe, clips, out, workers=2)
    assert isinstance(found, Comparison)
    assert found.ok
    assert digest(out) == digest(cut / "faces")


def test_the_folder_of_another_recipe_or_command_is_refused(
    recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path, yunet_model: Path
) -> None:
    rebuild(recipe, clips, tmp_path / "theirs")
    known = read_recipe(recipe)
    write_recipe(tmp_path / "b.recipe", {**known.header, "card": {"url": ["x"]}}, known.table)
    with pytest.raises(OptionsDiffer, match=r"^expected recipe .* found recipe .* --overwrite"):
        rebuild(tmp_path / "b.recipe", clips, tmp_path / "theirs")
    with pytest.raises(OptionsDiffer, match="expected recipe None"):
        dfdc_prep.extract(clips, tmp_path / "theirs", frames=2, detector_model=yunet_model)
    assert rebuild(tmp_path / "b.recipe", clips, tmp_path / "theirs", overwrite=True).ok


def test_shards_are_the_authors(
    cut: Path, shards_recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    places = (shards_recipe, clips, tmp_path / "theirs", tmp_path / "shards")
    found = rebuild(*places)
    assert (found.ok, set(found.files.values())) == (True, {"same"})
    assert contents(tmp_path / "shards") == contents(cut / "shards")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}
    assert rebuild(*places).ok
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}
    (tmp_path / "shards" / "label.labels.txt").write_text("FAKE\nREAL\n")
    with pytest.raises(OptionsDiffer, match="to be empty or the recipe's shards"):
        rebuild(*places)
    assert rebuild(*places, overwrite=True).ok
    assert contents(tmp_path / "shards") == contents(cut / "shards")


def test_shards_without_the_authors_crops_are_not_written(
    shards_recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(clips, tmp_path / "dfdc"))
    (mine / "dfdc_train_part_1" / "519.mp4").unlink()
    found = rebuild(shards_recipe, mine, tmp_path / "theirs", tmp_path / "shards")
    assert not found.ok
    assert found.notes == (
        f"{tmp_path / 'shards'} not written: it would not have the author's crops",
    )
    assert not (tmp_path / "shards").exists()


def test_faces_have_no_shards(recipe: Path, rebuild: Rebuild, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="expected a recipe of shards, found one of a faces"):
        rebuild(recipe, tmp_path, tmp_path / "theirs", tmp_path / "shards")
    assert not (tmp_path / "theirs").exists()


def test_verify_compares_pixels_and_changes_nothing(recipe: Path, faces: Path) -> None:
    crops = sorted(faces.glob("crops/*/*/*.png"))
    image = cv2.imread(str(crops[0]))
    assert image is not None
    cv2.imwrite(str(crops[0]), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    for crop in crops[2:4]:
        own = cv2.imread(str(crop))
        assert own is not None
        cv2.imwrite(str(crop), own ^ 3)
    for crop in crops[4:6]:
        crop.write_bytes(crops[8].read_bytes())
    crops[6].unlink()
    crops[7].write_text("no picture")
    before = contents(faces)
    result = CliRunner().invoke(main, ["rebuild", str(recipe), "--verify", str(faces), "--json"])
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["crops"] == {
        "same to the byte": 5,
        "same to the pixel": 1,
        "near": 2,
        "another picture": 3,
        "not there": 1,
    }
    assert 30 < found["psnr"] < 55
    assert found["clips"] == {"not compared": 6}
    assert set(found["files"].values()) == {"same"}
    assert contents(faces) == before


def test_verify_takes_no_source(recipe: Path, cut: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(main, ["rebuild", "--verify", str(recipe), str(cut / "faces")])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        0,
        f"12 of 12 crops in {cut / 'faces'} are the author's",
    )
    words = ["rebuild", "--verify", str(recipe), "dfdc", "faces", "shards"]
    assert "--verify reads no SOURCE" in runner.invoke(main, words).output
    gone = runner.invoke(main, ["rebuild", "--verify", str(recipe), str(tmp_path / "no")])
    assert gone.exit_code == 1


def test_a_library_that_differs_is_named(recipe: Path, cut: Path, tmp_path: Path) -> None:
    known = read_recipe(recipe)
    versions = {**known.header["versions"], "av": "1.2.3"}
    write_recipe(tmp_path / "b.recipe", {**known.header, "versions": versions}, known.table)
    found = dfdc_prep.rebuild(tmp_path / "b.recipe", out=cut / "faces", verify=True)
    assert isinstance(found, Comparison)
    assert found.libraries == {"av": ("1.2.3", known.header["versions"]["av"])}
    assert "\nav: 1.2.3 of the author, " in str(found)


@pytest.mark.parametrize("name", ["manifest.parquet", "metadata.json"])
def test_a_shard_with_the_name_of_another_file_is_refused(
    name: str, shards_recipe: Path, clips: Path, rebuild: Rebuild, tmp_path: Path
) -> None:
    known = read_recipe(shards_recipe)
    at = known.table.column_names.index("shard")
    names = [name if each else None for each in known.table["shard"].to_pylist()]
    table = known.table.set_column(at, known.table.schema.field(at), pa.array(names, pa.string()))
    hostile = replace(known, table=table)
    write_recipe(tmp_path / "b.recipe", hostile.header, hostile.table)
    with pytest.raises(RecipeError, match="shard"):
        rebuild(tmp_path / "b.recipe", clips, tmp_path / "theirs", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_buckets_hold_the_same_bytes(
    cut: Path, shards_recipe: Path, clips: Path, rebuild: Rebuild, s3: S3Server, bucket: str
) -> None:
    s3.upload(clips, bucket, "dfdc")
    url = f"s3://{bucket}"
    found = rebuild(shards_recipe, f"{url}/dfdc", f"{url}/faces", f"{url}/shards")
    assert (found.ok, set(found.files.values())) == (True, {"same"})
    assert s3.files(bucket, "shards") == contents(cut / "shards")
    crops = {n: d for n, d in s3.files(bucket, "faces").items() if n.startswith("crops/")}
    assert crops == {n: d for n, d in contents(cut / "faces").items() if n.startswith("crops/")}
    again = rebuild(shards_recipe, out=f"{url}/faces", shards=f"{url}/shards", verify=True)
    assert (again.ok, set(again.files.values())) == (True, {"same"})
