"""Where the frames of a clip lie, and which packets must be decoded to get some of them.

Pure: it knows packets and positions, no file and no decoder. Packets come in decoding order;
frames are numbered in presentation order. A frame may be sent after one that is shown later,
since a B-frame refers to both its neighbours, so the two orders differ in almost every clip.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Packet:
    """What is known of a packet before it is decoded.

    Attributes:
        pts: presentation time in the stream's time base, None where the container keeps none.
        entry: a decoder may start here and get every frame shown from here on exactly.
        reference: other frames may refer to this one; only H.264 packets tell.
        shown: the frame is part of the clip; an edit list hides others, which are decoded
            only because shown frames refer to them.
    """

    pts: int | None
    entry: bool = False
    reference: bool = False
    shown: bool = True


@dataclass(frozen=True)
class Stretch:
    """Packets to decode in one go.

    Attributes:
        start: number of the packet to start at, in decoding order.
        end: number of the last packet to send.
        frames: the wanted frames that come out, ascending positions in presentation order.
    """

    start: int
    end: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip.

    Attributes:
        count: frames the container holds (a damaged clip may decode fewer).
        keyframes: positions in presentation order of the frames a decoder can start at.
        references: positions of the frames that others refer to, which are decoded on the way
            to those; empty where the codec does not tell.
        pts: presentation times in presentation order, in the stream's time base; empty
            where frames must be counted as they come out of the decoder.
        packets: number of each frame's packet in decoding order; empty where `pts` is.
        entries: number and time of every packet a decoder can start at, hidden ones included.
    """

    count: int
    keyframes: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    pts: tuple[int, ...] = ()
    packets: tuple[int, ...] = ()
    entries: tuple[tuple[int, int], ...] = ()

    def stretches(self, wanted: Sequence[int]) -> Iterator[Stretch]:
        """The packets to send so that every wanted frame comes out, in order.

        A frame comes out once its own packet and all before it since the entry have been sent
        and the decoder has been drained; so a stretch ends with the packet of a wanted frame
        that is sent last, which need not be that of the frame shown last.

        Args:
            wanted: positions in presentation order, ascending, below `count`.
        """
        for start, frames in groupby(wanted, key=self._entry_before):
            chosen = tuple(frames)
            yield Stretch(start, max(self.packets[i] for i in chosen), chosen)

    def _entry_before(self, frame: int) -> int:
        """The last packet to start at for a frame: neither shown nor sent after it."""
        place = bisect_right(self.entries, self.packets[frame], key=lambda entry: entry[0])
        for number, time in reversed(self.entries[:place]):
            if time <= self.pts[frame]:
                return number
        return 0


def timeline_of(packets: Sequence[Packet], seekable: bool) -> Timeline | None:
    """The timeline that packets tell; None where only decoding tells which frames come out.

    That is so without distinct presentation times, and in a clip that was cut so that it
    begins with frames that refer to ones it no longer has: decoders drop some of those.

    Args:
        packets: in decoding order.
        seekable: whether the container finds a packet by its time; else all decoding starts
            at the first one.
    """
    times = [packet.pts for packet in packets if packet.pts is not None]
    distinct = len(times) == len(packets) == len(set(times))
    if not distinct or not packets[0].entry or packets[0].pts != min(times):
        return None
    order = sorted((packet.pts, n) for n, packet in enumerate(packets) if packet.shown)
    starts = [n for n, packet in enumerate(packets) if packet.entry] if seekable else [0]
    return Timeline(
        len(order),
        tuple(i for i, (_, n) in enumerate(order) if packets[n].entry),
        tuple(i for i, (_, n) in enumerate(order) if packets[n].reference),
        tuple(pts for pts, _ in order if pts is not None),
        tuple(n for _, n in order),
        tuple((n, times[n]) for n in starts),
    )
