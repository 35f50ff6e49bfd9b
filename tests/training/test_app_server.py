"""The app's pages and downloads, with a small model and real files."""

import html
import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.data import astronaut, camera
from werkzeug.test import Client

from dfdc_prep.detectors.registry import choose_detector
from dfdc_prep.errors import ClipError
from dfdc_prep.run_files import Undecided
from dfdc_prep.writing.sources import CropSelection
from dfdc_prep.writing.tfrecord import TFRecords
from dfdc_prep.writing.writer import write_crops
from manifests.errors import TrainingError
from manifests.splitting.split import SplitPlan
from tests.torture import uploads
from tests.training.conftest import make_faces
from training import predict
from training.app import __main__ as command
from training.app.analysis import Analyzer
from training.app.jobs import Jobs, Limits, Upload, display_name
from training.app.result import ModelFacts, read_facts
from training.app.samples import MOST, find_samples
from training.app.server import Access, App
from training.evaluation import heatmaps
from training.inference.face_crops import DecodingWorker, nameless_file
from training.inference.scorer import Scorer

LIMITS = Limits(upload_bytes=20_000_000, clip_seconds=30, pixels=3_000_000, faces=12)
HOSTILE = '<img src=x onerror=alert(1)>".png'


@pytest.fixture(scope="module")
def analyzer(finished, yunet_model):
    scorer = Scorer(finished.folder)
    with DecodingWorker(scorer.detector(yunet_model), 60) as worker:
        yield Analyzer(scorer, worker, LIMITS)


@pytest.fixture
def jobs():
    return Jobs(LIMITS)


@pytest.fixture
def client(finished, jobs, yunet_model):
    facts = read_facts(finished.folder, yunet_model)
    access, samples = Access(("localhost",)), find_samples(finished.folder)
    return Client(App(jobs, facts, LIMITS, access, samples))


@pytest.fixture
def post(client):
    """Upload a file and return the answer."""

    def posted(name, content, **fields):
        answer = client.post("/jobs", data={"file": (io.BytesIO(content), name), **fields})
        answer.request.environ["wsgi.input"].close()  # a temporary file of the test client
        return answer

    return posted


@pytest.fixture
def send(post, jobs, analyzer):
    """Upload a file, analyze it, and return the address of its page."""

    def sent(name, content, **fields):
        answer = post(name, content, **fields)
        assert answer.status_code == 303, answer.text
        jobs.run_one(analyzer, jobs.take())
        return answer.location

    return sent


def png(image):
    written = io.BytesIO()
    Image.fromarray(image).save(written, "PNG")
    return written.getvalue()


def test_a_model_tested_on_few_clips_calls_nothing_fake(send, client):
    start = client.get("/").text
    assert start.count("<dd>8 clips: too few to say</dd>") == 2
    assert "<dd>8 clips of 4 families</dd>" in start
    assert "95 %" not in start
    page = client.get(send("a.png", png(astronaut()))).text
    assert '<span class="word">UNDECIDED</span>' in page
    assert not {">FAKE<", ">REAL<"} & set(re.findall(">[A-Z]+<", page))
    assert "the model was tested on 8 clips: too few to say. Tested on 8 clips of" in page


@pytest.mark.parametrize(
    ("score", "threshold", "word"),
    [
        (0.8, 0.5, "FAKE"), (0.7, 0.5, "UNDECIDED"), (0.3, 0.5, "UNDECIDED"), (0.2, 0.5, "REAL"),
        (0.8, 0.9, "UNDECIDED"), (0.2, 0.1, "UNDECIDED"), (0.95, 0.9, "FAKE"), (0.05, 0.1, "REAL"),
    ],
)  # fmt: skip
def test_scores_in_the_band_or_between_it_and_the_threshold_are_undecided(score, threshold, word):
    facts = ModelFacts(Path("run"), (), "", Undecided(0.3, 0.7, "why"))
    assert facts.word(score, threshold) == word


def test_a_clip_has_the_numbers_of_predict(
    send, client, analyzer, real_clips, tmp_path, monkeypatch
):
    monkeypatch.setattr(analyzer, "annotate", lambda upload, result: None)
    clip = real_clips / "dfdc_train_part_0" / "abqwwspghj.mp4"
    name = "-it's a $(clip).mp4"
    (tmp_path / name).write_bytes(clip.read_bytes())
    place = send(name, clip.read_bytes())
    page = client.get(place).text
    (command,) = re.findall(r'<code class="command">(.*?)</code>', page)
    assert f'data-copy="{command}"' in page
    words = shlex.split(html.unescape(command))
    assert words[:2] == ["dfdc-prep", "predict"]
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(predict.main, words[2:])
    downloaded = client.get(f"{place}/prediction.json").text
    assert downloaded == printed.stdout
    assert len(json.loads(downloaded)["faces"]) == 10


def test_a_clip_has_pictures_crops_heatmaps_and_an_annotated_clip(send, client, real_clips):
    clip = real_clips / "dfdc_train_part_1" / "634.mp4"
    place = send(clip.name, clip.read_bytes(), frames="3", faces="largest")
    page = client.get(place).text
    assert page.count("<figure") == 3
    assert "<polyline" in page
    with Image.open(io.BytesIO(client.get(f"{place}/heatmaps/0.jpg").data)) as drawn:
        assert drawn.size == (224, 224)
    with zipfile.ZipFile(io.BytesIO(client.get(f"{place}/crops.zip").data)) as crops:
        assert len(crops.namelist()) == 3
        assert crops.read(crops.namelist()[0]) == client.get(f"{place}/faces/0.png").data
    assert b"ftyp" in client.get(f"{place}/annotated.mp4").data[:32]
    assert client.get(f"{place}/faces/3.png").status_code == 404


@pytest.mark.parametrize("name", ["a\nrm -r x.png", "C:\\a.png", "x" * 200])
def test_a_name_that_is_not_shown_whole_is_in_no_command(name, finished):
    upload = Upload(display_name(name), io.BytesIO(), 10, False, whole_name=False)
    words = shlex.split(read_facts(finished.folder).command(upload, True))
    assert words[2:4] == [str(finished.folder), "FILE"]
    assert words[4:] == ["--json", "--faces", "largest", "--frames", "10"]


def test_a_command_for_other_machines_has_no_folders(finished, yunet_model):
    facts = read_facts(finished.folder, yunet_model).without_folders()
    words = shlex.split(facts.command(Upload("a.png", io.BytesIO(), 1, True), False))
    names = [finished.folder.name, yunet_model.name]
    assert [words[2], words[-1]] == names


def test_faces_of_the_test_split_are_scored_as_in_the_test(client, jobs, analyzer, finished):
    page = client.get("/").text
    assert page.count('name="sample"') == 2 * MOST
    assert "of the set that the model was trained on, from its test split" in page
    tested = pq.read_table(finished.predictions_file).to_pylist()
    rows = {(row["video"], row["frame"]): row for row in tested}
    for number, sample in enumerate(find_samples(finished.folder)):
        assert client.get(f"/samples/{number}").data == sample.image
        answer = client.post("/jobs", data={"sample": str(number)})
        jobs.run_one(analyzer, jobs.take())
        page = client.get(answer.location).text
        assert f"labelled {sample.label}" in page
        assert "dfdc-prep predict finds and cuts faces itself" in page
        scored = json.loads(client.get(f"{answer.location}/prediction.json").data)
        row = rows[sample.video, sample.frame]
        assert row["label"] == sample.label
        assert scored["p_fake"] == pytest.approx(row["calibrated"], abs=1e-4)
    for wrong in ("99", "-1", "x", "00"):
        assert client.post("/jobs", data={"sample": wrong}).status_code == 400
    assert client.get("/samples/99").status_code == 404


def test_faces_of_other_shards_are_not_offered(finished, tmp_path, monkeypatch):
    faces = make_faces(tmp_path / "faces", families=12, seed=3)
    plan = CropSelection(SplitPlan.parse("56/24/20", "original", 42))
    write_crops(faces, tmp_path / "shards", TFRecords(), plan)
    with pytest.raises(TrainingError, match="found others; give the folder of its --shards"):
        find_samples(finished.folder, tmp_path / "shards")
    config = finished.config()
    for shards in (tmp_path / "shards", tmp_path / "none", "s3://bucket/shards", "x" * 300):
        elsewhere = replace(config, shards=str(shards))
        monkeypatch.setattr("training.runs.folder.Run.config", lambda run, it=elsewhere: it)
        assert find_samples(finished.folder) == []


@pytest.mark.parametrize(
    ("hosts", "embedder", "local"),
    [
        (("127.0.0.1", "localhost", "::1"), None, True),
        (("127.0.0.1", "0.0.0.0"), None, False),
        (("localhost", "faces.example.org"), None, False),
        (("localhost",), "https://huggingface.co", False),
    ],
)
def test_only_an_app_of_this_machine_looks_for_faces_of_the_set(hosts, embedder, local):
    assert Access(hosts, embedder).is_local is local


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [(0, 0, None), (0, 0.39, None), (0, 0.41, 4.0), (7.3, 8, None), (7.1, 8, 8.0), (3.7, 4, None)],
)
def test_a_heatmap_without_contrast_has_no_scale(low, high, scale):
    heatmap = np.full((7, 7), low, np.float32)
    heatmap[3, 3] = high
    assert heatmaps.visible_scale(heatmap) == scale


def test_a_flat_heatmap_is_not_shown(send, client, analyzer, monkeypatch):
    maps = np.zeros((1, 7, 7), np.float32)
    monkeypatch.setattr(analyzer._scorer, "activations", lambda faces: maps)
    page = client.get(send("a.png", png(astronaut()))).text
    assert "No difference to be seen" in page
    assert "heatmaps/0.jpg" not in page
    assert "lie within 10 % of the scale" in page
    maps[0, 3, 3] = 6.25
    page = client.get(send("a.png", png(astronaut()))).text
    assert "from dark at 0 to bright at 6.2 logits" in page
    assert "heatmaps/0.jpg" in page


def test_the_colours_of_the_scale_are_those_of_the_heatmaps(client):
    css = client.get("/static/app.css").text
    ramp = re.findall("#([0-9a-f]{6})", re.search("gradient[(]to right(.*)[)]", css)[1])
    grey = np.full((8, 8, 3), 128, np.uint8)
    for number, colour in enumerate(ramp):
        value = heatmaps.MIN_SCALE * number / (len(ramp) - 1)
        drawn = heatmaps.draw_overlay(grey, np.full((2, 2), value, np.float32))[4, 4]
        assert bytes(drawn).hex() == colour


def test_every_page_takes_another_file(send, post, client):
    places = [send("a.png", png(astronaut()), faces="largest"), send("b.png", png(camera()[300:]))]
    pages = [client.get(place).text for place in places]
    for page in [*pages, post("a.mp4", b"").text, client.get("/nothing").text]:
        assert page.count('<input id="file" name="file" type="file"') == 1
    assert 'value="largest" checked' in pages[0]
    assert 'value="all" checked' in pages[1]


def test_a_hostile_name_is_shown_as_text(send, client):
    place = send(HOSTILE, png(astronaut()))
    page = client.get(place).text
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert HOSTILE not in str(client.get(f"{place}/crops.zip").headers)


def test_an_image_without_a_face_says_so(send, client):
    place = send("grass.png", png(camera()[300:]))
    assert "No face found" in client.get(place).text
    assert json.loads(client.get(f"{place}/prediction.json").data)["status"] == "no_face"


def test_a_broken_clip_has_a_message_with_its_name(send, client, real_clips):
    clip = (real_clips / "dfdc_train_part_0" / "abqwwspghj.mp4").read_bytes()
    page = client.get(send("mine.mp4", clip[:5000])).text
    assert "This file was not scored" in page
    assert "Expected a video in mine.mp4" in page


def test_limits_are_messages(send, post, client):
    def said(answer):
        return answer.text.partition('<p class="problem">')[2].partition("</p>")[0]

    large = post("a.mp4", b"x" * 20_000_001)
    assert large.status_code == 413
    assert "at most 20 MB, found 20.0 MB" in said(large)
    assert "found an empty file" in said(post("a.mp4", b""))
    assert "found no file" in said(client.post("/jobs", data={}))
    for frames in ("0", "33", "ten", "-1", ""):
        assert "1 to 32 frames" in said(post("a.mp4", b"x", frames=frames))
    wide = np.zeros((2000, 2000, 3), np.uint8)
    assert "at most 3,000,000 pixels" in said(client.get(send("wide.png", png(wide))))
    crowd = png(np.tile(astronaut()[:256, 100:356], (3, 5, 1)))
    assert "at most 12 faces, found" in said(client.get(send("crowd.png", crowd)))


def test_a_file_that_crashes_the_decoder_is_a_message(analyzer, send, client):
    with pytest.raises(ClipError, match="crashed the decoder"):
        analyzer._worker.call(os._exit, 1)
    assert 'id="result"' in client.get(send("a.png", png(astronaut()))).text


def test_a_file_that_takes_too_long_is_a_message(yunet_model):
    with (
        DecodingWorker(choose_detector("yunet", yunet_model), 0.3) as worker,
        pytest.raises(ClipError, match="found one that takes longer"),
    ):
        worker.call(time.sleep, 60)


def test_damaged_files_have_a_message(post, client, jobs, analyzer, monkeypatch):
    monkeypatch.setattr(analyzer, "annotate", lambda upload, result: None)
    for _, name, content in uploads.mutants(random.Random(3), 24):
        answer = post(name, content, frames="2")
        if answer.status_code == 303:
            jobs.run_one(analyzer, jobs.take())
            answer = client.get(answer.location)
        assert any(words in answer.text for words in uploads.ANSWERS)


def test_other_hosts_and_other_sites_are_refused(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    for name, value in (("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example")):
        assert client.post("/jobs", headers={name: value}).status_code == 403
    own = client.post("/jobs", headers={"Origin": "http://localhost"})
    assert own.status_code == 400


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("localhost:7860", True),
        ("LOCALHOST", True),
        ("[::1]:7860", True),
        ("me-app.hf.space", True),
        ("localhost.evil.example", False),
        ("evilhf.space", False),
        ("x@localhost", False),
        ("localhost:7860/", False),
        ("", False),
    ],
)
def test_hosts_are_compared_without_ports(header, allowed):
    assert Access(("localhost", "::1", ".hf.space")).allows_host(header) is allowed


def test_pages_allow_no_script_and_no_request_from_elsewhere(client):
    answer = client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_deleted_result_is_gone(send, client):
    place = send("a.png", png(astronaut()))
    assert client.post(f"{place}/delete").status_code == 303
    for part in ("", "/crops.zip", "/state", "/pictures/0.jpg"):
        assert client.get(place + part).status_code == 404


def test_a_waiting_upload_says_how_many_are_before_it(post, client, jobs):
    jobs.ready = True
    places = [post("a.mp4", b"x").location for _ in range(2)]
    assert "1 file before yours" in client.get(places[1]).text
    for place in places:
        client.post(f"{place}/delete")


def test_uploads_have_no_name_in_the_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with nameless_file(b"content") as path:
        assert path.read_bytes() == b"content"
        assert not list(tmp_path.iterdir())
    assert not path.exists()


def test_the_server_starts_without_heavy_libraries():
    code = "import sys, training.app.serving; print([n for n in ('tensorflow', 'keras', 'cv2', "
    code += "'av', 'numpy', 'scipy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_without_its_packages_the_app_says_how_to_install_them(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    done = CliRunner().invoke(command.main, [str(tmp_path)])
    assert done.exit_code == 1
    assert "run pip install 'dfdc-prep[app]'" in done.stderr


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    done = CliRunner().invoke(command.main, [str(tmp_path), "--port", "0"])
    assert done.exit_code == 1
    assert "expected a config.json" in done.stderr
