import json
import os
import shutil

import av
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.special import expit
from skimage.data import astronaut, camera

from dfdc_prep.detectors import registry
from dfdc_prep.detectors.base import Face
from dfdc_prep.errors import ClipError
from dfdc_prep.parallel.confinement import why_unconfined
from training import evaluate
from training.inference.face_crops import FaceCropOptions, find_faces
from training.predict import main
from training.runs.folder import Run


class Middle:
    """A detector that reports the middle of every picture as a face."""

    name = "middle"

    def detect(self, picture):
        side = min(picture.width, picture.height) // 2
        return [Face(picture.width // 4, picture.height // 4, side, side, 1.0)]


@pytest.fixture
def files(tmp_path, real_clips):
    Image.fromarray(astronaut()).save(tmp_path / "portrait.png")
    Image.fromarray(camera()[300:]).save(tmp_path / "grass.jpg")
    (tmp_path / "letter.txt").write_text("no image")
    clip = real_clips / "dfdc_train_part_0" / "abqwwspghj.mp4"
    return [str(tmp_path / n) for n in ("portrait.png", "grass.jpg", "letter.txt")] + [str(clip)]


def test_each_file_has_its_line_and_its_score(finished, files, yunet_model, tmp_path):
    options = ["--json", "--frames", "3", "--detector-model", str(yunet_model)]
    result = CliRunner().invoke(
        main, [str(finished.folder), *files, *options, "--heatmap", str(tmp_path / "heat")]
    )
    portrait, grass, letter, clip = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    assert [each["status"] for each in (portrait, grass, letter, clip)] == [
        "ok",
        "no_face",
        "unreadable",
        "ok",
    ]
    assert len(clip["faces"]) == 3
    reason = why_unconfined()
    assert {each["confinement"] for each in (portrait, grass, letter, clip)} == {
        f"off: {reason}" if reason else "on"
    }
    scores = np.array([face["p_fake"] for face in clip["faces"]])
    assert clip["p_fake"] == pytest.approx(expit(np.log(scores / (1 - scores)).mean()))
    with Image.open(clip["faces"][0]["heatmap"]) as drawn:
        assert drawn.size == (448, 224)


def test_a_detector_of_no_record_is_told(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(registry.PATH_VARIABLE, raising=False)
    monkeypatch.setenv(registry.URL_VARIABLE, "http://127.0.0.1:9/unused-port")
    Image.fromarray(astronaut()).save(tmp_path / "portrait.png")
    done = CliRunner().invoke(main, [str(finished.folder), str(tmp_path / "portrait.png")])
    assert done.exit_code == 0, done.output
    assert "records no detector of its faces" in done.stderr
    assert f"detector {registry.FALLBACK}" in done.stderr
    assert "records" not in done.stdout


def test_a_folder_is_scored_into_a_table(finished, tmp_path):
    for number in (1, 2):
        (tmp_path / "photos" / f"{number}").mkdir(parents=True)
        Image.fromarray(astronaut()).save(
            tmp_path / "photos" / f"{number}" / f"{'ab'[number - 1]}.png"
        )
    (tmp_path / "photos" / "x.png").write_text("no image")
    words = [str(finished.folder), str(tmp_path / "photos"), "--csv", str(tmp_path / "scores.csv")]
    words += ["--heatmap", str(tmp_path / "heat")]
    kaggle = tmp_path / "submission.csv"
    result = CliRunner().invoke(main, [*words, "--submission", str(kaggle)])
    assert result.exit_code == 3, result.output
    assert result.stdout.count("\n") == 3  # a line a file, none for its faces
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["status", "ok", "ok", "unreadable"]
    assert kaggle.read_text().splitlines()[0::3] == ["filename,label", "x.png,0.5"]
    drawn = sorted(path.parent.name for path in (tmp_path / "heat" / "photos").rglob("*.png"))
    assert drawn == ["1", "2"]
    again = CliRunner().invoke(main, words)
    assert again.stdout.count("\n") == 1  # what failed, alone


def test_a_crop_is_cut_as_the_training_data_were_and_scored_as_the_test_split_is(
    finished, tmp_path
):
    """The same pixels give the same score here as in predictions.parquet."""
    from pathlib import Path

    from training.data.shards import Shards
    from training.inference import scorer
    from training.measures.predictions import Source, predict_each, read_batches
    from training.models import classifier
    from training.runs.checkpoints import load_model

    source = Source(Shards(Path(finished.config().shards)), "test", 8)
    images = np.concatenate([batch.images for batch in read_batches(source)])
    loaded = scorer.Scorer(finished.folder)
    (own,) = predict_each(classifier.logit_model(load_model(finished)), source)
    assert loaded.score(images) == pytest.approx(own.logits, rel=1e-4, abs=1e-6)


def test_a_model_without_numbers_is_a_sentence_everywhere(finished, files, tmp_path, yunet_model):
    shutil.copytree(finished.folder, tmp_path / "run")
    model = keras.saving.load_model(finished.folder / "model.keras", compile=False)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.full_like(bias, np.nan)])
    model.save(tmp_path / "run" / "model.keras")
    weights = ["--detector-model", str(yunet_model)]
    predicted = CliRunner().invoke(main, [str(tmp_path / "run"), *files[:2], *weights])
    assert predicted.exit_code == 3
    assert "portrait.png: expected a finite score for each of 1 face, found 1" in predicted.stdout
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    for path in ("run", "run/model.keras"):  # the second as somebody else's model
        words = [str(tmp_path / path), finished.config().shards, "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(evaluate.main, words)
        assert done.exit_code == 1
        assert done.stderr.splitlines()[-1].startswith("error: expected ")
        assert "finite" in done.stderr
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_the_square_has_the_margin_of_the_run(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    (found,) = find_faces(tmp_path / "ramp.png", Middle(), FaceCropOptions(0.25, 1, False)).crops
    assert found.crop.shape == (224, 224, 3)
    assert found.crop[0, 0, 0] == pytest.approx(32, abs=1)
    assert found.crop[0, -1, 0] == pytest.approx(223, abs=1)


def test_an_image_turned_by_its_camera_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.zeros((100, 200, 3), np.uint8))
    wide.save(tmp_path / "turned.jpg", exif=exif)
    (found,) = find_faces(tmp_path / "turned.jpg", Middle(), FaceCropOptions(0, 1, False)).crops
    assert (found.box.x, found.box.y) == (25, 50)


def test_a_truncated_clip_is_scored_by_the_frames_that_decode(shared):
    found = find_faces(
        shared / "data" / "edge" / "corrupted.mp4", Middle(), FaceCropOptions(0.3, 5, False)
    )
    assert 0 < len(found.crops) < 5


def test_limits_and_the_given_name_are_in_the_message(tmp_path, real_clips):
    clip = real_clips / "dfdc_train_part_0" / "abqwwspghj.mp4"
    short = FaceCropOptions(0.3, 1, False, max_seconds=2)
    with pytest.raises(ClipError, match=r"at most 2 seconds, found 10 in mine\.mp4"):
        find_faces(clip, Middle(), short, "mine.mp4")
    small = FaceCropOptions(0.3, 1, False, max_pixels=10_000)
    with pytest.raises(ClipError, match=r"at most 10,000 pixels, found 2,073,600 in mine"):
        find_faces(clip, Middle(), small, "mine.mp4")
    Image.fromarray(astronaut()).save(tmp_path / "portrait.png")
    with pytest.raises(ClipError, match=r"at most 10,000 pixels"):
        find_faces(tmp_path / "portrait.png", Middle(), small)


def test_a_clip_without_decodable_frames_is_an_error_message(tmp_path, real_clips):
    clip = (real_clips / "dfdc_train_part_0" / "abqwwspghj.mp4").read_bytes()
    (tmp_path / "short.mp4").write_bytes(clip[:5000])
    with pytest.raises(ClipError, match=r"short\.mp4"):
        find_faces(tmp_path / "short.mp4", Middle(), FaceCropOptions(0.3, 5, False))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    result = CliRunner().invoke(main, [str(tmp_path), "clip.mp4"])
    assert result.exit_code == 1
    assert "expected a config.json" in result.stderr
    assert not list(Run(tmp_path).folder.iterdir())


def test_pipes_folders_and_eps_files_are_rejected(tmp_path):
    """Pillow would start Ghostscript for EPS."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "odd.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    for name in ("pipe.png", "odd.png", ""):
        with pytest.raises(ClipError):
            find_faces(tmp_path / name, Middle(), FaceCropOptions(0.3, 1, False))


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_an_animation_is_read_as_a_clip(tmp_path, form):
    pictures = [Image.fromarray(np.roll(astronaut(), 40 * i, axis=1)) for i in range(5)]
    path = tmp_path / f"a.{form}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    found = find_faces(path, Middle(), FaceCropOptions(0.3, 3, every_face=False))
    assert found.is_clip
    assert [crop.frame for crop in found.crops] == [1, 2, 4]


def test_a_grey_picture_of_16_bits_is_not_white(tmp_path):
    grey = np.asarray(Image.fromarray(astronaut()).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey.png")
    shown = None

    class Recording(Middle):
        def detect(self, picture):
            nonlocal shown
            shown = picture.rgb()
            return super().detect(picture)

    find_faces(tmp_path / "grey.png", Recording(), FaceCropOptions(0.3, 3, every_face=False))
    assert np.array_equal(shown, np.repeat(grey[..., None], 3, axis=2))


def test_several_pictures_in_one_tiff_are_refused(tmp_path):
    pages = [Image.fromarray(astronaut())] * 2
    pages[0].save(tmp_path / "pages.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(ClipError, match="2 pictures in one file"):
        find_faces(tmp_path / "pages.tiff", Middle(), FaceCropOptions(0.3, 3, every_face=False))


def test_a_clip_that_was_cut_off_says_so(finished, real_clips, tmp_path, yunet_model):
    clip = (real_clips / "dfdc_train_part_1" / "004.mp4").read_bytes()
    whole = tmp_path / "whole.mp4"
    remux(real_clips / "dfdc_train_part_1" / "004.mp4", whole)
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: len(clip) * 6 // 10])
    words = ["--frames", "2", "--detector-model", str(yunet_model)]
    result = CliRunner().invoke(
        main, [str(finished.folder), str(whole), str(tmp_path / "cut.mp4"), *words]
    )
    first, second = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert result.exit_code == 3
    assert first.endswith("2 faces")
    assert "2 faces; not the whole clip: the file ends after" in second


def remux(source, target):
    """Copy a clip with its index first, as for streaming."""
    options = {"movflags": "faststart"}
    with av.open(str(source)) as clip, av.open(str(target), "w", options=options) as out:
        stream = out.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
