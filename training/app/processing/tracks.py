"""Groups the faces of a clip by person and says where they are between the scored frames."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from dfdc_prep.detectors.base import number_tracks
from training.inference.face_crops import FaceCrop

#: A box as left, top, width, height in pixels of the frame.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class TrackPoint:
    """A scored face of a track."""

    time_s: float
    box: Box
    p_fake: float


@dataclass(frozen=True)
class FaceTrack:
    """The scored faces of one person, in order of time.

    Attributes:
        person: number of the person, from 1.
        reach_s: the person is shown this long before the first point and after the last.
    """

    person: int
    points: tuple[TrackPoint, ...]
    reach_s: float

    def at(self, time_s: float) -> tuple[Box, float] | None:
        """The box at a time, interpolated, and P(FAKE) of the nearest scored frame.

        None if the person is not shown.
        """
        times = [point.time_s for point in self.points]
        if not times[0] - self.reach_s <= time_s <= times[-1] + self.reach_s:
            return None
        later = bisect_left(times, time_s)
        before, after = self.points[max(0, later - 1)], self.points[min(later, len(times) - 1)]
        gap = after.time_s - before.time_s
        share = (time_s - before.time_s) / gap if gap > 0 else 0.0
        x, y, w, h = (a + share * (b - a) for a, b in zip(before.box, after.box, strict=True))
        return (x, y, w, h), (after if share > 0.5 else before).p_fake


def number_persons(crops: Sequence[FaceCrop]) -> list[int]:
    """Number of the person, from 1, for each face in the order of the frames."""
    frames = [list(faces) for _, faces in groupby(crops, key=lambda crop: crop.frame)]
    numbers = number_tracks([[crop.box for crop in faces] for faces in frames])
    return [number + 1 for numbered in numbers for number in numbered]


def make_tracks(faces: Sequence[tuple[int, float, Box, float]]) -> list[FaceTrack]:
    """One track for each person of a clip.

    Args:
        faces: number of the person, time in seconds, box, P(FAKE), in order of time.
    """
    times = sorted({time_s for _, time_s, _, _ in faces})
    reach = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else float("inf")
    points: dict[int, list[TrackPoint]] = {}
    for person, time_s, box, p_fake in faces:
        points.setdefault(person, []).append(TrackPoint(time_s, box, p_fake))
    return [FaceTrack(person, tuple(points[person]), reach) for person in sorted(points)]
