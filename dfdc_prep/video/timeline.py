"""The frames of a clip, which of them to extract, and the packets that must be decoded for them.

This module works on packet metadata only and accesses neither files nor decoders. Packets are
numbered in decoding order, frames in presentation order. The two orders differ in almost every
clip, because a B-frame is sent after a frame that is displayed later and that it refers to.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import NamedTuple

EVEN, EXACT, FIRST, KEYFRAMES = "even", "exact", "first", "keyframes"
SAMPLINGS = (EVEN, EXACT, FIRST, KEYFRAMES)

#: `keyframes` takes every fourth frame after a keyframe, if possible: adjacent frames are nearly
#: identical, and frames far from the keyframe are slow to decode.
_KEYFRAME_STRIDE = 4


class Packet(NamedTuple):
    """The metadata of a packet, known before it is decoded."""

    # presentation time in the stream's time base, None if the container stores none
    pts: int | None
    # a decoder that starts here outputs this frame and all that are displayed later exactly
    random_access: bool = False
    reference: bool = False  # other frames may refer to this one; known for H.264 only
    # the frame is part of the clip. Edit lists hide frames, which are decoded only because
    # displayed frames refer to them.
    displayed: bool = True
    size: int = 0  # bytes
    keyframe: bool = False  # as the container says, which is not always a random access point
    picture: str | None = None  # I, P or B; known for H.264 only


class DecodeRange(NamedTuple):
    """Packets to decode without seeking, by the numbers of the first and of the last."""

    start: int
    end: int
    # the wanted frames they yield, ascending positions in presentation order
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip."""

    count: int  # number of frames in the container (a damaged clip may yield fewer)
    # positions in presentation order of the frames that are random access points
    keyframes: tuple[int, ...] = ()
    # positions of the frames that others refer to; they are decoded anyway to obtain those. Empty
    # if the codec does not expose this.
    references: tuple[int, ...] = ()
    # presentation times in the stream's time base, in presentation order; empty if frames can only
    # be counted while decoding
    pts: tuple[int, ...] = ()
    packets: tuple[int, ...] = ()  # packet number of each frame; empty if `pts` is
    # packet number and presentation time of every random access point, including hidden ones
    random_access_points: tuple[tuple[int, int], ...] = ()

    def limited(self, count: int) -> "Timeline":
        """Return the same clip as far as its first frames."""
        return replace(
            self,
            count=count,
            keyframes=tuple(i for i in self.keyframes if i < count),
            references=tuple(i for i in self.references if i < count),
        )

    def decode_ranges(self, wanted: Sequence[int]) -> Iterator[DecodeRange]:
        """Yield the packet ranges that must be decoded to obtain the wanted frames, in order.

        The decoder outputs a frame after it received all packets from a random access point up
        to the frame's own packet and was drained. A range therefore ends with the highest packet
        number among its wanted frames, which need not be that of the last displayed frame.

        Args:
            wanted: positions in presentation order, ascending, below `count`.
        """
        for start, frames in groupby(wanted, key=self._random_access_before):
            chosen = tuple(frames)
            yield DecodeRange(start, max(self.packets[i] for i in chosen), chosen)

    def _random_access_before(self, frame: int) -> int:
        """Return the packet number of the random access point to decode a frame from.

        This is the last one that is neither sent nor displayed after the frame; it may be the
        frame itself.
        """
        # The points are sorted by packet number, but not necessarily by time.
        points = self.random_access_points
        sent = bisect_right(points, self.packets[frame], key=lambda point: point[0])
        for number, time in reversed(points[:sent]):
            if time <= self.pts[frame]:
                return number
        return 0


def build_timeline(packets: Sequence[Packet], seekable: bool) -> Timeline | None:
    """Build the timeline of a clip, or return None if only decoding can show its frames.

    That is the case if presentation times are missing or repeated, and if the clip was cut so
    that its first frames refer to frames that were removed: decoders drop some of these.

    Args:
        packets: all packets of the clip in decoding order.
        seekable: whether the container supports seeking by time. Otherwise, decoding always
            starts at the first packet.
    """
    times = [packet.pts for packet in packets if packet.pts is not None]
    distinct = len(times) == len(packets) == len(set(times))
    if not distinct or not packets[0].random_access or packets[0].pts != min(times):
        return None
    order = sorted((packet.pts, n) for n, packet in enumerate(packets) if packet.displayed)
    starts = [n for n, packet in enumerate(packets) if packet.random_access] if seekable else [0]
    return Timeline(
        len(order),
        tuple(i for i, (_, n) in enumerate(order) if packets[n].random_access),
        tuple(i for i, (_, n) in enumerate(order) if packets[n].reference),
        tuple(pts for pts, _ in order if pts is not None),
        tuple(n for _, n in order),
        tuple((n, times[n]) for n in starts),
    )


def choose_frames(sampling: str, wanted: int, clip: Timeline) -> list[int]:
    """Return the ascending positions, in presentation order, of the frames to extract.

    Args:
        sampling: one of `SAMPLINGS`. `even` takes evenly spaced frames, each moved to a nearby
            frame that is faster to decode; `exact` does not move them. With `keyframes`, clips
            without keyframes fall back to `even`.
        wanted: number of frames, at least 1; a shorter clip yields all of its frames.
    """
    if wanted >= clip.count:
        return list(range(clip.count))
    if sampling == FIRST:
        return list(range(wanted))
    if sampling == KEYFRAMES and clip.keyframes:
        return _near_keyframes(wanted, clip)
    return _even(wanted, Timeline(clip.count) if sampling == EXACT else clip)


def common_length(wanted: int, count: int, others: Sequence[int | None]) -> int:
    """Return how many frames, from the first, a clip and those that share its frames all have.

    A clip that is less than half as long, or too short for the frames wanted, does not count: it
    would take the frames of all the others from its few. Its frames are its own.

    Args:
        wanted: number of frames.
        count, others: lengths of the clip and of the others, frames; None if not known.
    """
    return min([count, *(n for n in others if n is not None and n >= max(wanted, count / 2))])


def _even(wanted: int, clip: Timeline) -> list[int]:
    """Return evenly spaced positions without the first and last frame of the clip.

    A keyframe within half a step replaces a position, because it can be decoded alone, whereas
    any other frame requires decoding everything since the previous keyframe. Otherwise the
    nearest reference frame within half a step replaces it, usually an adjacent frame, because
    reference frames must be decoded anyway.
    """
    if wanted == 1 and clip.keyframes:  # the keyframe nearest the middle, at any distance
        return [min(clip.keyframes, key=lambda k: (abs(2 * k - clip.count), k))]
    step = clip.count / (wanted + 1)
    chosen = []
    for number in range(1, wanted + 1):
        position = step * number
        near = _nearest(clip.keyframes, position), _nearest(clip.references, position)
        # In whole numbers: half a step from two positions, a frame is close to neither.
        close = [
            index
            for index in near
            if index is not None
            and 2 * abs(index * (wanted + 1) - clip.count * number) < clip.count
        ]
        chosen.append(close[0] if close else round(position))
    return chosen


def _nearest(indices: Sequence[int], position: float) -> int | None:
    """Return the nearest of the ascending indices, the earlier one of two; None if empty."""
    place = bisect_left(indices, position)
    return min(
        indices[max(0, place - 1) : place + 1], key=lambda i: abs(i - position), default=None
    )


def _near_keyframes(wanted: int, clip: Timeline) -> list[int]:
    """Keyframes and frames shortly after them, distributed evenly over the keyframes.

    If fewer frames are wanted than there are keyframes, these are keyframes.
    """
    if wanted <= len(clip.keyframes):
        return [clip.keyframes[i * len(clip.keyframes) // wanted] for i in range(wanted)]
    # Frames before the first keyframe, if any, are decoded from the start of the clip.
    borders = sorted({0, *clip.keyframes, clip.count})
    segments = [range(start, end) for start, end in pairwise(borders)]
    longest = max(len(segment) for segment in segments)
    chosen: set[int] = set()
    # Reduce the stride only if the segments are too short for the wider one.
    for stride in range(_KEYFRAME_STRIDE, 0, -1):
        for offset in range(0, longest, stride):
            for segment in segments:
                if offset < len(segment) and len(chosen) < wanted:
                    chosen.add(segment[offset])
    return sorted(chosen)


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of the positions 0 to count - 1, evenly spaced, with the first and last."""
    if count <= most or most == 1:
        return list(range(min(count, most)))
    return [i * (count - 1) // (most - 1) for i in range(most)]
