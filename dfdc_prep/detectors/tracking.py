"""Tracks faces across the frames of a clip and selects the detections to keep."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dfdc_prep.detectors.base import Face, center_distance, may_be_same_face


@dataclass
class _Track:
    """The detections of one face.

    Attributes:
        last: the most recent detection.
        members: index of the face's detection in each frame, by frame number.
        area: total area of the detections, square pixels.
    """

    last: Face
    members: dict[int, int] = field(default_factory=dict)
    area: int = 0

    def add(self, frame: int, index: int, face: Face) -> None:
        self.members[frame] = index
        self.last = face
        self.area += face.area


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
    main = max(tracks, key=lambda track: (_in_most_frames(track, frames), track.area))
    has_main = _in_most_frames(main, frames)
    if every_face:
        dropped = {
            (frame, index)
            for track in tracks
            if has_main and len(frames) > 2 and len(track.members) == 1
            for frame, index in track.members.items()
        }
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
        else:
            kept.append([_largest(faces)])
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
        (frame, index): number
        for number, track in enumerate(tracks)
        for frame, index in track.members.items()
    }
    return [[numbers[frame, i] for i in range(len(faces))] for frame, faces in enumerate(frames)]


def _in_most_frames(track: _Track, frames: Sequence[Sequence[Face]]) -> bool:
    return 2 * len(track.members) > len(frames)


def _link_tracks(frames: Sequence[Sequence[Face]]) -> list[_Track]:
    """Assign detections to tracks greedily, nearest pairs first, at most one per frame."""
    tracks: list[_Track] = []
    for number, faces in enumerate(frames):
        pairs = sorted(
            (center_distance(track.last, face), t, i)
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


def _largest(faces: Sequence[Face]) -> int:
    """Return the index of the largest box, the first of several."""
    return max(range(len(faces)), key=lambda i: (faces[i].area, -i))
