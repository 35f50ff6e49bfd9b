"""Opens a clip and yields the requested frames, bit-exact.

A DFDC clip has two keyframes in 300 frames, so most requested frames are far from a keyframe,
and everything they refer to must be decoded. Frames that no requested frame refers to are
skipped, which does not change a pixel. In H.264 these are the frames marked as non-reference,
about half of a DFDC clip. Skipping all B-frames would save another half, but x264 lets P-frames
refer to B-frames: on the measured clips, all but the first few frames would then be damaged,
with a PSNR of 20 to 47 dB.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain, dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import av
import av.logging

from dfdc_prep.errors import ClipError
from dfdc_prep.video import container
from dfdc_prep.video.container import MP4, choose_stream, ending_at_an_error, open_container
from dfdc_prep.video.h264 import (
    PictureHeader,
    encoder_text,
    nal_length_size,
    parse_picture_header,
)
from dfdc_prep.video.picture import Frame, shown_size
from dfdc_prep.video.source_file import SourceFile, frame_names
from dfdc_prep.video.stream import DECODER_OPTIONS, Quantisation, describe_stream, quantisation
from dfdc_prep.video.timeline import DecodeRange, Packet, Timeline, build_timeline
from manifests.schemas import MAX_PIXELS, StreamRow

if TYPE_CHECKING:
    from dfdc_prep.video.animation import Animation, FrameFolder

#: The only codec whose non-reference frames are skipped. Its packets show which frames are
#: references, FFmpeg's decoder can skip exactly the others, and packets contain parameter sets.
_H264 = "h264"

#: A string because the class is generic only in PyAV's type stubs.
VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"
#: An open clip.
AnyVideo: TypeAlias = "Video | Animation | FrameFolder"

av.logging.set_level(av.logging.PANIC)


class Video:
    """An open clip, from `open_clip`.

    Attributes:
        timeline: the frames of the clip.
        shortfall: what the end of the file lacks, as far as its container says; None if nothing.
    """

    def __init__(self, file: SourceFile, name: str) -> None:
        self._file, self._name = file, name
        self._chosen: int | None = None  # index of the stream in the container
        self._open()
        self._checked_pixels(self._context)
        self.shortfall = container.missing_end(file, self._container.format.name)
        # By presentation time: the number of each packet in decoding order; frames to skip.
        self._numbers: dict[int | None, int] = {}
        self._skippable: set[int | None] = set()
        self._packets: list[Packet] = []
        self._encoder: str | None = None
        self._quantised: dict[int, Quantisation] = {}  # of the frames yielded
        self.timeline = self._read_timeline()
        self._load_parameter_sets()

    @property
    def pixels(self) -> int:
        """Pixels of a frame as shown, as the container's header says."""
        return self._checked_pixels(self._context)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last; 0 if the clip has no times and no rate."""
        return self._time_s(self.timeline.count - 1)

    @property
    def stream(self) -> StreamRow:
        """What the stream says of its encoding; of its quantisation, the frames yielded so far."""
        quantised = [self._quantised[index] for index in sorted(self._quantised)]
        return describe_stream(
            self._container, self._stream, self._packets, self._encoder, quantised
        )

    def close(self) -> None:
        """Close the container and decoder, but not the file."""
        self._container.close()

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Decode the frames at these positions in presentation order.

        Frames are yielded in ascending order, each once; positions outside the clip are ignored.
        A damaged clip yields fewer frames, because frames after the damage are discarded up to
        the next keyframe. Callers must check the count.

        Raises:
            ClipError: a frame has more than `MAX_PIXELS` pixels.
        """
        wanted = sorted({i for i in indices if 0 <= i < self.timeline.count})
        if not self.timeline.pts:
            return self._decode_by_counting(set(wanted))
        return chain.from_iterable(map(self._decode_range, self.timeline.decode_ranges(wanted)))

    def _open(self) -> None:
        """Open the container at the start of the file with a new decoder."""
        self._container = open_container(self._file, self._name)
        if self._chosen is None:
            self._chosen = choose_stream(self._container, self._name).index
            if len(self._container.streams.video) > 1:  # packets were read to choose
                self._restart()
                return
        stream = self._container.streams[self._chosen]
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        self._context = self._stream.codec_context
        self._context.thread_type = "NONE"
        self._context.thread_count = 1
        self._context.options = DECODER_OPTIONS

    def _restart(self) -> None:
        """Reopen the clip at its start."""
        self.close()
        self._open()

    def _demux(self) -> Iterator[VideoPacket]:
        """Yield the packets from the current position to the end or the first read error."""
        with ending_at_an_error():
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)

    def _read_timeline(self) -> Timeline:
        """Read the metadata of all packets; raise ClipError if there are none."""
        packets = self._packets
        for packet in self._demux():
            if not packets and self._context.name == _H264:
                length_size = nal_length_size(self._context.extradata)
                self._encoder = encoder_text(memoryview(packet), length_size)
            packets.append(self._packet_metadata(packet))
        if not packets:
            raise ClipError(f"expected a video in {self._name}, found no frame")
        form = container.CONTAINERS[self._container.format.name]
        if not form.timed:
            return Timeline(len(packets))
        timeline = build_timeline(packets, form.seekable)
        if timeline is None:
            return Timeline(self._count_frames(packets))
        self._numbers = {packet.pts: n for n, packet in enumerate(packets)}
        if self._context.name == _H264:
            self._skippable = {packet.pts for packet in packets if not packet.reference}
        return timeline

    def _packet_metadata(self, packet: VideoPacket) -> Packet:
        keyframe, header = bool(packet.is_keyframe), PictureHeader(False, True)
        if self._context.name == _H264:
            length_size = nal_length_size(self._context.extradata)
            header = parse_picture_header(memoryview(packet), length_size)
        return Packet(
            packet.pts,
            keyframe and header.random_access,
            header.reference,
            not packet.is_discard,
            packet.size,
            keyframe,
            header.kind,
        )

    def _count_frames(self, packets: Sequence[Packet]) -> int:
        """Count by decoding; the packets of a damaged clip, so that missing frames are found."""
        self._restart()
        with ending_at_an_error():
            return sum(1 for _ in self._container.decode(self._stream))
        return sum(packet.displayed for packet in packets)

    def _load_parameter_sets(self) -> None:
        """Pass the parameter sets in the clip's first packet to the decoder without decoding.

        They can differ from the header's. Without them, a decoder that starts at a later keyframe
        produces wrong pixels (observed on FaceForensics++ clips).
        """
        if self._context.name != _H264 or len(self.timeline.random_access_points) < 2:
            return
        self._context.skip_frame = "ALL"
        with ending_at_an_error():
            self._container.seek(0, stream=self._stream)
            self._context.decode(next(self._demux(), None))
        self._context.flush_buffers()

    def _decode_range(self, packets: DecodeRange) -> Iterator[Frame]:
        """Decode a range of packets, drain the decoder, and yield the wanted frames in order.

        An error ends the range because later packets may refer to the lost frame.
        """
        missing = {self.timeline.pts[i]: i for i in packets.frames}
        for packet in self._packets_from(packets.start):
            number = self._numbers.get(packet.pts, -1)
            skip = packet.pts in self._skippable and packet.pts not in missing
            decoded = self._send(packet, "NONREF" if skip else "DEFAULT")
            if decoded is None:
                missing = {pts: i for pts, i in missing.items() if self._numbers[pts] < number}
                break
            yield from self._take_missing(decoded, missing)
            if number == packets.end:
                break
        yield from self._take_missing(self._send(None, "DEFAULT") or [], missing)

    def _send(
        self, packet: "VideoPacket | None", skip: Literal["NONREF", "DEFAULT"]
    ) -> list[av.VideoFrame] | None:
        """Send a packet, or None to drain the decoder; return its output, None on an error."""
        self._context.skip_frame = skip
        try:  # once a packet: a context manager would cost more
            return self._context.decode(packet)
        except MemoryError:
            raise
        except av.FFmpegError:
            return None

    def _take_missing(
        self, decoded: list[av.VideoFrame], missing: dict[int, int]
    ) -> Iterator[Frame]:
        """Yield the intact frames whose presentation time is in `missing`, removing it there."""
        for frame in decoded:
            if frame.pts in missing and not frame.is_corrupt:
                yield self._to_frame(missing.pop(frame.pts), frame)

    def _packets_from(self, start: int) -> Iterator[VideoPacket]:
        """Return the packets from a number on, or from the first one if seeking fails."""
        with ending_at_an_error():
            time = dict(self.timeline.random_access_points)[start]
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

    def _decode_by_counting(self, wanted: set[int]) -> Iterator[Frame]:
        """Yield the wanted frames of a clip without presentation times, by counting frames."""
        self._restart()
        with ending_at_an_error():
            for index, decoded in enumerate(self._container.decode(self._stream)):
                if decoded.is_corrupt or not wanted:
                    return
                if index in wanted:
                    wanted.remove(index)
                    yield self._to_frame(index, decoded)

    def _to_frame(self, index: int, decoded: av.VideoFrame) -> Frame:
        self._checked_pixels(decoded)
        if quantised := quantisation(decoded):
            self._quantised[index] = quantised
        return Frame(index, self._time_s(index), decoded, self._pixel_aspect())

    def _checked_pixels(self, frame: "av.VideoFrame | av.VideoCodecContext") -> int:
        """Pixels of a frame as shown; raise a `ClipError` if they are too many."""
        width, height = shown_size(frame.width, frame.height, self._pixel_aspect())
        if width * height > MAX_PIXELS:
            raise ClipError(
                f"expected frames of at most {MAX_PIXELS} pixels, found {width}x{height} in "
                f"{self._name}; convert or remove the clip"
            )
        return width * height

    def _pixel_aspect(self) -> float:
        """Width over height of a pixel: the container's value, else the codec's, else 1."""
        return float(self._stream.sample_aspect_ratio or self._context.sample_aspect_ratio or 1)

    def _time_s(self, index: int) -> float:
        """Seconds from the first frame to the frame at this position."""
        tick, rate = self._stream.time_base, self._stream.average_rate
        if self.timeline.pts and tick:
            return float((self.timeline.pts[index] - self.timeline.pts[0]) * tick)
        return float(index / rate) if rate else 0.0


@contextmanager
def open_clip(path: Path, name: str | None = None) -> Iterator["AnyVideo"]:
    """Open a clip, an animated picture or a folder of frames, decoded in one thread.

    Args:
        name: the clip's name in error messages. [default: the file's name]

    Raises:
        ClipError: the file is not a video in one of `container.CONTAINERS` and `CODECS`, or has
            frames of more than `MAX_PIXELS` pixels. FFmpeg's errors while the clip is open become
            this one too: some are OSErrors and would be mistaken for an unwritable output.
        MemoryError: FFmpeg is refused memory.
        SourceUnreachable: an I/O error occurred; frames decoded before must be discarded.
    """
    name = path.name if name is None else name
    if path.is_dir():
        from dfdc_prep.video.animation import FrameFolder

        yield FrameFolder(path)
        return
    with closing(SourceFile(path)) as file:
        try:
            with closing(_opened(file, name)) as video:
                yield video
        except MemoryError:
            raise
        except av.FFmpegError as error:
            raise ClipError(f"expected to decode {name}, found: {_reason(error)}") from error
        finally:
            file.raise_for_error()


def _opened(file: SourceFile, name: str) -> AnyVideo:
    """Open a GIF or WebP, or a PNG with several pictures, as an animation; others as a video."""
    start = file.read_at(0, 4096)
    gif, webp = start.startswith(b"GIF8"), start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    try:
        if gif or webp or (start.startswith(b"\x89PNG") and b"acTL" in start):
            # Imported here because Pillow loads slowly, and few clips need it.
            from dfdc_prep.video.animation import Animation

            return Animation(file, name)
        return Video(file, name)
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError) as error:
        lacks = container.missing_end(file, MP4) if start[4:8] == b"ftyp" else None
        found = lacks or _reason(error)
        raise ClipError(f"expected a video in {name}, found none: {found}") from error


def _reason(error: Exception) -> str:
    """The message of the operating system or of FFmpeg, without the path."""
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]


def clip_length(path: Path) -> int | None:
    """Return how many frames a clip has; None if it cannot be opened.

    The header of an MP4 says it, without regard to frames that an edit list hides. The packets of
    other containers are counted. Raises SourceUnreachable at an I/O error.
    """
    if path.is_dir():
        return len(frame_names(path))
    with closing(SourceFile(path)) as file, ending_at_an_error():
        if file.read_at(4, 4) == b"ftyp":
            with suppress(ClipError, ValueError), open_container(file, path.name) as opened:
                if length := choose_stream(opened, path.name).frames:
                    return length
    with suppress(ClipError), open_clip(path) as clip:
        return clip.timeline.count
    return None
