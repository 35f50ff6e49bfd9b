"""Detectors on real frames, and where their weights come from."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFile
from skimage import data

from dfdc_prep.detectors import DetectorChoice, choose_detector, make_detector, weights
from dfdc_prep.errors import ModelError
from dfdc_prep.tracking import iou
from dfdc_prep.video import Still, open_clip


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a server that hands out what lies in it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/{weights.FILE_NAME}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(weights.PATH_VARIABLE, raising=False)
    monkeypatch.setenv(weights.URL_VARIABLE, "http://127.0.0.1:9/nobody-listens")


@pytest.mark.parametrize("name", ["yunet", "hog", "hog+cnn"])
def test_a_frontal_face_is_found_where_it_is(name: str, yunet_model: Path) -> None:
    detector = make_detector(choose_detector(name, yunet_model))
    (face, *_) = detector.detect(Still(data.astronaut()))
    assert abs(face.x + face.w / 2 - 225) < 20
    assert abs(face.y + face.h / 2 - 115) < 25


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


def test_auto_takes_yunet_where_a_copy_is_given(yunet_model: Path) -> None:
    choice = choose_detector("auto", yunet_model)
    assert (choice.name, choice.model_sha256) == ("yunet", weights.SHA256)


def test_auto_falls_back_to_hog_in_one_line_where_nothing_answers() -> None:
    choice = choose_detector("auto")
    assert choice.name == "hog"
    assert choice.why is not None
    assert choice.why.startswith("detector hog, since yunet cannot be used")
    assert "\n" not in choice.why


def test_yunet_by_name_does_not_fall_back() -> None:
    with pytest.raises(ModelError, match="--detector-model"):
        choose_detector("yunet")


def test_a_download_with_the_right_hash_is_kept(
    served: tuple[Path, str], yunet_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    (folder / weights.FILE_NAME).write_bytes(yunet_model.read_bytes())
    monkeypatch.setenv(weights.URL_VARIABLE, address)
    first = choose_detector("yunet")
    (folder / weights.FILE_NAME).unlink()
    assert choose_detector("yunet") == first


def test_a_download_with_another_hash_is_refused_and_not_kept(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, address = served
    (folder / weights.FILE_NAME).write_bytes(b"something else")
    monkeypatch.setenv(weights.URL_VARIABLE, address)
    with pytest.raises(ModelError, match="another SHA-256"):
        choose_detector("yunet")
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_the_variable_names_a_copy(yunet_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.PATH_VARIABLE, str(yunet_model))
    assert choose_detector("auto").name == "yunet"


def test_weights_that_are_none_are_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(ModelError, match="OpenCV cannot read"):
        make_detector(DetectorChoice("yunet", str(broken)))
    with pytest.raises(ModelError, match="found no file"):
        choose_detector("yunet", tmp_path / "absent.onnx")


def test_hog_leaves_pillow_strict_about_truncated_images() -> None:
    make_detector(DetectorChoice("hog"))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_black_has_no_face(yunet_model: Path) -> None:
    detector = make_detector(choose_detector("yunet", yunet_model))
    assert detector.detect(Still(np.zeros((40, 4000, 3), np.uint8))) == []
