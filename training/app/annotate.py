"""Draws boxes and scores into a clip: persons, their boxes between scored frames, the drawing."""

import io
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from dfdc_prep.detectors.base import number_tracks
from dfdc_prep.errors import ClipError
from dfdc_prep.video.picture import Image
from dfdc_prep.video.reader import open_clip
from training.inference.face_crops import FaceCrop, nameless_file

#: A box as left, top, width, height in pixels of the frame.
Box = tuple[float, float, float, float]
#: Longer side of the annotated clip, pixels.
CLIP_SIZE = 960
#: RGB colours of the persons, those of the page.
COLOURS = ((255, 176, 0), (100, 143, 255), (120, 214, 105), (254, 97, 160))
#: Ticks a second of the written clip, as MPEG streams have.
_TICKS = 90_000


class FaceTrack(NamedTuple):
    """The scored faces of one person, in order of time."""

    person: int  # from 1
    times: list[float]
    boxes: list[Box]
    scores: list[float]
    reach_s: float  # the person is shown this long before the first time and after the last

    def at(self, time_s: float) -> tuple[Box, float] | None:
        """The box at a time, interpolated, and P(FAKE) of the nearest scored frame.

        None if the person is not shown.
        """
        if not self.times[0] - self.reach_s <= time_s <= self.times[-1] + self.reach_s:
            return None
        x, y, w, h = (
            float(np.interp(time_s, self.times, each)) for each in zip(*self.boxes, strict=True)
        )
        nearest = int(np.argmin(np.abs(np.subtract(self.times, time_s))))
        return (x, y, w, h), self.scores[nearest]


def number_persons(crops: Sequence[FaceCrop]) -> list[int]:
    """Number of the person, from 1, for each face in the order of the frames."""
    frames = [list(faces) for _, faces in groupby(crops, key=lambda crop: crop.frame)]
    numbers = number_tracks([[crop.box for crop in faces] for faces in frames])
    return [number + 1 for numbered in numbers for number in numbered]


def make_tracks(faces: Sequence[tuple[int, float, Box, float]]) -> list[FaceTrack]:
    """One track for each person, from number, time in seconds, box, P(FAKE), in order of time."""
    times = sorted({time_s for _, time_s, _, _ in faces})
    reach = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else float("inf")
    tracks: dict[int, FaceTrack] = {}
    for person, time_s, box, p_fake in faces:
        track = tracks.setdefault(person, FaceTrack(person, [], [], [], reach))
        track.times.append(time_s)
        track.boxes.append(box)
        track.scores.append(p_fake)
    return [tracks[person] for person in sorted(tracks)]


def annotate_clip(upload: bytes, tracks: list[FaceTrack]) -> bytes:
    """Draw the faces into every frame of a clip; ClipError if it cannot be decoded.

    Returns an MP4 file with H.264 and no sound, its longer side at most `CLIP_SIZE` pixels.
    """
    written = io.BytesIO()
    with (
        nameless_file(upload) as path,
        open_clip(path, "the clip") as clip,
        av.open(written, "w", format="mp4") as out,
    ):
        stream: Any = None
        last = -1
        for frame in clip.frames(range(clip.timeline.count)):
            image, time_s = frame.rgb(CLIP_SIZE), frame.time_s or 0.0
            image = np.ascontiguousarray(image[: image.shape[0] & -2, : image.shape[1] & -2])
            if stream is None:
                stream = out.add_stream("libx264", options={"preset": "veryfast", "crf": "23"})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
            elif image.shape[:2] != (stream.height, stream.width):
                image = cv2.resize(image, (stream.width, stream.height)).astype(np.uint8)
            draw_faces(image, time_s, tracks, frame.width)
            encoded = av.VideoFrame.from_ndarray(image, format="rgb24")
            last = max(last + 1, round(time_s * _TICKS))
            encoded.pts, encoded.time_base = last, Fraction(1, _TICKS)
            out.mux(stream.encode(encoded))
        if stream is None:
            raise ClipError("expected frames to annotate, found none that decodes")
        out.mux(stream.encode(None))
    return written.getvalue()


def draw_faces(image: Image, time_s: float, tracks: list[FaceTrack], source_width: int) -> None:
    """Draw the boxes at a time, in pixels of a frame of `source_width`, into an RGB image."""
    scale, font = image.shape[1] / source_width, cv2.FONT_HERSHEY_SIMPLEX
    line = max(2, image.shape[1] // 400)
    size, thick = image.shape[1] / 1400 + 0.25, max(1, line - 1)
    for track in tracks:
        if not (shown := track.at(time_s)):
            continue
        box, p_fake = shown
        colour = COLOURS[(track.person - 1) % len(COLOURS)]
        x, y, w, h = (round(value * scale) for value in box)
        cv2.rectangle(image, (x, y), (x + w, y + h), colour, line)
        label = f"{track.person}: P(FAKE) {p_fake:.2f}"
        (width, height), _ = cv2.getTextSize(label, font, size, thick)
        pad = height // 2
        left = min(max(0, x), max(0, image.shape[1] - width - 2 * pad))
        top = max(0, y - height - 2 * pad)
        corner = (left + width + 2 * pad, top + height + 2 * pad)
        cv2.rectangle(image, (left, top), corner, colour, cv2.FILLED)
        origin = (left + pad, top + height + pad)
        cv2.putText(image, label, origin, font, size, (0, 0, 0), thick, cv2.LINE_AA)
