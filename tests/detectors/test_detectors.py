"""Detectors on real frames, and how their weights are located."""

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from PIL import ImageFile
from skimage import data

from dfdc_prep.detectors import registry
from dfdc_prep.detectors.base import Face, iou, select_detections
from dfdc_prep.detectors.dlib_detectors import brightened
from dfdc_prep.detectors.registry import DetectorChoice, choose_detector, make_detector
from dfdc_prep.detectors.yunet import MIN_SCORE, YuNet
from dfdc_prep.errors import ModelError
from dfdc_prep.video.picture import Still
from dfdc_prep.video.reader import open_clip
from dfdc_prep.video.timeline import choose_frames


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL under which an HTTP server provides a file in it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/{registry.FILE_NAME}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(registry.PATH_VARIABLE, raising=False)
    monkeypatch.setenv(registry.URL_VARIABLE, "http://127.0.0.1:9/unused-port")


@pytest.mark.parametrize("name", ["yunet", "hog", "hog+cnn", "bright-hog+cnn"])
def test_a_frontal_face_is_found_where_it_is(name: str, yunet_model: Path) -> None:
    detector = make_detector(choose_detector(name, yunet_model))
    face = max(detector.detect(Still(data.astronaut())), key=lambda each: each.score)
    assert abs(face.x + face.w / 2 - 225) < 20
    assert abs(face.y + face.h / 2 - 115) < 25


def test_a_dark_copy_has_the_face_that_hog_alone_misses(real_clips: Path) -> None:
    with open_clip(real_clips / "dfdc_train_part_0" / "djrfxolqxm.mp4") as video:
        dark = next(iter(video.frames([81]))).rgb(1280) // 10
    assert make_detector(DetectorChoice("hog")).detect(Still(dark)) == []
    (face,) = make_detector(DetectorChoice(registry.FALLBACK)).detect(Still(dark))
    truth = Face(937, 75, 164, 223, 1).scaled(2 / 3, 2 / 3)
    assert iou(face, truth) > 0.4


def test_brightening_spans_all_levels_and_keeps_what_does() -> None:
    levels = np.repeat(np.arange(0, 256, dtype=np.uint8), 300).reshape(240, 320)
    full = np.dstack([levels] * 3)
    assert np.abs(brightened(full).astype(int) - full).max() <= 2
    assert brightened(full // 10).max() == 255
    assert not brightened(full * 0).any()


def test_a_landscape_has_no_face(yunet_model: Path) -> None:
    detector = make_detector(choose_detector("yunet", yunet_model))
    assert detector.detect(Still(data.rocket())) == []


def test_boxes_are_in_source_pixels_at_any_size(real_clips: Path, yunet_model: Path) -> None:
    detector = make_detector(choose_detector("yunet", yunet_model))
    with open_clip(real_clips / "dfdc_train_part_1" / "634.mp4") as video:
        frame = next(iter(video.frames([0])))
        (large,) = detector.detect(frame)
        (small,) = detector.detect(Still(frame.rgb(640)))
    scale = frame.width / 640
    assert (
        iou(
            large, type(large)(*(round(v * scale) for v in (small.x, small.y, small.w, small.h)), 1)
        )
        > 0.9
    )


def test_yunet_is_deterministic(real_clips: Path, yunet_model: Path) -> None:
    with open_clip(real_clips / "dfdc_train_part_1" / "004.mp4") as video:
        frame = next(iter(video.frames([7])))
        found = [
            make_detector(choose_detector("yunet", yunet_model)).detect(frame) for _ in range(2)
        ]
    assert found[0] == found[1] != []


def test_auto_uses_yunet_if_a_copy_is_given(yunet_model: Path) -> None:
    choice = choose_detector("auto", yunet_model)
    assert (choice.name, choice.model_sha256) == ("yunet", registry.SHA256)


def test_auto_falls_back_without_a_server_and_says_how_to_get_the_weights() -> None:
    choice = choose_detector("auto")
    assert choice.name == registry.FALLBACK
    assert choice.missing == "no connection (ConnectionError)"
    advice = dict(choice.advice())
    assert advice["SHA-256"] == registry.SHA256
    assert advice["download"].startswith("https://")
    assert registry.PATH_VARIABLE in advice["give the file by"]


def test_yunet_by_name_does_not_fall_back() -> None:
    with pytest.raises(ModelError, match="--detector-model"):
        choose_detector("yunet")


def test_a_download_with_the_right_hash_is_kept(
    served: tuple[Path, str], yunet_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    (folder / registry.FILE_NAME).write_bytes(yunet_model.read_bytes())
    monkeypatch.setenv(registry.URL_VARIABLE, address)
    first = choose_detector("yunet")
    (folder / registry.FILE_NAME).unlink()
    assert choose_detector("yunet") == first


def test_a_download_with_another_hash_is_refused_and_not_kept(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, address = served
    (folder / registry.FILE_NAME).write_bytes(b"something else")
    monkeypatch.setenv(registry.URL_VARIABLE, address)
    with pytest.raises(ModelError, match="another SHA-256"):
        choose_detector("yunet")
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_the_environment_variable_gives_the_path(
    yunet_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.PATH_VARIABLE, str(yunet_model))
    assert choose_detector("auto").name == "yunet"


def test_invalid_weights_are_reported_as_an_error_message(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
        make_detector(DetectorChoice("yunet", str(broken)))
    with pytest.raises(ModelError, match="found no file"):
        choose_detector("yunet", tmp_path / "absent.onnx")


def test_hog_leaves_pillow_strict_about_truncated_images() -> None:
    make_detector(DetectorChoice("hog"))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_black_has_no_face(yunet_model: Path) -> None:
    detector = make_detector(choose_detector("yunet", yunet_model))
    assert detector.detect(Still(np.zeros((40, 4000, 3), np.uint8))) == []


def frames_of(clips: Path, name: str, count: int) -> list[Still]:
    with open_clip(next(clips.glob(f"*/{name}"))) as video:
        wanted = choose_frames("even", count, video.timeline)
        return [Still(frame.rgb()) for frame in video.frames(wanted)]


@pytest.mark.parametrize("name", ["aajsqyyjni.mp4", "004.mp4", "lynaeydofd.mp4"])
def test_yunet_finds_what_opencv_finds_with_the_same_weights(
    real_clips: Path, yunet_model: Path, name: str
) -> None:
    ours = YuNet(yunet_model)
    for picture in frames_of(real_clips, name, 3):
        image = picture.rgb(640)
        size = image.shape[1], image.shape[0]
        theirs = cv2.FaceDetectorYN.create(str(yunet_model), "", size, MIN_SCORE)
        _, rows = theirs.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        found = np.array([[*face[:5], *np.ravel(face[5])] for face in ours._detect_image(image)])
        expected = rows[:, [0, 1, 2, 3, 14, *range(4, 14)]]
        found, expected = (np.array(sorted(each.tolist())) for each in (found, expected))
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 0.01


def test_weights_exported_for_one_size(real_clips: Path, yunet_model: Path, tmp_path: Path) -> None:
    """OpenCV's older weights file only accepts 640 x 640 pixels."""
    network = onnx.load(yunet_model)
    for dimension in network.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = 640
    onnx.save(network, tmp_path / "fixed.onnx")
    fixed, free = YuNet(tmp_path / "fixed.onnx"), YuNet(yunet_model)
    for picture in frames_of(real_clips, "aajsqyyjni.mp4", 2):
        (face,), (same,) = fixed.detect(picture), free.detect(picture)
        assert iou(face, same) > 0.95
    assert fixed.detect(Still(data.rocket())) == []


def test_another_network_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "other", [value], [out])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "o.onnx")
    with pytest.raises(ModelError, match="cannot load as YuNet"):
        YuNet(tmp_path / "o.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(("sampling", "count"), [("even", 10), ("even", 32), ("keyframes", 10)])
def test_fast_detection_agrees_with_full_detection(
    real_clips: Path, yunet_model: Path, sampling: str, count: int
) -> None:
    detector = YuNet(yunet_model)
    overlaps: list[float] = []
    full_detections = frames = 0
    for path in sorted(real_clips.glob("*/*.mp4")):
        before: list[Face] = []
        full, fast = [], []
        with open_clip(path) as video:
            for frame in video.frames(choose_frames(sampling, count, video.timeline)):
                full.append(detector.detect(frame))
                again = detector.detect_fast(frame, before)
                full_detections, frames = full_detections + (again is None), frames + 1
                before = full[-1] if again is None else again
                fast.append(before)
        kept = [[f[i] for i in k] for f, k in zip(full, select_detections(full), strict=True)]
        own = [[f[i] for i in k] for f, k in zip(fast, select_detections(fast), strict=True)]
        assert [len(faces) for faces in own] == [len(faces) for faces in kept], path.name
        overlaps += [
            iou(a, b) for x, y in zip(kept, own, strict=True) for a, b in zip(x, y, strict=True)
        ]
    assert np.mean(np.array(overlaps) >= 0.8) >= 0.99
    assert full_detections / frames < 0.2


def beside(picture: Still, other: Still) -> Still:
    """Two pictures of equal height, concatenated horizontally."""
    return Still(np.concatenate([picture.image, other.image], axis=1))


def test_fast_detection_declines_if_a_second_person_appears(
    real_clips: Path, yunet_model: Path
) -> None:
    detector = YuNet(yunet_model)
    first, second = (frames_of(real_clips, name, 1)[0] for name in ("004.mp4", "634.mp4"))
    second = Still(cv2.resize(second.image, (first.width, first.height)))
    alone = beside(first, Still(np.zeros_like(first.image)))
    before = detector.detect(alone)
    again = detector.detect_fast(alone, before)
    assert again is not None
    assert len(again) == len(before)
    assert detector.detect_fast(beside(first, second), before) is None
    assert len(detector.detect(beside(first, second))) > len(before)


def test_fast_detection_declines_if_a_face_disappears_or_moves_far(yunet_model: Path) -> None:
    detector = YuNet(yunet_model)
    picture = Still(data.astronaut())
    before = detector.detect(picture)
    assert detector.detect_fast(Still(data.rocket()), before) is None
    far = [Face(before[0].x + 3 * before[0].w, before[0].y, before[0].w, before[0].h, 0.9)]
    assert detector.detect_fast(picture, far) is None


def test_nothing_is_reported_to_anybody(yunet_model: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry keeps a device number and a queue of events in the user's cache."""
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from dfdc_prep.detectors.registry import choose_detector, make_detector\n"
        "from dfdc_prep.video.picture import Still\n"
        "detector = make_detector(choose_detector('yunet', Path(sys.argv[1])))\n"
        "detector.detect(Still(np.zeros((90, 160, 3), np.uint8)))\n"
    )
    fresh = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | fresh
    words = [sys.executable, "-c", program, str(yunet_model)]
    subprocess.run(words, check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
