"""The table of scores of a folder: all its files, continued, with what failed."""

import csv
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from dfdc_prep.errors import OptionsDiffer, OutputError, SourceError
from training.inference.score_file import ScoreFile, files_of, left_out
from training.inference.scorer import FacePrediction, FilePrediction


def test_the_files_of_a_folder_are_its_clips_else_its_pictures(tmp_path):
    with pytest.raises(SourceError, match="found an empty folder"):
        files_of(tmp_path)
    (tmp_path / "album").mkdir()
    for name in ("b.png", "album/a.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    names = ["album/a.jpg", "b.png"]
    (tmp_path / "data").mkdir()
    assert [str(path.relative_to(tmp_path)) for path in files_of(tmp_path)] == names
    (tmp_path / "data" / "z.mp4").write_bytes(b"x")
    assert tmp_path / "data" / "z.mp4" in files_of(tmp_path)
    assert files_of(tmp_path / "b.png") == {tmp_path / "b.png": Path()}
    assert files_of(tmp_path)[tmp_path / "data" / "z.mp4"] == Path(tmp_path.name, "data")
    (said,) = left_out(tmp_path, files_of(tmp_path))
    assert said.endswith(": 2 pictures left out, give their names: album/a.jpg, b.png")


def test_scores_are_continued_and_failures_tried_again(tmp_path):
    files = [tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4")]
    for path in files:
        path.write_bytes(b"x")
    table, settings = tmp_path / "scores.csv", {"model": "abc"}
    face = FacePrediction(0, 0.0, 1, 2, 3, 4, 0.9)
    with suppress(KeyboardInterrupt), ScoreFile(table, files, settings).continued() as scores:
        scores.add(files[1], FilePrediction(str(files[1]), "ok", 0.9, faces=(face,)))
        scores.add(files[0], FilePrediction(str(files[0]), "unreadable", error="no, clip"))
        raise KeyboardInterrupt
    assert not table.exists()
    with (
        pytest.raises(OptionsDiffer, match=r"remove that file to begin again"),
        ScoreFile(table, files, {"model": "other"}).continued(),
    ):
        pass
    with ScoreFile(table, files, settings).continued() as scores:
        assert [scores.has(path) for path in files] == [False, True, False]
        scores.add(files[2], FilePrediction(str(files[2]), "no_face"))
        scores.add(files[0], FilePrediction(str(files[0]), "unreadable", error="no, clip"))
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["status"], row["p_fake"], row["faces"], row["error"]) for row in rows] == [
        ("unreadable", "", "0", "no, clip"), ("ok", "0.9", "1", ""), ("no_face", "", "0", ""),
    ]  # fmt: skip
    assert f"3 files in {table}: 1 unreadable, 1 ok, 1 no_face" in scores.text()
    assert f"the same command tries again: {files[0]}" in scores.text()
    assert not scores.complete
    submission = tmp_path / "submission.csv"
    with ScoreFile(table, files, settings, submission).continued() as scores:
        assert [scores.has(path) for path in files] == [False, True, True]
        scores.add(files[0], FilePrediction(str(files[0]), "ok", 0.2))
    assert scores.complete
    assert scores.text().endswith(f"; 1 without a score: 0.5 in {submission}")
    assert submission.read_text() == "filename,label\na.mp4,0.2\nb.mp4,0.9\nc.mp4,0.5\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.mp4", "b.mp4", "c.mp4", "scores.csv", "submission.csv",
    ]  # fmt: skip


def test_a_clip_that_lacks_a_part_is_no_success_of_the_run_that_goes_on(tmp_path):
    clip, table = tmp_path / "a.mp4", tmp_path / "scores.csv"
    clip.write_bytes(b"x")
    with suppress(KeyboardInterrupt), ScoreFile(table, [clip], {}).continued() as scores:
        scores.add(clip, FilePrediction(str(clip), "ok", 0.9, missing="its end"))
        raise KeyboardInterrupt
    with ScoreFile(table, [clip], {}).continued() as scores:
        assert scores.has(clip)
    assert not scores.complete


def test_no_file_of_the_users_is_replaced(tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("filename,label\na.mp4,1\n")
    clips = [tmp_path / "a.mp4", tmp_path / "b" / "a.mp4"]
    scores, other = tmp_path / "scores.csv", tmp_path / "other.csv"
    for score_file, message in (
        (ScoreFile(labels, clips[:1], {}), "labels.csv but scores of an earlier run, found"),
        (ScoreFile(scores, clips[:1], {}, labels), "labels.csv, found one that no earlier run"),
        (ScoreFile(scores, clips, {}, other), "found a.mp4 more than once"),
    ):
        with pytest.raises(OutputError, match=message), score_file.continued():
            pass
    assert labels.read_text() == "filename,label\na.mp4,1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]
