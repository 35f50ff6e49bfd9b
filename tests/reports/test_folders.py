"""Reports of whole folders: what they show, the same bytes, damaged and missing input."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from PIL import Image

import dfdc_prep
from cli import main
from dfdc_prep.errors import DfdcPrepError, SourceError
from dfdc_prep.extraction.output import start_run
from manifests.arrow import MANIFEST_SCHEMA
from manifests.tables.parquet import read_manifest
from tests.crop_sets import make_faces, write_both
from tests.reports.folders import (
    HOSTILE,
    faces_folder,
    replace_manifest,
    run_folder,
    shards_folder,
)
from tests.reports.test_page import HOSTILE as NAME
from tests.reports.test_page import Tags
from training.runs.folder import Run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder of each kind."""
    root = tmp_path_factory.mktemp("folders")
    return {
        "faces": faces_folder(root / "faces"),
        "shards": shards_folder(root / "made"),
        "run": run_folder(root / "run"),
    }


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Copies of the folders, to be damaged."""
    return {
        kind: Path(shutil.copytree(folder, tmp_path / kind)) for kind, folder in folders.items()
    }


def test_people_in_two_splits_are_not_said_to_be_alike_by_chance(tmp_path: Path) -> None:
    rows = ["video,label,original,identity,split"]
    for split in ("train", "test"):
        for n in range(3):
            real, person = f"{split}{n}.mp4", f"p{n}"
            rows += [f"{real},REAL,,{person},{split}", f"f{real},FAKE,{real},{person},{split}"]
    (tmp_path / "split.csv").write_text("\n".join(rows))
    text = text_of(tmp_path / "split.csv")
    assert "leaks: the splits share identities" in text.lower()
    assert "dfdc-prep split --group-by identity keeps the people filmed apart." in text
    assert "look at the pairs" not in text


def test_a_faces_folder_without_crops_and_clips_has_nothing_to_filter(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "faces", families=1)
    (folder / "clips.parquet").unlink()
    replace = read_manifest(folder / "manifest.parquet").slice(0, 0)
    write_both(folder, replace)
    html = dfdc_prep.report(folder).out.read_text()
    assert "There is no crop in manifest.parquet." in html
    assert "<div data-filters" not in html


def text_of(path: Path, other: Path | None = None) -> str:
    """The text of a report without its script and style; "nan" must be nowhere in it."""
    html = dfdc_prep.report(path, other).out.read_text()
    text = Tags(re.sub(r"<(script|style)>.*?</\1>", "", html, flags=re.DOTALL)).text
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text)
    return " ".join(text.split())


@pytest.mark.parametrize("kind", ["faces", "shards", "run"])
def test_a_folder_gives_the_same_bytes_twice(copy: dict[str, Path], kind: str) -> None:
    first = dfdc_prep.report(copy[kind])
    again = dfdc_prep.report(copy[kind], out=copy[kind].parent / "again.html")
    assert first.kind == kind
    assert first.out == copy[kind] / "report.html"
    assert first.out.read_bytes() == again.out.read_bytes()


def test_each_report_begins_with_what_was_found_and_what_was_not_checked(
    copy: dict[str, Path],
) -> None:
    faces, shards, run = (text_of(copy[kind]) for kind in ("faces", "shards", "run"))
    assert "Faces were found in 24 of 31 clips, 77.4 %; 6 failed, 1 showed no face." in faces
    assert "Not checked: whether each crop shows the face that it should" in faces
    assert dfdc_prep.audit(copy["shards"]).caption()[1:] in shards
    largest = "The largest leak: near-identical images shared by test and train: 1, in "
    assert f"24 of 24 images were compared. {largest}" in shards
    assert (
        "Per clip on the test split, 12 clips of 12 families: accuracy 0.7500 (95 % interval 0.5"
        in run
    )
    assert "Not checked here: leaks between the splits (dfdc-prep audit), other data sets." in run


def test_a_run_on_shards_that_leak_says_so(copy: dict[str, Path]) -> None:
    found = json.loads((copy["run"] / "config.json").read_text())
    found["data"]["metadata"] = {"group_by": "none", "split": {"train": 0.56}}
    (copy["run"] / "config.json").write_text(json.dumps(found))
    text = text_of(copy["run"])
    assert "split without regard to families, so the figures are too good" in text
    assert "train 4 4 100.0 % 56.0 %" in text


def test_the_share_wanted_of_each_split_is_beside_the_actual_one(copy: dict[str, Path]) -> None:
    text = text_of(copy["shards"])
    assert "crops of all target clips families" in text
    assert re.search(r"test \d+ \d+ \d+ [\d.]+ % 20.0 %", text)


def test_charts_and_tables_have_the_same_medians(copy: dict[str, Path]) -> None:
    html = dfdc_prep.report(copy["faces"]).out.read_text()
    (row,) = re.findall(r">brightness</th>(.*?)</tr>", html, re.DOTALL)
    real, fake = re.findall(r"<td[^>]*>([^<]*)</td>", row)[2:4]
    assert f"<p>Medians of the clips: REAL {real}, FAKE {fake}</p>" in html


def test_no_family_is_twice_among_the_extremes(copy: dict[str, Path]) -> None:
    html = dfdc_prep.report(copy["faces"]).out.read_text()
    sheet = html.partition("Darkest crops")[2].partition("</figure>")[0]
    clips = re.findall(r"<span>([^<]*)\.mp4</span>", sheet)
    families = {
        row["video"].removesuffix(".mp4"): row["family"]
        for row in read_manifest(copy["faces"] / "manifest.parquet").to_pylist()
    }
    assert len(clips) == len({families[clip] for clip in clips}) == 12


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_with_splits_has_a_page_beside_it(tmp_path: Path, suffix: str) -> None:
    faces = make_faces(tmp_path / "faces")
    table = faces / f"split{suffix}"
    dfdc_prep.split(faces, group_by="none", out=table)
    text = text_of(table)
    assert (faces / "split.report.html").is_file()
    assert "Leaks: the splits share families" in text
    assert "The largest leak:" in text
    assert "REAL: 36 of" in text or "REAL: 12 of 12 crops" in text
    assert "Not checked: whether the labels are right." in text


def test_a_table_without_images_and_splits_says_what_was_not_checked(tmp_path: Path) -> None:
    rows = f'video,label,original\n"{NAME.replace(chr(34), "")}",REAL,\nb.mp4,FAKE,c.mp4\n'
    (tmp_path / "set.csv").write_text(rows)
    text = text_of(tmp_path / "set.csv")
    assert "REAL: 1 crop of 1 clip, FAKE: 1 crop of 1 clip; families: 2." in text
    assert "leaks, as the table has no column split; the images, as none is found" in text


def test_the_result_of_an_audit_has_a_page(copy: dict[str, Path], tmp_path: Path) -> None:
    found = dfdc_prep.audit(copy["shards"])
    (tmp_path / "audit.json").write_text(json.dumps(found.as_json()))
    text = text_of(tmp_path / "audit.json")
    assert f"{found.caption()[1:]}. 24 of 24 images were compared. The largest leak: " in text
    assert all(f"{split} {crops}" in text for split, crops in found.rows.items())
    (tmp_path / "audit.json").write_text('{"rows": 3}')
    with pytest.raises(
        DfdcPrepError, match=r"^expected what [^\n]*audit.json, found rows: [^\n]*$"
    ):
        dfdc_prep.report(tmp_path / "audit.json")


def test_two_runs_are_shown_side_by_side(
    copy: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before_it = sorted(copy["run"].iterdir())
    other = Path(shutil.copytree(copy["run"], tmp_path / "second"))
    found = json.loads((other / "config.json").read_text())
    found["options"]["seed"] = 7
    (other / "config.json").write_text(json.dumps(found))
    found = json.loads((other / "metrics.json").read_text())
    found["clip"]["accuracy"] = 0.5
    (other / "metrics.json").write_text(json.dumps(found))
    text = text_of(copy["run"], other)
    page = tmp_path / "run-second.report.html"
    assert sorted(copy["run"].iterdir()) == before_it
    assert "accuracy per clip 0.7500 0.5000 to 0.9000 0.5000 0.5000 to 0.9000 -0.2500" in text
    assert "1 setting that differs name run second options: seed 42 7" in text
    assert "Both were tested on the same 12 clips." in text
    assert "Whether a difference is more than chance was not tested." in text
    before = page.read_bytes()
    assert dfdc_prep.report(copy["run"], other, out=tmp_path / "a.html").kind == "runs"
    assert (tmp_path / "a.html").read_bytes() == before
    (other / "predictions.parquet").unlink()
    (other / "metrics.json").unlink()
    text = text_of(copy["run"], other)
    assert "the same clips is not known: second has no predictions.parquet" in text
    assert "second: The run is not finished" in text


def test_runs_tested_on_other_clips_are_not_compared(
    copy: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = run_folder(tmp_path / "few", images=20)
    said = "tested on different clips, 12 and 10, of which 10 are the same"
    assert said in text_of(copy["run"], other)
    for run in (other, copy["run"]):
        (run / "predictions.parquet").unlink()
    assert "is not known: run and few have no predictions.parquet." in text_of(copy["run"], other)


@pytest.mark.parametrize("kind", ["run", "faces"])
def test_only_two_different_runs_are_compared(copy: dict[str, Path], kind: str) -> None:
    with pytest.raises(SourceError, match="expected two different runs to compare"):
        dfdc_prep.report(copy["run"], copy[kind])


def test_a_file_that_is_no_report_is_not_replaced(copy: dict[str, Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<title>mine</title>")
    with pytest.raises(DfdcPrepError, match="or one that dfdc-prep report wrote"):
        dfdc_prep.report(copy["run"], out=mine)
    assert mine.read_text() == "<title>mine</title>"
    mine.unlink()
    dfdc_prep.report(copy["run"], out=mine)
    dfdc_prep.report(copy["run"], out=mine)


def test_the_command_prints_the_result(copy: dict[str, Path]) -> None:
    done = CliRunner().invoke(main, ["report", str(copy["run"])])
    assert done.exit_code == 0
    assert done.stdout == f"{dfdc_prep.report(copy['run'])}\n"


def test_faces_show_why_clips_failed_and_every_kind_of_sheet(copy: dict[str, Path]) -> None:
    text = text_of(copy["faces"])
    assert "Clips that are not ok: 7" in text
    assert f"found no picture in {HOSTILE}" in text
    assert "REAL: 12 of 12 crops" in text
    assert "Darkest crops" in text
    assert "An original and one of its fakes: 12 of 12 originals" in text


def test_shards_show_the_figures_of_the_audit(tmp_path: Path) -> None:
    shards = shards_folder(tmp_path, group_by="none")
    text = text_of(shards)
    found = dfdc_prep.audit(shards)
    assert found.families
    for leak in [*found.families, *(found.files or []), *(found.images or [])]:
        crops, rate = sum(leak.touched.values()), f"{100 * leak.rate:.1f} %"
        assert f"{leak.second} and {leak.first} {leak.shared} {crops} {rate}" in text
    assert "Leaks: the splits share families" in text


def test_a_run_shows_results_mistakes_and_limits(copy: dict[str, Path]) -> None:
    text = text_of(copy["run"])
    assert "accuracy 0.7500 0.5000 to 0.9000" in text
    assert f"REAL with P(FAKE) 0.9800, frame 3, part_0/{HOSTILE}" in text
    assert "epochs is 2; the recipe has 47" in text
    assert "do not use it to accuse anyone" in text
    assert "blur, sigma px" in text


def test_a_run_shows_masks_beside_heatmaps(copy: dict[str, Path]) -> None:
    Image.new("RGB", (672, 224), "red").save(copy["run"] / "mistakes" / "01.png")
    found = json.loads((copy["run"] / "metrics.json").read_text())
    found["localization"] = {"images": 8, "pointing_game": 0.5, "energy": 0.25, "area": 0.125}
    (copy["run"] / "metrics.json").write_text(json.dumps(found))
    assert "largest on the mask in 50.0 %; 25.0 % of its energy lies there" in text_of(copy["run"])
    assert "mask of the REAL crop" in (copy["run"] / "report.html").read_text()


@pytest.mark.slow
def test_a_run_does_not_load_tensorflow(copy: dict[str, Path]) -> None:
    code = (
        f"import sys, dfdc_prep\ndfdc_prep.report({str(copy['run'])!r})\n"
        "print({'tensorflow', 'keras', 'cv2', 'training'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "accuracy"),
        ("history.csv", "There is no history.csv."),
        ("metrics.json", "The run is not finished"),
        ("predictions.parquet", "accuracy"),
        ("robustness.csv", "accuracy"),
        ("mistakes", "There is no folder of mistakes"),
        ("mistakes/01.png", "unreadable"),
    ],
)
def test_a_run_without_one_of_its_files(copy: dict[str, Path], missing: str, said: str) -> None:
    path = copy["run"] / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert said in text_of(copy["run"])


def test_an_interrupted_run_shows_its_curves(copy: dict[str, Path]) -> None:
    for name in ("metrics.json", "predictions.parquet", "robustness.csv"):
        (copy["run"] / name).unlink()
    shutil.rmtree(copy["run"] / "mistakes")
    assert "Epochs trained: 2. Epoch 2 had the lowest" in text_of(copy["run"])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"image": {}}', '{"image": null}', "\0"])
@pytest.mark.parametrize("name", ["metrics.json", "config.json"])
def test_broken_json_of_a_run_is_an_error_of_one_line(
    copy: dict[str, Path], name: str, content: str
) -> None:
    (copy["run"] / name).write_text(content)
    with pytest.raises(DfdcPrepError, match=f"expected a {name} of dfdc-prep fit in"):
        dfdc_prep.report(copy["run"])


@pytest.mark.parametrize("name", ["history.csv", "robustness.csv"])
@pytest.mark.parametrize("content", ["epoch,disturbance\n1,2\n", "a\nb\n", "\0\n\0\n"])
def test_broken_tables_of_a_run_are_an_error_of_one_line(
    copy: dict[str, Path], name: str, content: str
) -> None:
    (copy["run"] / name).write_text(content)
    with pytest.raises(DfdcPrepError, match=f"expected a {name} of dfdc-prep fit in"):
        dfdc_prep.report(copy["run"])


def test_faces_without_a_clip_log(copy: dict[str, Path]) -> None:
    (copy["faces"] / "clips.parquet").unlink()
    assert "There is no clips.parquet" in text_of(copy["faces"])


def test_missing_and_broken_crops_are_counted_and_shown_as_unreadable(
    copy: dict[str, Path],
) -> None:
    files = sorted(copy["faces"].glob("crops/**/*.png"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:300])
    files[2].write_bytes(b"no image")
    text = text_of(copy["faces"])
    assert "3 images are missing or unreadable." in text
    assert "unreadable" in text


def test_crops_of_one_label_cannot_be_compared(copy: dict[str, Path]) -> None:
    table = read_manifest(copy["faces"] / "manifest.parquet")
    table = table.filter(pc.equal(table["label"], "FAKE"))
    replace_manifest(copy["faces"], table)
    text = text_of(copy["faces"])
    assert "All crops are FAKE" in text
    assert "No original and fake of one family" in text


def test_nulls_of_an_imported_set_are_left_out(copy: dict[str, Path]) -> None:
    table = read_manifest(copy["faces"] / "manifest.parquet")
    kept = ("video", "part", "label", "family", "path", "sha256")
    rows = [{name: row[name] for name in kept} for row in table.to_pylist()]
    replace_manifest(copy["faces"], pa.Table.from_pylist(rows, MANIFEST_SCHEMA))
    assert "Smallest faces" not in text_of(copy["faces"])


def test_a_folder_without_any_crop_still_says_why(copy: dict[str, Path]) -> None:
    replace_manifest(copy["faces"], MANIFEST_SCHEMA.empty_table())
    text = text_of(copy["faces"])
    assert "There is no crop in manifest.parquet." in text
    assert "found no picture" in text


def test_a_path_outside_the_folder_is_not_read(copy: dict[str, Path], tmp_path: Path) -> None:
    table = read_manifest(copy["faces"] / "manifest.parquet")
    outside = next(iter(sorted(copy["faces"].glob("crops/**/*.png"))))
    shutil.copy(outside, tmp_path / "outside.png")
    paths = ["../outside.png", *table["path"].to_pylist()[1:]]
    at = table.column_names.index("path")
    table = table.set_column(at, MANIFEST_SCHEMA.field("path"), pa.array(paths))
    replace_manifest(copy["faces"], table)
    assert "1 image is missing or unreadable." in text_of(copy["faces"])


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a file", "an unfinished run"])
def test_other_paths_are_an_error_of_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "path"
    if what == "a file":
        path.write_text("text")
    elif what != "nothing":
        path.mkdir()
    if what == "an unfinished run":
        (path / "run.json").write_text(json.dumps({"options": {}}))
    with pytest.raises(DfdcPrepError, match=r"^expected [^\n]*; [^\n]*$") as caught:
        dfdc_prep.report(path)
    assert isinstance(caught.value, SourceError) == (what != "an unfinished run")


def test_a_damaged_shard_is_an_error_of_one_line(copy: dict[str, Path]) -> None:
    shard = next(copy["shards"].glob("*train*"))
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(DfdcPrepError, match="found that record"):
        dfdc_prep.report(copy["shards"])


def test_shards_with_a_page_are_verified_found_again_and_replaced(copy: dict[str, Path]) -> None:
    shards = copy["shards"]
    dfdc_prep.report(shards)
    (shards / ".report.html.0123456789abcdef.half.html").write_text("of a killed run")
    assert dfdc_prep.verify(shards).ok
    faces = faces_folder(shards.parent / "other")
    dfdc_prep.shard(faces, shards, seed=1, overwrite=True)
    assert not (shards / "report.html").exists()


def test_a_page_in_a_faces_folder_belongs_to_it(tmp_path: Path) -> None:
    faces = faces_folder(tmp_path / "faces")
    (faces / "run.json").write_text(json.dumps({"options": {"frames": 1}}))
    dfdc_prep.report(faces)
    start_run(faces, {"options": {"frames": 1}}, overwrite=False)
    assert (faces / "report.html").exists()
    start_run(faces, {"options": {"frames": 2}}, overwrite=True)
    assert os.listdir(faces) == ["run.json"]


def test_an_import_replaces_a_faces_folder_with_a_page(tmp_path: Path) -> None:
    make_faces(tmp_path / "made")
    images = tmp_path / "made" / "crops" / "dfdc_train_part_0" / "clip000"
    (tmp_path / "table.csv").write_text("path,video,label\n000000_0.png,a.mp4,REAL\n")
    for _ in range(2):
        dfdc_prep.import_crops(images, tmp_path / "table.csv", tmp_path / "faces")
        assert dfdc_prep.report(tmp_path / "faces").out.is_file()


def test_a_run_with_a_page_resumes_and_starts_over(tmp_path: Path) -> None:
    run = Run(run_folder(tmp_path / "run"))
    dfdc_prep.report(run.folder)
    run.clear()
    assert not {"report.html", "mistakes"} & set(os.listdir(run.folder))


def test_a_run_tested_on_few_clips_shows_no_figure_as_a_result(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", images=4)
    found = json.loads((run / "metrics.json").read_text())
    for level in ("image", "clip"):
        found[level] |= {"auc": 1.0, "accuracy": 1.0}
        found[level]["interval"] = {key: [None, None] for key in found[level]["interval"]}
    found |= {
        "too_few": "2 clips: too few to say",
        "undecided": {"low": 0.0, "high": 1.0, "why": "the model was tested on 2 clips"},
        "remarks": ["Temperature 20 is the largest that is tried."],
        "families": 1,
    }
    (run / "metrics.json").write_text(json.dumps(found))
    page = dfdc_prep.report(run).out.read_text()
    facts = page.partition("</dl>")[0]
    assert "2 clips: too few to say" in facts
    assert "1.0000" not in facts
    assert "ROC curves" not in page
    assert "Results on the test split, 2 clips of 1 family; intervals by family" in page
    assert "Tested on 2 clips: too few to say." in page
    assert "scores from 0.0000 to 1.0000 are undecided: the model was tested on 2 clips." in page
    assert "Temperature 20 is the largest that is tried." in page
