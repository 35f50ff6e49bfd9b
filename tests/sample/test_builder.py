"""The sample data set: reproducible, in the DFDC layout, its fakes differ only in the face."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType
from click.testing import CliRunner

from cli import main
from dfdc_prep.detectors.dlib_detectors import face_recognition_api
from dfdc_prep.errors import OutputError
from dfdc_prep.sample.builder import build_sample, plan_families
from dfdc_prep.sample.face_swap import Swap, portraits, swap_face
from dfdc_prep.video.picture import Image

#: Of two families with this seed each has one fake.
SEED = 38


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two families and the landscape: the first vertical, the second without its original."""
    folder = tmp_path_factory.mktemp("sample") / "dfdc"
    build_sample(folder, 2, SEED)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def middle_frame(path: Path) -> Image:
    with av.open(str(path)) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    return frames[len(frames) // 2]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    words = ["sample", str(tmp_path / "again"), "--families", "2", "--seed", str(SEED)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    assert "4 clips in 2 parts, 2 REAL and 2 FAKE" in done.output
    assert files(tmp_path / "again") == files(built)


def test_another_seed_gives_other_clips() -> None:
    first, second = ({family.original for family in plan_families(6, seed)} for seed in (1, 2))
    assert not first & second


def test_metadata_names_exactly_the_clips_on_disk(built: Path) -> None:
    for part in built.iterdir():
        listed = json.loads((part / "metadata.json").read_text())
        assert set(listed) == {path.name for path in part.glob("*.mp4")}
        assert {entry["split"] for entry in listed.values()} == {"train"}


def test_reals_name_no_original_in_both_of_dfdc_s_ways() -> None:
    reals = [
        (family.part, entry)
        for family in plan_families(12, SEED)
        for entry in family.entries().values()
        if entry["label"] == "REAL"
    ]
    assert all("original" not in entry for part, entry in reals if part == 0)
    assert all(entry["original"] is None for part, entry in reals if part == 1)
    assert {part for part, _ in reals} == {0, 1}


def test_the_last_family_lacks_its_original(built: Path) -> None:
    last = plan_families(2, SEED)[1]
    listed = json.loads((built / "dfdc_train_part_1" / "metadata.json").read_text())
    assert not list(built.rglob(last.original))
    assert last.original not in listed
    assert {entry["original"] for entry in listed.values()} == {last.original}


def test_sixty_families_fill_ten_parts() -> None:
    plans = plan_families(60, SEED)
    assert Counter(family.part for family in plans[:-1]) == dict.fromkeys(range(10), 6)
    assert {len(family.fakes) for family in plans[:-1]} == {1, 2, 3}


def test_both_faces_are_equally_often_fake() -> None:
    plans = plan_families(12, SEED)[:-1]
    reals = Counter(family.person for family in plans if family.on_disk)
    fakes = Counter(family.person for family in plans for _ in family.fakes)
    assert abs(reals[0] - reals[1]) == 1
    assert fakes[0] == fakes[1]


def test_a_fake_differs_from_its_original_in_the_face_alone() -> None:
    family = plan_families(2, SEED)[1]
    body, face = portraits()[1], portraits()[0]
    swapped = swap_face(body, face, family.fakes[0][1])
    pairs = zip(
        family.scene.render(body, body.image), family.scene.render(body, swapped), strict=True
    )
    for number, (real, fake) in enumerate(islice(pairs, 0, 40, 13)):
        hull = cv2.transform(body.points[None], family.scene.transform(body, number * 13))
        inside = np.zeros((family.scene.height, family.scene.width), np.uint8)
        cv2.fillConvexPoly(inside, cv2.convexHull(hull.astype(np.int32)), 1)
        # The soft edge of the blend extends by some pixels, and chroma has half the resolution.
        inside = cv2.dilate(inside, np.ones((21, 21), np.uint8))
        change = cv2.absdiff(*(cv2.cvtColor(x, cv2.COLOR_YUV2RGB_I420) for x in (real, fake)))
        assert change[inside == 0].max() == 0
        assert change[inside > 0].mean() > 5


def test_encoding_keeps_the_rest_of_the_frame_alike(built: Path) -> None:
    family = plan_families(2, SEED)[0]
    part = built / "dfdc_train_part_0"
    names = family.original, family.fakes[0][0]
    real, fake = (middle_frame(part / name).astype(int) for name in names)
    bottom, right = family.scene.height // 5 * 4, family.scene.width
    assert np.abs(real - fake)[bottom:, :right].mean() < 1.5


def test_a_fake_shows_the_other_person() -> None:
    collins, hopper = portraits()
    swap = Swap(strength=0.95, fit=0.5, blur=0.5, tone=(0, 0, 0))
    for body, face in ((collins, hopper), (hopper, collins)):
        known = [face_recognition_api().face_encodings(p.image)[0] for p in (body, face)]
        shown = face_recognition_api().face_encodings(swap_face(body, face, swap))[0]
        to_body, to_face = face_recognition_api().face_distance(known, shown)
        assert to_face < to_body


def test_fakes_of_one_family_differ() -> None:
    swaps = [swap for family in plan_families(12, SEED) for _, swap in family.fakes]
    assert len(set(swaps)) == len(swaps)
    body, face = portraits()
    assert np.abs(np.subtract(*(swap_face(body, face, s).astype(int) for s in swaps[:2]))).max() > 5


def test_clips_are_encoded_as_dfdc_s_are(built: Path) -> None:
    for path in built.rglob("*.mp4"):
        with av.open(str(path)) as clip:
            stream = clip.streams.video[0]
            kinds = Counter(PictureType(frame.pict_type) for frame in clip.decode(stream))
            assert stream.codec_context.name == "h264"
            assert stream.average_rate in (25, 30)
            assert 2 <= stream.frames / stream.average_rate <= 3
            assert kinds[PictureType.I] == 1
            assert kinds[PictureType.B] > 0


def test_one_family_is_vertical(built: Path) -> None:
    upright, _, landscape = plan_families(2, SEED)
    part = built / "dfdc_train_part_0"
    assert middle_frame(part / upright.original).shape == (1280, 720, 3)
    assert middle_frame(part / landscape.original).shape == (720, 1280, 3)


def test_every_clip_but_the_landscape_shows_one_face(built: Path) -> None:
    landscape = plan_families(2, SEED)[-1].original
    for path in built.rglob("*.mp4"):
        frame = cv2.resize(middle_frame(path), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        faces = face_recognition_api().face_locations(frame)
        assert len(faces) == (0 if path.name == landscape else 1), path.name


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dfdc").mkdir()
    (tmp_path / "dfdc" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="choose another"):
        build_sample(tmp_path / "dfdc", 2)
    assert files(tmp_path) == {"dfdc/mine.txt": b"keep"}


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dfdc_prep.sample.builder.write_clip", full)
    with pytest.raises(OutputError, match="No space"):
        build_sample(tmp_path / "dfdc", 2)
    assert not list(tmp_path.iterdir())


def test_the_command_reports_an_error_on_one_line(built: Path) -> None:
    done = CliRunner().invoke(main, ["sample", str(built)])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: expected {built} to be empty")
    assert done.stderr.count("\n") == 1
    assert CliRunner().invoke(main, ["sample", "x", "--families", "1"]).exit_code == 2


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "cli", "sample", str(tmp_path / "dfdc")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as build:
        while build.poll() is None and not list(tmp_path.rglob("*.mp4")):
            time.sleep(0.05)
        build.send_signal(signal.SIGINT)
        assert build.wait() == 130
        assert build.stderr is not None
        assert build.stderr.read().startswith("interrupted:")
    assert not list(tmp_path.iterdir())
