"""Complete extractions of real clips: rows, crops, restarts, and clips that fail."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import pytest

from dfdc_prep.errors import OptionsDiffer, OutputError
from dfdc_prep.extraction.clip import CropOptions
from dfdc_prep.extraction.run import RunOptions, extract, prepare
from dfdc_prep.extraction.summary import RunSummary
from manifests.arrow import CLIP_LOG_SCHEMA, MANIFEST_SCHEMA
from manifests.folders import FacesFolder
from manifests.tables.parquet import read_manifest, read_table
from tests.crop_sets import crop_options
from tests.processes import workers_of

ROOT = Path(__file__).resolve().parents[2]
Extract = Callable[..., RunSummary]


@pytest.fixture
def run(yunet_model: Path) -> Extract:
    """Run an extraction with YuNet and two workers."""

    def call(source: Path, out: Path, frames: int = 2, **how: object) -> RunSummary:
        crop = {k: how.pop(k) for k in list(how) if k in CropOptions.__dataclass_fields__}
        options = crop_options(frames=frames, **crop)  # type: ignore[arg-type]
        how.setdefault("workers", 2)
        return extract(prepare(source, out, options, RunOptions(**how), "yunet", yunet_model))  # type: ignore[arg-type]

    return call


@pytest.fixture
def pair(real_clips: Path, tmp_path: Path) -> Path:
    """A source with one family: 004.mp4 and one fake of it."""
    folder = tmp_path / "dfdc" / "dfdc_train_part_1"
    folder.mkdir(parents=True)
    entries = json.loads((real_clips / "dfdc_train_part_1" / "metadata.json").read_text())
    kept = {name: entries[name] for name in ("004.mp4", "004_982.mp4")}
    (folder / "metadata.json").write_text(json.dumps(kept))
    for name in kept:
        (folder / name).symlink_to(real_clips / "dfdc_train_part_1" / name)
    return tmp_path / "dfdc"


def digest(faces: Path) -> dict[str, str]:
    """Hashes of the files that must not depend on workers and restarts."""
    files = [*faces.glob("crops/*/*/*"), faces / "manifest.parquet", faces / "metadata.csv"]
    return {str(f.relative_to(faces)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_every_real_clip_gives_its_face(
    run: Extract, real_clips: Path, tmp_path: Path, shared: Path
) -> None:
    faces = tmp_path / "faces"
    summary = run(real_clips, faces, frames=1)
    manifest = read_manifest(faces / "manifest.parquet").to_pandas()
    log = read_table(faces / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pandas()
    assert (summary.faces, summary.failed) == (14, 0)
    assert list(log["status"]) == ["ok"] * 14
    assert sorted(manifest["video"]) == sorted(log["video"])
    truth = pd.read_csv(shared / "data" / "faces_truth.csv")
    for row in manifest.itertuples():
        near = truth[truth["video"] == row.video]
        near = near.iloc[(near["frame"] - row.frame).abs().argsort()[:1]]
        x, y = row.x + row.w / 2, row.y + row.h / 2
        assert near["x"].item() < x < near["x"].item() + near["w"].item(), row.video
        assert near["y"].item() < y < near["y"].item() + near["h"].item(), row.video


def test_rows_say_what_the_files_are(run: Extract, pair: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    run(pair, faces)
    table = read_manifest(faces / "manifest.parquet")
    assert table.schema.names == MANIFEST_SCHEMA.names
    for row in table.to_pylist():
        encoded = (faces / row["path"]).read_bytes()
        assert hashlib.sha256(encoded).hexdigest() == row["sha256"]
        assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape == (
            224,
            224,
            3,
        )
    assert {row["label"]: row["box_source"] for row in table.to_pylist()} == {
        "REAL": "own",
        "FAKE": "original",
    }
    metadata = pd.read_csv(faces / "metadata.csv")
    assert list(metadata.columns) == [
        "videoname", "original_width", "original_height", "label", "original",
    ]  # fmt: skip
    assert metadata["original"].isna().tolist() == [True, True, False, False]


def test_a_fake_is_cropped_at_the_boxes_of_its_original(
    run: Extract, pair: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    run(pair, faces, frames=4)
    manifest = read_manifest(faces / "manifest.parquet").to_pandas()
    real, fake = (manifest[manifest["label"] == label] for label in ("REAL", "FAKE"))
    place = ["frame", "crop_x", "crop_y", "crop_size"]
    assert real[place].to_numpy().tolist() == fake[place].to_numpy().tolist()
    for one, other in zip(real["path"], fake["path"], strict=True):
        a, b = (cv2.imread(str(faces / p)).astype(int) for p in (one, other))
        corner = np.abs(a[:40, :40] - b[:40, :40]).mean()
        assert corner < 6, "the background differs by compression only"


def test_without_shared_boxes_each_clip_is_its_own(
    run: Extract, pair: Path, tmp_path: Path
) -> None:
    run(pair, tmp_path / "faces", share_boxes=False)
    manifest = read_manifest(tmp_path / "faces" / "manifest.parquet")
    assert set(manifest["box_source"].to_pylist()) == {"own"}


@pytest.mark.slow
def test_workers_and_restarts_change_no_byte(
    run: Extract, real_clips: Path, tmp_path: Path
) -> None:
    part = real_clips / "dfdc_train_part_1"
    run(part, tmp_path / "two")
    run(part, tmp_path / "one", workers=1)
    run(part, tmp_path / "steps", limit=2)
    journal = tmp_path / "steps" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"key": "partial')
    run(part, tmp_path / "steps")
    assert digest(tmp_path / "two") == digest(tmp_path / "one") == digest(tmp_path / "steps")


def test_a_finished_run_does_nothing_again(run: Extract, pair: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    run(pair, faces)
    before = {path: path.stat().st_mtime_ns for path in faces.glob("crops/*/*/*")}
    assert run(pair, faces).faces == 4
    assert before == {path: path.stat().st_mtime_ns for path in faces.glob("crops/*/*/*")}


def test_a_clip_whose_name_no_file_can_have_costs_that_clip(
    run: Extract, pair: Path, tmp_path: Path
) -> None:
    metadata = pair / "dfdc_train_part_1" / "metadata.json"
    entries = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**entries, "a\nb.mp4": {"label": "REAL"}}))
    summary = run(pair, tmp_path / "faces", frames=1)
    assert (summary.faces, summary.failed) == (2, 1)
    assert r"'dfdc_train_part_1/a\nb.mp4'" in summary.text()
    log = read_table(tmp_path / "faces/clips.parquet", CLIP_LOG_SCHEMA, "")
    assert log["video"].to_pylist() == ["004.mp4", "004_982.mp4"]


def copied(pair: Path) -> tuple[Path, Path]:
    """Replace the links of the pair by copies of the same size; return both, the original first."""
    clips = [pair / "dfdc_train_part_1" / name for name in ("004.mp4", "004_982.mp4")]
    contents = [clip.read_bytes() for clip in clips]
    size = max(map(len, contents))
    for clip, content in zip(clips, contents, strict=True):
        clip.unlink()
        clip.write_bytes(content.ljust(size, b"\0"))
    return clips[0], clips[1]


def test_a_clip_replaced_by_one_of_its_size_is_extracted_again(
    run: Extract, pair: Path, tmp_path: Path
) -> None:
    original, fake = copied(pair)
    run(pair, tmp_path / "faces")
    before = digest(tmp_path / "faces")
    fake.write_bytes(original.read_bytes())
    run(pair, tmp_path / "faces")
    assert digest(tmp_path / "faces") != before
    run(pair, tmp_path / "anew")
    assert digest(tmp_path / "faces") == digest(tmp_path / "anew")


def test_a_copied_source_is_not_extracted_again(run: Extract, pair: Path, tmp_path: Path) -> None:
    clips = copied(pair)
    run(pair, tmp_path / "faces")
    journal = (tmp_path / "faces/journal.jsonl").read_bytes()
    for clip in clips:
        os.utime(clip, (1, 1))
    run(pair, tmp_path / "faces")
    assert (tmp_path / "faces/journal.jsonl").read_bytes() == journal


def test_a_missing_crop_is_extracted_again(run: Extract, pair: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    run(pair, faces)
    before = digest(faces)
    next(faces.glob("crops/*/*/*")).unlink()
    run(pair, faces)
    assert digest(faces) == before


def test_another_option_refuses_and_overwrite_starts_again(
    run: Extract, pair: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    run(pair, faces)
    with pytest.raises(OptionsDiffer, match=r"frames 3.*frames 2.*--overwrite"):
        run(pair, faces, frames=3)
    assert run(pair, faces, frames=3, overwrite=True).faces == 6
    assert len(list(faces.glob("crops/*/*/*"))) == 6


def test_a_folder_with_other_things_is_left_alone(run: Extract, pair: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear to me")
    with pytest.raises(OutputError, match=r"found thesis\.txt"):
        run(pair, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear to me"
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]


def test_edge_clips_all_have_their_row(run: Extract, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dfdc" / "edge"
    folder.mkdir(parents=True)
    for clip in (shared / "data" / "edge").iterdir():
        (folder / clip.name).symlink_to(clip)
    (folder / "text.mp4").write_text("no clip")
    (folder / "empty.mp4").touch()
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    names = sorted(path.name for path in folder.iterdir())
    (folder / "metadata.json").write_text(json.dumps({n: {"label": "REAL"} for n in names}))
    summary = run(tmp_path / "dfdc", tmp_path / "faces", frames=10)
    log = read_table(tmp_path / "faces" / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pandas()
    status = dict(zip(log["video"], log["status"], strict=True))
    assert sorted(status) == names
    assert status["corrupted.mp4"] == "truncated"
    assert status["torchcodec_av1_video.mkv"] == "no_face"
    assert status["mmaction2_test.avi"] == "ok"
    assert status["text.mp4"] == status["empty.mp4"] == "unreadable"
    assert status["folder.mp4"] == status["pipe.mp4"] == "missing"
    assert status["loop.mp4"] in ("missing", "unreadable")
    assert summary.failed == 6
    assert log[log["status"].isin(["truncated", "unreadable", "missing"])]["error"].notna().all()


@pytest.mark.slow
def test_a_timeout_affects_only_its_clip(
    real_clips: Path, tmp_path: Path, yunet_model: Path
) -> None:
    faces = tmp_path / "faces"
    options = crop_options(frames=200, share_boxes=False)
    summary = extract(
        prepare(
            real_clips, faces, options, RunOptions(2, timeout=1.0, limit=2), "yunet", yunet_model
        )
    )
    log = read_table(faces / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pandas()
    assert set(log["status"]) == {"timeout"}
    assert summary.failed == 2
    assert "--timeout" in log["error"][0]
    assert not list(faces.glob("crops/*/*/*"))
    options = RunOptions(2, timeout=100.0, limit=2)
    again = extract(prepare(real_clips, faces, crop_options(frames=200, share_boxes=False), options,
                    "yunet", yunet_model))  # fmt: skip
    assert (again.failed, again.clips["REAL", "ok"] + again.clips["FAKE", "ok"]) == (0, 2)


@contextmanager
def killer(times: int, after: float = 1.0) -> Iterator[None]:
    """Kill `times` workers that have used more than `after` seconds of CPU time."""
    over = threading.Event()

    def kill() -> None:
        dead: set[int] = set()
        while len(dead) < times and not over.wait(0.05):
            for worker in workers_of():
                with suppress(psutil.Error):
                    if worker.cpu_times().user > after and worker.pid not in dead:
                        worker.kill()
                        dead.add(worker.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_worker_that_dies_once_loses_nothing(
    run: Extract, real_clips: Path, tmp_path: Path
) -> None:
    with killer(1):
        summary = run(real_clips, tmp_path / "faces", frames=30, workers=1, limit=3)
    assert (summary.failed, summary.faces) == (0, 90)


@pytest.mark.slow
def test_a_clip_that_kills_its_worker_twice_is_crashed(real_clips: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    with killer(2, after=4.0):  # while a worker loads dlib it has no clip yet
        extract(prepare(real_clips, faces, crop_options(frames=200), RunOptions(1, limit=1), "hog"))
    log = read_table(faces / "clips.parquet", CLIP_LOG_SCHEMA, "").to_pandas()
    assert log["status"].tolist() == ["crashed"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_continues_to_the_same_bytes(
    run: Extract, real_clips: Path, tmp_path: Path, yunet_model: Path, how: signal.Signals
) -> None:
    source = real_clips / "dfdc_train_part_1"
    words = f"extract {source} {tmp_path / 'faces'} --frames 6 --detector yunet"
    command = [sys.executable, "-m", "cli", *words.split(), "--detector-model", str(yunet_model)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "faces" / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.01)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert said.splitlines()[-1] == "interrupted: run the same command again to resume"
    assert not (tmp_path / "faces" / "manifest.parquet").exists()
    run(source, tmp_path / "faces", frames=6)
    run(source, tmp_path / "undisturbed", frames=6)
    assert digest(tmp_path / "faces") == digest(tmp_path / "undisturbed")


def test_two_runs_on_one_folder_the_second_names_the_first(
    run: Extract, pair: Path, tmp_path: Path
) -> None:
    with (
        FacesFolder.locked(tmp_path / "faces"),
        pytest.raises(OutputError, match=f"process {os.getpid()} on"),
    ):
        run(pair, tmp_path / "faces")


def test_boxes_that_do_not_fit_are_not_shared(
    run: Extract, real_clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "dfdc" / "p"
    folder.mkdir(parents=True)
    for name in ("004.mp4", "634.mp4"):
        (folder / name).symlink_to(real_clips / "dfdc_train_part_1" / name)
    entries = {"004.mp4": {"label": "REAL"}, "634.mp4": {"label": "FAKE", "original": "004.mp4"}}
    (folder / "metadata.json").write_text(json.dumps(entries))
    run(tmp_path / "dfdc", tmp_path / "faces", frames=3)
    rows = read_manifest(tmp_path / "faces" / "manifest.parquet").to_pylist()
    assert {row["box_source"] for row in rows} == {"own"}
    frames = {name: [r["frame"] for r in rows if r["video"] == name] for name in entries}
    assert frames["004.mp4"] == frames["634.mp4"], (
        "the sampled frames are still those of the family"
    )


def test_without_the_original_the_first_fake_provides_the_boxes(
    run: Extract, real_clips: Path, tmp_path: Path
) -> None:
    run(real_clips / "dfdc_train_part_0", tmp_path / "faces", frames=1)
    rows = read_manifest(tmp_path / "faces" / "manifest.parquet").to_pylist()
    source = {row["video"]: row["box_source"] for row in rows}
    assert (source["cksjhegwyq.mp4"], source["djrfxolqxm.mp4"]) == ("own", "sibling")
