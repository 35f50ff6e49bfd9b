"""Opens a clip and yields the frames asked for, each exactly the picture the encoder meant.

A DFDC clip keeps two keyframes in 300 frames, so most wanted frames lie far from one and
everything they refer to has to be decoded. What can be left out without changing a single
pixel is left out: what no wanted frame refers to. In H.264 that is every frame marked as
non-reference, about half of a DFDC clip. (Leaving out all B-frames would save half again,
but x264 lets P-frames refer to B-frames: on the clips measured, all but the first few
pictures then come out smeared, 20 to 47 dB from the true ones.)
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain, dropwhile
from pathlib import Path
from typing import Literal, TypeAlias

import av
import av.logging

from dfdc_prep.errors import ClipError
from dfdc_prep.video.h264 import length_size, picture_kind
from dfdc_prep.video.picture import Frame
from dfdc_prep.video.source_file import SourceFile
from dfdc_prep.video.timeline import Packet, Stretch, Timeline, timeline_of

#: A frame with more pixels than 8K is refused before it is decoded.
MAX_PIXELS = 7680 * 4320

#: The codec whose packets tell what refers to them, whose decoder drops exactly the
#: non-reference frames when told to, and which carries parameter sets in its packets.
_H264 = "h264"
#: Containers that find a packet by its time, as FFmpeg names them.
_SEEKABLE = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
#: Containers that keep no presentation times: frames are counted as they come out.
_COUNTED = frozenset({"avi"})

#: PyAV's stubs make generic what its classes are not.
VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"

av.logging.set_level(av.logging.PANIC)


class Video:
    """An open clip. Made by `open_clip`."""

    def __init__(self, file: SourceFile, path: Path) -> None:
        self._file = file
        self._path = path
        self._open()
        context = self._context
        if context.width * context.height > MAX_PIXELS:
            raise ClipError(
                f"expected frames of at most {MAX_PIXELS} pixels, found "
                f"{context.width}x{context.height} in {path.name}; convert it or leave it out"
            )
        #: Number of each packet in decoding order by its presentation time.
        self._numbers: dict[int | None, int] = {}
        self._droppable: set[int | None] = set()
        self.timeline = self._read_timeline()
        self._prime()

    def close(self) -> None:
        """Give the decoder back; the file stays open."""
        self._container.close()

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Decode the frames at these positions in presentation order, each once, in order.

        Fewer come out where the clip is damaged: what is sent after the damage is not trusted
        until the next keyframe. Callers must check the count.
        """
        wanted = sorted({i for i in indices if 0 <= i < self.timeline.count})
        if not self.timeline.pts:
            return self._counted(wanted)
        return chain.from_iterable(map(self._decode, self.timeline.stretches(wanted)))

    def _open(self) -> None:
        """Begin to read the file from its start, with a decoder that has seen nothing yet."""
        self._file.seek(0)
        # FFmpeg decodes a few frames of every stream to guess what the header already says;
        # told to skip them all it opens a clip in a sixth of the time.
        self._container = av.open(self._file, "r", options={"skip_frame": "all"})
        if not self._container.streams.video:
            raise ClipError(f"expected a video in {self._path.name}, found no video stream")
        self._stream = self._container.streams.video[0]
        if self._stream.codec_context is None:
            raise ClipError(
                f"expected a known codec in {self._path.name}, found none that decodes it"
            )
        self._context = self._stream.codec_context
        self._context.thread_type = "NONE"
        self._context.thread_count = 1

    def _restart(self) -> None:
        self.close()
        self._open()

    def _demux(self) -> Iterator[VideoPacket]:
        """The packets from where the container stands, up to where the file is cut off."""
        with suppress(av.FFmpegError):
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)

    def _read_timeline(self) -> Timeline:
        packets = [self._described(packet) for packet in self._demux()]
        if not packets:
            raise ClipError(f"expected a video in {self._path.name}, found no frame")
        name = self._container.format.name
        if name in _COUNTED:
            return Timeline(len(packets))
        timeline = timeline_of(packets, name in _SEEKABLE)
        if timeline is None:
            return Timeline(self._count(packets))
        self._numbers = {packet.pts: n for n, packet in enumerate(packets)}
        if self._context.name == _H264:
            self._droppable = {packet.pts for packet in packets if not packet.reference}
        return timeline

    def _described(self, packet: VideoPacket) -> Packet:
        entry, reference = packet.is_keyframe, False
        if self._context.name == _H264:
            kind = picture_kind(memoryview(packet), length_size(self._context.extradata))
            entry, reference = entry and kind.entry, kind.reference
        return Packet(packet.pts, bool(entry), reference, not packet.is_discard)

    def _count(self, packets: Sequence[Packet]) -> int:
        """Frames that come out of a clip whose packets do not tell; all are decoded for it.

        Packets count where the clip is damaged, so that what is missing is noticed.
        """
        self._restart()
        try:
            return sum(1 for _ in self._container.decode(self._stream))
        except av.FFmpegError:
            return sum(packet.shown for packet in packets)

    def _prime(self) -> None:
        """Show the decoder the parameter sets in the clip's first packet, decoding nothing.

        They can differ from those in the header; a decoder that starts at a later keyframe
        without them puts out wrong pixels (seen on FaceForensics++ clips).
        """
        if self._context.name != _H264 or len(self.timeline.entries) < 2:
            return
        self._context.skip_frame = "ALL"
        with suppress(av.FFmpegError):
            self._container.seek(0, stream=self._stream)
            self._context.decode(next(self._demux(), None))
        self._context.flush_buffers()

    def _decode(self, stretch: Stretch) -> Iterator[Frame]:
        """Send the packets of a stretch and drain the decoder; the wanted frames, in order.

        A decoding error ends the stretch: what is sent later refers to what was lost. What was
        sent before still comes out.
        """
        missing = {self.timeline.pts[i]: i for i in stretch.frames}
        for packet in self._packets_from(stretch.start):
            number = self._numbers.get(packet.pts, -1)
            drop = packet.pts in self._droppable and packet.pts not in missing
            decoded = self._sent(packet, "NONREF" if drop else "DEFAULT")
            if decoded is None:
                missing = {pts: i for pts, i in missing.items() if self._numbers[pts] < number}
                break
            yield from self._wanted(decoded, missing)
            if number == stretch.end:
                break
        yield from self._wanted(self._sent(None, "DEFAULT") or [], missing)

    def _sent(
        self, packet: "VideoPacket | None", skip: Literal["NONREF", "DEFAULT"]
    ) -> list[av.VideoFrame] | None:
        """What the decoder gives for a packet, or as the last of all; None where it fails."""
        self._context.skip_frame = skip
        try:
            return self._context.decode(packet)
        except av.FFmpegError:
            return None

    def _wanted(self, decoded: list[av.VideoFrame], missing: dict[int, int]) -> Iterator[Frame]:
        """Those of the decoded frames that are missing, which they are no longer then."""
        for frame in decoded:
            if frame.pts in missing and not frame.is_corrupt:
                yield self._frame(missing.pop(frame.pts), frame)

    def _packets_from(self, start: int) -> Iterator[VideoPacket]:
        """The packets from one to start at; from the clip's first where no seek leads there."""
        with suppress(av.FFmpegError):
            time = next(time for number, time in self.timeline.entries if number == start)
            self._container.seek(time, stream=self._stream, backward=True)
            packets = self._demux()
            first = next(packets, None)
            if first is not None and self._numbers.get(first.pts, start + 1) <= start:
                return dropwhile(
                    lambda packet: self._numbers.get(packet.pts, -1) < start,
                    chain([first], packets),
                )
        self._restart()
        return self._demux()

    def _counted(self, wanted: Sequence[int]) -> Iterator[Frame]:
        """The wanted frames of a clip whose frames are counted as they come out."""
        chosen = set(wanted)
        self._restart()
        with suppress(av.FFmpegError):
            for index, decoded in enumerate(self._container.decode(self._stream)):
                if decoded.is_corrupt or not chosen:
                    return
                if index in chosen:
                    chosen.remove(index)
                    yield self._frame(index, decoded)

    def _frame(self, index: int, decoded: av.VideoFrame) -> Frame:
        if decoded.width * decoded.height > MAX_PIXELS:
            raise ClipError(f"expected frames of at most {MAX_PIXELS} pixels in {self._path.name}")
        tick, rate = self._stream.time_base, self._stream.average_rate
        if self.timeline.pts and tick:
            seconds = float((self.timeline.pts[index] - self.timeline.pts[0]) * tick)
        else:
            seconds = float(index / rate) if rate else 0.0
        return Frame(index, seconds, decoded)


@contextmanager
def open_clip(path: Path) -> Iterator[Video]:
    """Open a clip for one decoding thread.

    Raises:
        ClipError: no video stream, not a video, or frames beyond `MAX_PIXELS`; also in place
            of whatever FFmpeg raises while the clip is open. Some of its errors are OSErrors
            too, and would pass for a disk that cannot be written.
        SourceUnreachable: the system did not let the file be read, at opening or later. It
            says nothing of the clip, and whatever came out of it is not to be used.
    """
    with closing(SourceFile(path)) as file:
        try:
            yield from _opened(file, path)
        finally:
            file.raise_for_error()


def _opened(file: SourceFile, path: Path) -> Iterator[Video]:
    try:
        video = Video(file, path)
    except (av.FFmpegError, ValueError) as error:
        raise ClipError(f"expected a video in {path.name}, found none: {_reason(error)}") from error
    with closing(video):
        try:
            yield video
        except av.FFmpegError as error:
            raise ClipError(f"expected to decode {path.name}, found: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The system's or FFmpeg's own words, without the path."""
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
