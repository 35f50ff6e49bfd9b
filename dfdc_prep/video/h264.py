"""Parses the headers of H.264 packets without decoding them (ITU-T H.264, section 7.3)."""

from collections.abc import Iterator
from typing import NamedTuple

#: NAL unit types (table 7-1): slices, slices of IDR pictures, supplemental enhancement
#: information (SEI).
_SLICES = frozenset({1, 2, 5})
_IDR, _SEI = 5, 6
#: SEI payload type of the recovery point message (table D.1).
_RECOVERY_POINT = 6


class PictureHeader(NamedTuple):
    """Properties of a picture, from the headers of its packet."""

    # other pictures may refer to this one. True if the packet contains no slice, because decoding
    # an unneeded picture is harmless.
    reference: bool
    # a decoder that starts here outputs this picture and all that are displayed later exactly
    random_access: bool


def nal_length_size(extradata: bytes | None) -> int | None:
    """Return the size in bytes of each NAL unit's length field (ISO/IEC 14496-15), 1 to 4.

    Args:
        extradata: the stream's codec configuration; an avcC record in MP4 and Matroska. In others
            start codes separate NAL units instead (Annex B), and None is returned.
    """
    if not extradata or len(extradata) < 7 or extradata[0] != 1:
        return None
    return (extradata[4] & 3) + 1


def parse_picture_header(packet: memoryview, length_size: int | None) -> PictureHeader:
    """Return whether a packet's picture is a reference and a random access point.

    Random access points are IDR pictures and pictures with a recovery point message of zero
    frames, such as the I-frames of open GOPs. The start of an intra refresh is not one, because
    the picture is complete only many frames later, although containers mark it as a keyframe.

    Args:
        packet: the bytes of the packet.
        length_size: the result of `nal_length_size`.
    """
    recovery_point = False
    for start, end in _nal_units(packet, length_size):
        kind = packet[start] & 31
        if kind == _SEI:
            recovery_point |= _is_recovery_point(bytes(packet[start + 1 : end]))
        elif kind in _SLICES:
            return PictureHeader(bool(packet[start] >> 5 & 3), recovery_point or kind == _IDR)
    return PictureHeader(True, False)


def _nal_units(packet: memoryview, length_size: int | None) -> Iterator[tuple[int, int]]:
    """Yield the start and end offset of each NAL unit."""
    if length_size is None:
        stream = bytes(packet)
        start = stream.find(b"\0\0\1") + 3
        while 3 <= start < len(stream):
            following = stream.find(b"\0\0\1", start)
            yield start, following if following >= 0 else len(stream)
            start = following + 3
        return
    start = 0
    while start + length_size < len(packet):
        length = int.from_bytes(packet[start : start + length_size], "big")
        start += length_size
        yield start, min(start + length, len(packet))
        start += length


def _is_recovery_point(message: bytes) -> bool:
    """Whether an SEI unit contains a recovery point of zero frames with exact match (D.1.8)."""
    at = 0
    while at + 1 < len(message):
        kind, at = _read_ff_coded(message, at)
        size, at = _read_ff_coded(message, at)
        if kind == _RECOVERY_POINT:
            # recovery_frame_cnt as ue(v), where the single bit 1 means 0; then exact_match_flag.
            return at < len(message) and message[at] >> 6 == 0b11
        at += size
    return False


def _read_ff_coded(message: bytes, at: int) -> tuple[int, int]:
    """Read a number coded as 255-valued bytes and a last byte; return it and the next offset."""
    total = 0
    while at < len(message) and message[at] == 255:
        total, at = total + 255, at + 1
    return (total + message[at], at + 1) if at < len(message) else (total, at)
