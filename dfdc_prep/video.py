"""Opens a clip and yields the frames asked for, each exactly the picture the encoder meant.

A DFDC clip keeps two keyframes in 300 frames, so most wanted frames lie far from one and
everything they refer to has to be decoded. What can be left out without changing a single
pixel is left out: what no wanted frame refers to. In H.264 that is every frame marked as
non-reference, about half of a DFDC clip. (Leaving out all B-frames would save half again,
but x264 lets P-frames refer to B-frames: on the clips measured, all but the first few
pictures then come out smeared, 20 to 47 dB from the true ones.)
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import av
import av.logging
import cv2
import numpy as np
from numpy.typing import NDArray

from dfdc_prep.errors import ClipError
from dfdc_prep.h264 import is_reference, length_size
from dfdc_prep.timeline import Timeline

#: An image: height x width x 3, RGB, 0 to 255.
Image = NDArray[np.uint8]

#: A frame with more pixels than 8K is refused before it is decoded.
MAX_PIXELS = 7680 * 4320

#: Codecs whose decoder drops exactly the non-reference frames when told to, and which
#: carry parameter sets in their packets.
_H264 = frozenset({"h264"})
#: Containers that keep no presentation times: frames are counted as they come out.
_COUNTED_CONTAINERS = frozenset({"avi"})

av.logging.set_level(av.logging.PANIC)


class Picture(Protocol):
    """What a detector looks at: an image that can be had at several sizes."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def rgb(self, long_side: int | None = None) -> Image:
        """The image, scaled down to `long_side` pixels where it is larger."""
        ...


def scaled_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Width and height once the longer side is at most `long_side`; never larger than before."""
    longer = max(width, height)
    if long_side is None or longer <= long_side:
        return width, height
    scale = long_side / longer
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True)
class Still:
    """A picture that is already an array."""

    image: Image

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    def rgb(self, long_side: int | None = None) -> Image:
        size = scaled_size(self.width, self.height, long_side)
        if size == (self.width, self.height):
            return self.image
        return cv2.resize(self.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


@dataclass(frozen=True)
class Frame:
    """One decoded frame, upright. Converting to RGB waits until it is asked for.

    Attributes:
        index: position in presentation order, from zero.
        time_s: presentation time in seconds from the clip's first frame.
    """

    index: int
    time_s: float
    decoded: av.VideoFrame

    @property
    def _quarter_turns(self) -> int:
        """Counter-clockwise quarter turns that make the frame upright."""
        return round(self.decoded.rotation / 90) % 4

    @property
    def width(self) -> int:
        return self.decoded.height if self._quarter_turns % 2 else self.decoded.width

    @property
    def height(self) -> int:
        return self.decoded.width if self._quarter_turns % 2 else self.decoded.height

    def rgb(self, long_side: int | None = None) -> Image:
        """RGB uint8, height x width x 3; scaled by area in the step that converts it."""
        width, height = scaled_size(self.decoded.width, self.decoded.height, long_side)
        scaled = self.decoded.reformat(
            width=width, height=height, format="rgb24", interpolation="AREA"
        )
        image = scaled.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(np.rot90(image, self._quarter_turns))


class Video:
    """An open clip. Made by `open_clip`."""

    def __init__(self, container: av.container.InputContainer, path: Path) -> None:
        self._container = container
        self._path = path
        self._stream = container.streams.video[0]
        context = self._stream.codec_context
        if context is None:
            raise ClipError(f"expected a known codec in {path.name}, found none that decodes it")
        context.thread_type = "NONE"
        context.thread_count = 1
        if context.width * context.height > MAX_PIXELS:
            raise ClipError(
                f"expected frames of at most {MAX_PIXELS} pixels, found "
                f"{context.width}x{context.height} in {path.name}; convert it or leave it out"
            )
        self.timeline = self._read_timeline()
        self._prime()

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Decode the frames at these positions in presentation order, each once, in order.

        Fewer come out where the clip is damaged; what comes after the damage is not
        trusted. Whoever asks compares the count.
        """
        wanted = sorted({i for i in indices if 0 <= i < self.timeline.count})
        if self.timeline.pts:
            return self._by_time(wanted)
        return self._by_count(wanted)

    def _read_timeline(self) -> Timeline:
        context = self._stream.codec_context
        told = length_size(context.extradata) if context.name in _H264 else None
        packets: list[tuple[int | None, bool, bool]] = []
        with suppress(av.FFmpegError):  # cut off: what was read is the clip
            packets.extend(
                (
                    packet.pts,
                    packet.is_keyframe,
                    told is not None and is_reference(memoryview(packet), told),
                )
                for packet in self._container.demux(self._stream)
                if packet.size and not packet.is_discard
            )
        if not packets:
            raise ClipError(f"expected a video in {self._path.name}, found no frame")
        times = [pts for pts, _, _ in packets]
        counted = self._container.format.name in _COUNTED_CONTAINERS
        if counted or None in times or len(set(times)) < len(times):
            return Timeline(len(packets))
        order = sorted(packets)
        return Timeline(
            len(order),
            tuple(i for i, (_, key, _) in enumerate(order) if key),
            tuple(i for i, (_, _, reference) in enumerate(order) if reference),
            tuple(pts for pts, _, _ in order if pts is not None),
        )

    def _prime(self) -> None:
        """Show the decoder the parameter sets in the clip's first packet, decoding nothing.

        They can differ from those in the header; a decoder that starts at a later keyframe
        without them puts out wrong pixels (seen on FaceForensics++ clips).
        """
        context = self._stream.codec_context
        if context.name not in _H264:
            return
        context.skip_frame = "ALL"
        with suppress(av.FFmpegError):
            self._container.seek(0, stream=self._stream)
            context.decode(next(self._container.demux(self._stream), None))
        context.flush_buffers()
        context.skip_frame = "DEFAULT"

    def _by_time(self, wanted: list[int]) -> Iterator[Frame]:
        for keyframe, stretch in groupby(wanted, key=self._keyframe_before):
            yield from self._decode_stretch(keyframe, list(stretch))

    def _keyframe_before(self, index: int) -> int:
        place = bisect_right(self.timeline.keyframes, index)
        return self.timeline.keyframes[place - 1] if place else 0

    def _decode_stretch(self, keyframe: int, wanted: list[int]) -> Iterator[Frame]:
        """Decode from a keyframe to the last wanted frame and no further.

        A decoding error ends the stretch: what follows refers to what was lost. The next
        stretch starts anew at its own keyframe.
        """
        pts = self.timeline.pts
        missing = {pts[i]: i for i in wanted}
        context = self._stream.codec_context
        drops = context.name in _H264
        with suppress(av.FFmpegError):
            self._container.seek(pts[keyframe], stream=self._stream, backward=True)
            for packet in self._container.demux(self._stream):
                at_last = bool(packet.size) and packet.pts == pts[wanted[-1]]
                context.skip_frame = "NONREF" if drops and packet.pts not in missing else "DEFAULT"
                # None makes the decoder give out what it holds back for reordering.
                for sent in (packet, None) if at_last else (packet,):
                    for decoded in context.decode(sent):
                        if decoded.pts in missing and not decoded.is_corrupt:
                            yield self._frame(missing.pop(decoded.pts), decoded)
                if at_last or not missing:
                    return

    def _by_count(self, wanted: list[int]) -> Iterator[Frame]:
        last = wanted[-1] if wanted else -1
        with suppress(av.FFmpegError):
            self._container.seek(0, stream=self._stream)
            for index, decoded in enumerate(self._container.decode(self._stream)):
                if index > last or decoded.is_corrupt:
                    return
                if index in wanted:
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
    """
    try:
        # FFmpeg decodes a few frames of every stream to guess what the header already says;
        # told to skip them all it opens a clip in a sixth of the time.
        container = av.open(str(path), options={"skip_frame": "all"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ClipError(f"expected a video in {path.name}, found none: {_reason(error)}") from error
    with container:
        if not container.streams.video:
            raise ClipError(f"expected a video in {path.name}, found no video stream")
        try:
            yield Video(container, path)
        except av.FFmpegError as error:
            raise ClipError(f"expected to decode {path.name}, found: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The system's or FFmpeg's own words, without the path."""
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
