"""Faces: their boxes, the detectors that find them, and their tracks across a clip."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from dfdc_prep.video.picture import Image, Picture

#: Boxes in two frames may show the same face if their centers are at most this far apart, in
#: units of the larger box's size, ...
_MAX_CENTER_DISTANCE = 1.0
#: ... and the larger box is at most this many times the size of the smaller one.
_MAX_SIZE_RATIO = 2.0

Point = tuple[float, float]


class Landmarks(NamedTuple):
    """Five points of a face, each x and y. Left and right are those of the picture."""

    left_eye: Point
    right_eye: Point
    nose: Point
    left_mouth: Point
    right_mouth: Point

    def scaled(self, x_scale: float, y_scale: float, left: float = 0, top: float = 0) -> Self:
        """Return the points shifted by left and top, then scaled."""
        return type(self)(*(((x + left) * x_scale, (y + top) * y_scale) for x, y in self))


@dataclass(frozen=True, order=True)
class Face:
    """A face box in pixels of the source picture. Boxes sort by x, then y.

    Attributes:
        x, y: left and top edge; they may be negative.
        w, h: width and height.
        score: the detector's confidence: 0 to 1 for YuNet, dlib's margin for HOG and CNN
            (a face if above 0).
        landmarks: five points in pixels of the source picture, rounded to a hundredth; None for
            detectors that find none. The center of the picture's first pixel is at (0.5, 0.5).
    """

    x: int
    y: int
    w: int
    h: int
    score: float
    landmarks: Landmarks | None = field(default=None, compare=False)

    @property
    def area(self) -> int:
        """Area in square pixels."""
        return self.w * self.h

    def scaled(self, x_scale: float, y_scale: float) -> "Face":
        """Return the box in a picture that is scaled by these factors."""
        box = RawDetection(self.x, self.y, self.w, self.h, self.score, self.landmarks)
        return box.scaled(x_scale, y_scale)


class RawDetection(NamedTuple):
    """A face in a scaled copy of a picture, in the copy's pixels."""

    x: float
    y: float
    w: float
    h: float
    score: float
    landmarks: Landmarks | None = None

    def scaled(self, x_scale: float, y_scale: float) -> Face:
        """Return the face in source pixels, its edges rounded; sides are at least 1 pixel."""
        x, y, w, h, score, landmarks = self
        left, top = round(x * x_scale), round(y * y_scale)
        right, bottom = round((x + w) * x_scale), round((y + h) * y_scale)
        if landmarks:
            points = landmarks.scaled(x_scale, y_scale)
            landmarks = Landmarks(*((round(x, 2), round(y, 2)) for x, y in points))
        return Face(left, top, max(1, right - left), max(1, bottom - top), score, landmarks)


class Detector(Protocol):
    """Finds faces in pictures. Not thread-safe: each worker process creates its own."""

    @property
    def name(self) -> str:
        """The value of the manifest's `detector` column."""

    def detect(self, picture: Picture) -> list[Face]:
        """Return all faces in pixels of the picture, sorted by x then y."""

    def detect_fast(self, picture: Picture, previous: Sequence[Face]) -> list[Face] | None:
        """Return the same faces at lower cost, or None if `detect` is required.

        Args:
            previous: the faces in the previously processed frame of the clip; empty if none.
        """
        return None


def detect_at_scales(
    picture: Picture,
    long_sides: Iterable[int],
    detect: Callable[[Image], Iterable[RawDetection]],
) -> list[Face]:
    """Detect faces in increasingly large copies of a picture until one contains a face.

    Args:
        long_sides: longer side of each copy in pixels, ascending. Copies are never upscaled;
            a copy of the same size as the one before is skipped.
        detect: returns the faces in an RGB image, in its pixels.

    Returns:
        The faces in pixels of the picture, sorted by x then y.
    """
    longer = max(picture.width, picture.height)
    for size in sorted({min(long_side, longer) for long_side in long_sides}):
        copy = picture.rgb(size)
        scale = picture.width / copy.shape[1], picture.height / copy.shape[0]
        if faces := sorted(found.scaled(*scale) for found in detect(copy)):
            return faces
    return []


def iou(a: Face, b: Face) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.area + b.area - width * height)


def _center_distance(a: Face, b: Face) -> float:
    """The distance of two boxes' centers in units of the larger box's size, its area's root.

    It is infinite if one box is more than `_MAX_SIZE_RATIO` times the size of the other.
    """
    small, large = sorted((math.sqrt(a.area), math.sqrt(b.area)))
    if large > _MAX_SIZE_RATIO * small:
        return math.inf
    dx = (a.x + a.w / 2) - (b.x + b.w / 2)
    dy = (a.y + a.h / 2) - (b.y + b.h / 2)
    return math.hypot(dx, dy) / large


def may_be_same_face(a: Face, b: Face) -> bool:
    """Return whether boxes in two frames are close enough to show the same face."""
    return _center_distance(a, b) <= _MAX_CENTER_DISTANCE


@dataclass
class _Track:
    """The detections of one face: the latest, the index of each by frame, their total area."""

    last: Face
    members: dict[int, int] = field(default_factory=dict)
    area: int = 0

    def add(self, frame: int, index: int, face: Face) -> None:
        self.members[frame] = index
        self.last = face
        self.area += face.area


def _link_tracks(frames: Sequence[Sequence[Face]]) -> list[_Track]:
    """Assign detections to tracks greedily, nearest pairs first, at most one per frame."""
    tracks: list[_Track] = []
    for number, faces in enumerate(frames):
        pairs = sorted(
            (_center_distance(track.last, face), t, i)
            for t, track in enumerate(tracks)
            for i, face in enumerate(faces)
            if may_be_same_face(track.last, face)
        )
        linked: set[int] = set()
        for _, t, i in pairs:
            if i not in linked and number not in tracks[t].members:
                tracks[t].add(number, i, faces[i])
                linked.add(i)
        for i, face in enumerate(faces):
            if i not in linked:
                tracks.append(_Track(face))
                tracks[-1].add(number, i, face)
    return tracks


def select_detections(
    frames: Sequence[Sequence[Face]], every_face: bool = False
) -> list[list[int]]:
    """Select the detections to keep in each frame.

    The main face is the one with the largest total area among those detected in more than half
    of the frames, so a larger face in a single frame does not replace it. Frames without the
    main face keep no detection. If no face is detected in more than half of the frames, the
    face with the largest total area is kept where it is detected, and all other frames keep
    their largest detection.

    Args:
        frames: the detections of each frame, in presentation order.
        every_face: keep the detections of all faces instead. If a main face exists and there
            are more than two frames, faces detected in only one frame are dropped as false
            positives.

    Returns:
        The ascending indices of the kept detections of each frame.
    """
    tracks = _link_tracks(frames)
    if not tracks:
        return [[] for _ in frames]
    has_main, _, main = max(
        ((2 * len(track.members) > len(frames), track.area, track) for track in tracks),
        key=lambda ranked: ranked[:2],
    )
    if every_face:
        doubtful = has_main and len(frames) > 2
        single = [t.members for t in tracks if doubtful and len(t.members) == 1]
        dropped = {detection for members in single for detection in members.items()}
        return [
            [i for i in range(len(faces)) if (frame, i) not in dropped]
            for frame, faces in enumerate(frames)
        ]
    kept = []
    for frame, faces in enumerate(frames):
        if frame in main.members:
            kept.append([main.members[frame]])
        elif has_main or not faces:
            kept.append([])
        else:  # the largest, the first of several
            kept.append([max(range(len(faces)), key=lambda i: (faces[i].area, -i))])
    return kept


def number_tracks(frames: Sequence[Sequence[Face]]) -> list[list[int]]:
    """Number the faces of a clip: detections with the same number show the same face.

    Args:
        frames: the detections of each frame, in presentation order.

    Returns:
        For each frame the number of each detection's track. Tracks are numbered from 0 by the
        number of their detections, then their total area, the largest first.
    """
    tracks = sorted(_link_tracks(frames), key=lambda t: (len(t.members), t.area), reverse=True)
    numbers = {
        detection: number
        for number, track in enumerate(tracks)
        for detection in track.members.items()
    }
    return [[numbers[frame, i] for i in range(len(faces))] for frame, faces in enumerate(frames)]
