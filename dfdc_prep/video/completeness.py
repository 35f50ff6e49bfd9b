"""Whether the file of a clip is as long as its container says.

A file that was cut off, or whose end was never filled, often decodes without an error as far as it
goes. Containers say how long their parts are: what a header promises is compared with the file.
Transport streams and program streams promise no more than whole packets.
"""

import struct
from collections.abc import Callable

from dfdc_prep.video.container import MP4
from dfdc_prep.video.source_file import SourceFile

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


def missing_end(file: SourceFile, container: str) -> str | None:
    """Describe what the end of a file lacks; None if nothing is known to be missing.

    Args:
        container: FFmpeg's name of it.
    """
    size = file.size
    promised = _PROMISES[container](file, size) if container in _PROMISES else None
    if promised is not None and promised > size:
        return f"the file ends after {size:,} of {promised:,} bytes"
    if size > _ZEROS and not any(file.read_at(size - _ZEROS, _ZEROS)):
        if container == MP4 and _last_box(file, size)[1] in _PADDING:
            return None
        return "the end of the file is empty"
    return None


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


def _mp4(file: SourceFile, size: int) -> int | None:
    return _last_box(file, size)[0]


def _matroska(file: SourceFile, size: int) -> int | None:
    """The end of the segment; None where its size is unknown, as in a live recording."""
    at = 0
    for wanted in (_EBML, _SEGMENT):
        header = file.read_at(at, 12)
        if int.from_bytes(header[:4], "big") != wanted or len(header) < 12:
            return None
        width = 9 - header[4].bit_length()  # RFC 8794, section 4
        if width > 8:
            return None
        value = int.from_bytes(header[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if value == (1 << 7 * width) - 1:
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
        if 0xBB <= (tail[at + 3] if at + 3 < len(tail) else 0) <= 0xEF and at + 6 <= len(tail):
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


_PROMISES: dict[str, Callable[[SourceFile, int], int | None]] = {
    MP4: _mp4,
    "matroska,webm": _matroska,
    "avi": _avi,
    "flv": _flv,
    "asf": _asf,
    "mpegts": _transport_stream,
    "mpeg": _program_stream,
    "ogg": _ogg,
}
