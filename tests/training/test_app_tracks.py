"""Persons over time, the curve, and the annotated clip."""

import io

import av
import numpy as np
import pytest

from dfdc_prep.detectors.base import Face
from dfdc_prep.video.reader import open_clip
from training.app.annotate import COLOURS, annotate_clip, make_tracks, number_persons
from training.app.result import FaceResult, PersonResult, draw_curve
from training.inference.face_crops import FaceCrop

BLANK = np.zeros((224, 224, 3), np.uint8)


def crop(frame, x):
    return FaceCrop(frame, frame / 10, Face(x, 50, 80, 80, 1.0), BLANK)


def test_persons_are_numbered_by_place_the_most_frequent_first():
    crops = [crop(0, 500), crop(3, 100), crop(3, 505), crop(6, 510)]
    assert number_persons(crops) == [1, 2, 1, 1]


def test_a_box_moves_between_scored_frames_and_shows_the_nearer_score():
    (track,) = make_tracks([(1, 1.0, (0, 0, 10, 10), 0.2), (1, 2.0, (100, 0, 10, 20), 0.8)])
    assert track.at(1.25) == ((25, 0, 10, 12.5), 0.2)
    assert track.at(1.75) == ((75, 0, 10, 17.5), 0.8)
    assert track.at(0.5) == ((0, 0, 10, 10), 0.2)
    assert track.at(3.5) is None


def test_the_curve_spans_the_plot():
    faces = tuple(
        FaceResult(n, n, 1, n, float(n), (0, 0, 1, 1), p, b"", b"", None)
        for n, p in enumerate((0.0, 1.0, 0.5))
    )
    drawn = draw_curve([PersonResult(1, 0.5, faces)])
    assert drawn.lines[0].path == "40.0,188.0 256.0,10.0 472.0,99.0"
    assert [label for _, label in drawn.ticks] == ["0", "0.5", "1", "1.5", "2"]


@pytest.fixture(scope="module")
def annotated(real_clips):
    clip = real_clips / "dfdc_train_part_1" / "634.mp4"
    with open_clip(clip) as video:
        frames, pixels = video.timeline.count, video.pixels
        width = next(video.frames([0])).width
    box = (width / 10, 100, 200, 150)
    tracks = make_tracks([(1, 1.0, box, 0.25), (1, 1.2, box, 1)])
    return annotate_clip(clip.read_bytes(), tracks), frames, pixels


def test_the_annotated_clip_has_every_frame(annotated):
    content, frames, pixels = annotated
    with av.open(io.BytesIO(content)) as clip:
        decoded = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        assert clip.streams.video[0].codec_context.name == "h264"
    assert len(decoded) == frames
    assert decoded[0].shape[0] * decoded[0].shape[1] <= pixels


def test_the_box_is_drawn_where_and_when_the_face_is(annotated):
    with av.open(io.BytesIO(annotated[0])) as clip:
        frames = {frame.time: frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)}
    during = min(frames, key=lambda time: abs(time - 1.1))
    left = frames[during].shape[1] // 10
    edge = frames[during][150:160, left - 1 : left + 2].reshape(-1, 3).mean(axis=0)
    assert edge == pytest.approx(COLOURS[0], abs=60)
    before = frames[min(frames)][150:160, left - 1 : left + 2].reshape(-1, 3).mean(axis=0)
    assert before != pytest.approx(COLOURS[0], abs=60)
