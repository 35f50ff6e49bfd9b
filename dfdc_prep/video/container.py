"""The containers that FFmpeg is let open, their codecs and streams, and how long their files are.

FFmpeg reads some 350 containers and 300 codecs. Among them are playlists and session descriptions
that open other files and sockets, and decoders that nobody's clips need. Only those named here are
opened, and FFmpeg gets no protocol: it reads the file object that it is given, and nothing else.

A file that was cut off, or whose end was never filled, often decodes without an error as far as it
goes. Containers say how long their parts are: what a header promises is compared with the file.
Transport streams and program streams promise no more than whole packets.
"""

import shlex
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn, TypeAlias

import av
import av.error
from av.stream import Disposition

from dfdc_prep.errors import ClipError
from dfdc_prep.video.source_file import SourceFile

#: PyAV's classes are generic in its type stubs only.
Container: TypeAlias = "av.container.InputContainer"
VideoStream: TypeAlias = "av.VideoStream"

#: The decoders that are used, by FFmpeg's names.
CODECS = frozenset(
    {
        *("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "theora", "prores", "dnxhd", "dvvideo"),
        *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "mjpeg", "h263", "flv"),
        *("wmv1", "wmv2", "wmv3", "vc1", "ffv1", "huffyuv", "rawvideo"),
    }
)
#: What texts begin with that refer to other files or to the network.
_REFERENCES = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "a list of files",
    b"v=0": "a session description (SDP)",
    b"<": "XML",
    b"[Reference]": "a reference movie",
    b"RTSPtext": "a reference movie",
}
#: What other files begin with, to name them.
_OTHERS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b".RMF": "RealMedia",
    b"\x06\x0e\x2b\x34": "MXF",
    b"nut/multimedia": "NUT",
    b"YUV4MPEG2": "raw video (YUV4MPEG2)",
    b"ID3": "an MP3 file",
    b"fLaC": "a FLAC file",
}
_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails

#: The end of a file that was reserved and not written. Shorter runs of zeros are padding.
_ZEROS = 8192
#: Boxes at the top of an MP4 or MOV; bytes that start no box are ignored by players.
_BOXES = frozenset(
    {
        *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"meta"),
        *(b"uuid", b"sidx", b"mfra", b"pnot", b"pdin", b"emsg", b"udta", b"prft", b"ssix"),
    }
)
_PADDING = frozenset({b"free", b"skip", b"wide", b"uuid"})
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
#: ASF's file properties object (its GUID), the offsets of its file size and its flags.
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE, _ASF_FLAGS = 40, 88
#: The longest packet of a program stream, and page of an Ogg file, with its header.
_TAIL = 1 << 17


def _last_box(file: SourceFile, size: int) -> tuple[int, bytes]:
    """The end of the last box at the top of an MP4, and its type (ISO/IEC 14496-12, 4.2)."""
    at, last = 0, b""
    while at + 8 <= size:
        header = file.read_at(at, 16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind not in _BOXES:
            break
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # 0: up to the end of the file
            return size, kind
        at, last = at + length, kind
    return at, last


def _matroska(file: SourceFile, size: int) -> int | None:
    """The end of the segment; None where its size is unknown, as in a live recording."""
    at = 0
    for wanted in (_EBML, _SEGMENT):
        header = file.read_at(at, 12)
        if int.from_bytes(header[:4], "big") != wanted or len(header) < 12:
            return None
        width = 9 - header[4].bit_length()  # RFC 8794, section 4
        unknown = (1 << 7 * width) - 1
        value = int.from_bytes(header[4 : 4 + width], "big") & unknown
        if width > 8 or value == unknown:
            return None
        at += 4 + width + value
    return at


def _avi(file: SourceFile, size: int) -> int | None:
    """The end of the last RIFF list; the files of AVI 2.0 have several."""
    at = 0
    while at + 8 <= size:
        header = file.read_at(at, 8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != b"RIFF" or not length:
            break
        at += 8 + length
    return at


def _flv(file: SourceFile, size: int) -> int | None:
    """The size that the metadata give, or the end of the last tag."""
    start = file.read_at(0, 4096)
    found = start.find(b"filesize\0")
    if found >= 0 and len(start) >= found + 17:
        (value,) = struct.unpack(">d", start[found + 9 : found + 17])
        if size < value < 1 << 50:
            return int(value)
    at = int.from_bytes(start[5:9], "big") + 4
    while at + 11 <= size:
        at += 11 + int.from_bytes(file.read_at(at + 1, 3), "big") + 4
    return at


def _asf(file: SourceFile, size: int) -> int | None:
    """The size that the file properties give, unless it was broadcast."""
    start = file.read_at(0, 1 << 16)
    at = start.find(_FILE_PROPERTIES)
    if at < 0 or len(start) < at + _ASF_FLAGS + 4 or start[at + _ASF_FLAGS] & 1:
        return None
    return int.from_bytes(start[at + _ASF_SIZE : at + _ASF_SIZE + 8], "little")


def _transport_stream(file: SourceFile, size: int) -> int | None:
    """The end of the last packet."""
    start = file.read_at(0, 512)
    for length, sync in ((188, 0), (192, 4), (204, 0)):
        if start[sync : sync + 1] == start[sync + length : sync + length + 1] == b"G":
            return -(-size // length) * length
    return None


def _program_stream(file: SourceFile, size: int) -> int | None:
    """The end of the last packet (ISO/IEC 13818-1, 2.5): a start code, and two bytes of length."""
    offset = max(0, size - _TAIL)
    tail = file.read_at(offset, _TAIL)
    at = tail.rfind(b"\0\0\1")
    while at >= 0:
        if at + 6 <= len(tail) and 0xBB <= tail[at + 3] <= 0xEF:
            return offset + at + 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
        at = tail.rfind(b"\0\0\1", 0, at + 2)
    return None


def _ogg(file: SourceFile, size: int) -> int | None:
    """The end of the last page (RFC 3533, section 6)."""
    offset = max(0, size - _TAIL)
    tail = file.read_at(offset, _TAIL)
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return None
    segments = tail[at + 26]
    return offset + at + 27 + segments + sum(tail[at + 27 : at + 27 + segments])


class Format(NamedTuple):
    """A container that is read: what people call it, and how a file of it is read."""

    names: str
    # the size in bytes that a file of a size says it has; None if it does not
    promised: Callable[[SourceFile, int], int | None]
    seekable: bool = False  # it can be searched by time
    timed: bool = True  # it has presentation times; frames of others are counted while decoding


#: FFmpeg's name of MP4 and its relatives.
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
#: The containers that are read, by FFmpeg's names.
CONTAINERS = {
    MP4: Format("MP4, MOV, 3GP", lambda file, size: _last_box(file, size)[0], seekable=True),
    "matroska,webm": Format("Matroska, WebM", _matroska, seekable=True),
    "avi": Format("AVI", _avi, timed=False),
    "mpegts": Format("MPEG-TS", _transport_stream),
    "mpeg": Format("MPEG-PS", _program_stream),
    "flv": Format("FLV", _flv),
    "asf": Format("WMV", _asf),
    "ogg": Format("Ogg", _ogg),
}
_OPTIONS = {
    "format_whitelist": ",".join(CONTAINERS),
    "codec_whitelist": ",".join(sorted(CODECS)),
    "protocol_whitelist": "none",
    # By default, FFmpeg decodes a few frames of every stream to detect properties that the
    # header already contains. Skipping them makes opening a clip six times as fast.
    "skip_frame": "all",
}


def missing_end(file: SourceFile, container: str) -> str | None:
    """Describe what the end of a file lacks; None if nothing is known to be missing.

    Args:
        container: one of `CONTAINERS`.
    """
    size = file.size
    promised = CONTAINERS[container].promised(file, size)
    if promised is not None and promised > size:
        return f"the file ends after {size:,} of {promised:,} bytes"
    if size > _ZEROS and not any(file.read_at(size - _ZEROS, _ZEROS)):
        if container == MP4 and _last_box(file, size)[1] in _PADDING:
            return None
        return "the end of the file is empty"
    return None


def open_container(file: SourceFile, name: str) -> Container:
    """Open a file, from its start, as one of `CONTAINERS`.

    Args:
        name: the clip's name in error messages.

    Raises:
        ClipError: it is none of them, or damaged.
        av.FFmpegError, ValueError: FFmpeg cannot read it.
    """
    start = file.read_at(0, 16).lstrip()
    file.seek(0)
    try:
        # Titles and the like need not be valid text; no value of them is used.
        return av.open(file, "r", options=_OPTIONS, metadata_errors="replace", io_open=_refuse)
    except (av.error.ArgumentError, av.error.InvalidDataError) as error:
        kinds = _REFERENCES | _OTHERS
        magic = next((magic for magic in kinds if start.startswith(magic)), None)
        if magic is None and isinstance(error, av.error.InvalidDataError):
            raise
        found = kinds[magic] if magic else "another container, or a damaged one"
        advice = conversion(name)
        if magic in _REFERENCES:
            advice = "it may refer to other files, and is not opened"
        names = ", ".join(known.names for known in CONTAINERS.values())
        raise ClipError(f"expected {names} in {name}, found {found}; {advice}") from error


def _refuse(url: str, flags: int, options: dict[str, Any]) -> NoReturn:
    """Open nothing that a container refers to."""
    raise av.error.PermissionError(1, "refers to another file")


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
    moving = _moving(container, readable) if len(readable) > 1 else set()
    return min(
        readable,
        key=lambda s: (s.index not in moving, not s.disposition & Disposition.default, s.index),
    )


def _moving(container: Container, streams: list[VideoStream]) -> set[int]:
    """The indices of the streams that have more than one packet."""
    seen: set[int] = set()
    moving: set[int] = set()
    with ending_at_an_error():  # what was read before decides; reading frames finds the damage
        for packet in container.demux(streams):
            if packet.size:
                (moving if packet.stream.index in seen else seen).add(packet.stream.index)
            if len(moving) == len(streams):
                break
    return moving


def conversion(name: str) -> str:
    """How to convert a clip into one that is read, without loss."""
    name = name if name.isprintable() else "clip"
    return f"convert it: ffmpeg -i {shlex.quote(name)} -c:v libx264 -crf 0 converted.mp4"


@contextmanager
def ending_at_an_error() -> Iterator[None]:
    """End a block at an error of FFmpeg; a lack of memory is no fault of the clip."""
    try:
        yield
    except MemoryError:
        raise
    except av.FFmpegError:
        pass
