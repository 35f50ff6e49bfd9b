"""Opens containers for FFmpeg: which of them, which codecs, and which of the streams.

FFmpeg reads some 350 containers and 300 codecs. Among them are playlists and session descriptions
that open other files and sockets, and decoders that nobody's clips need. Only those named here are
opened, and FFmpeg gets no protocol: it reads the file object that it is given, and nothing else.
"""

import shlex
from typing import Any, NoReturn, TypeAlias

import av
import av.error
from av.stream import Disposition

from dfdc_prep.errors import ClipError
from dfdc_prep.video.source_file import SourceFile

#: FFmpeg's name of MP4 and its relatives.
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
#: The containers that are read, by FFmpeg's names, as people call them.
CONTAINERS = {
    MP4: "MP4, MOV, 3GP",
    "matroska,webm": "Matroska, WebM",
    "avi": "AVI",
    "mpegts": "MPEG-TS",
    "mpeg": "MPEG-PS",
    "flv": "FLV",
    "asf": "WMV",
    "ogg": "Ogg",
}

#: The decoders that are used, by FFmpeg's names.
CODECS = frozenset(
    {
        *("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "theora", "prores", "dnxhd", "dvvideo"),
        *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "mjpeg", "h263", "flv"),
        *("wmv1", "wmv2", "wmv3", "vc1", "ffv1", "huffyuv", "rawvideo"),
    }
)

#: What texts begin with that refer to other files or to the network.
_REFERENCES = (
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "a list of files"),
    (b"v=0", "a session description (SDP)"),
    (b"<", "XML"),
    (b"[Reference]", "a reference movie"),
    (b"RTSPtext", "a reference movie"),
)
#: What other files begin with, to name them.
_OTHERS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b".RMF", "RealMedia"),
    (b"\x06\x0e\x2b\x34", "MXF"),
    (b"nut/multimedia", "NUT"),
    (b"YUV4MPEG2", "raw video (YUV4MPEG2)"),
    (b"ID3", "an MP3 file"),
    (b"fLaC", "a FLAC file"),
)

#: PyAV's classes are generic in its type stubs only.
Container: TypeAlias = "av.container.InputContainer"
VideoStream: TypeAlias = "av.VideoStream"

_OPTIONS = {
    "format_whitelist": ",".join(CONTAINERS),
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "none",
    # By default, FFmpeg decodes a few frames of every stream to detect properties that the
    # header already contains. Skipping them makes opening a clip six times as fast.
    "skip_frame": "all",
}
_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


def open_container(file: SourceFile, name: str) -> Container:
    """Open a file, from its start, as one of `CONTAINERS`.

    Args:
        name: the clip's name in error messages.

    Raises:
        ClipError: it is none of them, or damaged.
        av.FFmpegError, ValueError: FFmpeg cannot read it.
    """
    start = file.read_at(0, 16)
    file.seek(0)
    try:
        # Titles and the like need not be valid text; no value of them is used.
        return av.open(file, "r", options=_OPTIONS, metadata_errors="replace", io_open=_refuse)
    except (av.error.ArgumentError, av.error.InvalidDataError) as error:
        refers = _named(start, _REFERENCES)
        found = refers or _named(start, _OTHERS)
        if found is None and isinstance(error, av.error.InvalidDataError):
            raise
        found = found or "another container, or a damaged one"
        advice = "it may refer to other files, and is not opened" if refers else conversion(name)
        raise ClipError(
            f"expected {', '.join(CONTAINERS.values())} in {name}, found {found}; {advice}"
        ) from error


def choose_stream(container: Container, name: str) -> VideoStream:
    """Return the video stream that a player plays.

    Covers and thumbnails are no video. Of several streams, those with a single picture, such as
    posters, come last, and the one that the container marks as the default comes first. Packets
    of the container are read if there are several.

    Raises:
        ClipError: there is no video, or none in one of `CODECS`.
    """
    streams = [s for s in container.streams.video if not s.disposition & _NO_VIDEO]
    if not streams:
        what = "a cover picture only" if container.streams.video else "no video stream"
        raise ClipError(f"expected a video in {name}, found {what}")
    readable = [s for s in streams if s.codec_context and s.codec_context.name in CODECS]
    if not readable:
        context = streams[0].codec_context
        codec = f"the codec {context.name}" if context else "a codec without a decoder"
        raise ClipError(
            f"expected a codec that is read in {name}, found {codec}; {conversion(name)}"
        )
    if len(readable) == 1:
        return readable[0]
    moving = _moving(container, readable)
    return min(
        readable,
        key=lambda s: (s.index not in moving, not s.disposition & Disposition.default, s.index),
    )


def conversion(name: str) -> str:
    """How to convert a clip into one that is read, without loss."""
    if not name.isprintable():
        name = "clip"
    return f"convert it: ffmpeg -i {shlex.quote(name)} -c:v libx264 -crf 0 converted.mp4"


def _moving(container: Container, streams: list[VideoStream]) -> set[int]:
    """The indices of the streams that have more than one packet."""
    seen: set[int] = set()
    moving: set[int] = set()
    try:
        for packet in container.demux(streams):
            if packet.size:
                (moving if packet.stream.index in seen else seen).add(packet.stream.index)
            if len(moving) == len(streams):
                break
    except MemoryError:
        raise
    except av.FFmpegError:
        pass  # what was read before decides; the damage is found again where frames are read
    return moving


def _refuse(url: str, flags: int, options: dict[str, Any]) -> NoReturn:
    """Open nothing that a container refers to."""
    raise av.error.PermissionError(1, "refers to another file")


def _named(start: bytes, known: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((text for magic, text in known if start.lstrip().startswith(magic)), None)
