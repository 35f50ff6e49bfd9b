"""Follows the faces of a clip through its frames. Pure: detections in, chosen ones out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dfdc_prep.detectors.base import Face, distance, near


@dataclass
class _Track:
    """One face through time: frame number to the index of its detection there."""

    last: Face
    members: dict[int, int] = field(default_factory=dict)
    area: int = 0

    def add(self, frame: int, index: int, face: Face) -> None:
        self.members[frame] = index
        self.last = face
        self.area += face.area


def follow(frames: Sequence[Sequence[Face]], every_face: bool = False) -> list[list[int]]:
    """Choose the detections to keep, frame by frame.

    The main face is, of those seen in more than half of the frames, the one that covers
    most over the whole clip: it wins over a larger stranger in one frame. A frame without
    it yields nothing, and a detection seen nowhere else (a sculpture, a flag patch) is
    dropped. Where no face is seen that often, each frame keeps its largest.

    Args:
        frames: the detections of each frame, in time.
        every_face: keep all faces but those dropped detections, not only the main one.

    Returns:
        For each frame the indices of the kept detections, ascending.
    """
    tracks = _link(frames)
    if not tracks:
        return [[] for _ in frames]
    main = max(tracks, key=lambda track: (_often(track, frames), track.area))
    agreed = _often(main, frames)
    if every_face:
        dropped = {
            (frame, index)
            for track in tracks
            if agreed and len(frames) > 2 and len(track.members) == 1
            for frame, index in track.members.items()
        }
        return [
            [i for i in range(len(faces)) if (frame, i) not in dropped]
            for frame, faces in enumerate(frames)
        ]
    return [
        [main.members[frame]]
        if frame in main.members
        else []
        if agreed or not faces
        else [_largest(faces)]
        for frame, faces in enumerate(frames)
    ]


def _often(track: _Track, frames: Sequence[Sequence[Face]]) -> bool:
    return 2 * len(track.members) > len(frames)


def _link(frames: Sequence[Sequence[Face]]) -> list[_Track]:
    """Join detections to tracks, nearest pairs first, each once a frame."""
    tracks: list[_Track] = []
    for number, faces in enumerate(frames):
        pairs = sorted(
            (distance(track.last, face), t, i)
            for t, track in enumerate(tracks)
            for i, face in enumerate(faces)
            if near(track.last, face)
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
    return max(range(len(faces)), key=lambda i: (faces[i].area, -i))
