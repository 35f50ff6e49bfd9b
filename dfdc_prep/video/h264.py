"""Parses the headers of H.264 packets without decoding them (ITU-T H.264, section 7.3)."""

from collections.abc import Iterator
from typing import NamedTuple

#: NAL unit types (table 7-1): slices, slices of IDR pictures, supplemental enhancement
#: information (SEI).
_SLICES = frozenset({1, 2, 5})
_IDR, _SEI = 5, 6
#: SEI payload types of unregistered user data and of the recovery point message (table D.1).
_USER_DATA, _RECOVERY_POINT = 5, 6


class PictureHeader(NamedTuple):
    """Properties of a picture, from the headers of its packet."""

    # other pictures may refer to this one. True if the packet contains no slice, because decoding
    # an unneeded picture is harmless.
    reference: bool
    # a decoder that starts here outputs this picture and all that are displayed later exactly
    random_access: bool
    kind: str | None = None  # I, P or B, that of the first slice; None if it cannot be told


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
            first = packet[start + 1] if start + 1 < end else 0
            reference = bool(packet[start] >> 5 & 3)
            return PictureHeader(reference, recovery_point or kind == _IDR, _slice_type(first))
    return PictureHeader(True, False)


def encoder_text(packet: memoryview, length_size: int | None) -> str | None:
    """The text that an encoder such as x264 wrote before the first slice (D.1.7); None if none did.

    Args:
        packet, length_size: as for `parse_picture_header`.
    """
    for start, end in _nal_units(packet, length_size):
        kind = packet[start] & 31
        if kind in _SLICES:
            return None
        if kind == _SEI:
            # An emulation prevention byte follows two zeros (7.4.1.1).
            message = bytes(packet[start + 1 : end]).replace(b"\0\0\3", b"\0\0")
            for payload, at, size in _sei_messages(message):
                text = message[at + 16 : at + size].rstrip(b"\0")  # after 16 bytes of UUID
                if payload == _USER_DATA and text and text.isascii():
                    return text.decode("ascii")
    return None


def _slice_type(first: int) -> str | None:
    """I, P or B from the first byte of a slice that starts a picture (7.3.3, table 7-6).

    Its first bit is first_mb_in_slice, 0 as ue(v); slice_type as ue(v) fits into the others.
    """
    if not first & 128:
        return None
    zeros = 7 - (first & 127).bit_length()
    value = ((first & 127) >> (6 - 2 * zeros)) - 1 if zeros <= 3 else -1
    return "PBIPI"[value % 5] if 0 <= value <= 9 else None


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
    for kind, at, _ in _sei_messages(message):
        if kind == _RECOVERY_POINT:
            # recovery_frame_cnt as ue(v), where the single bit 1 means 0; then exact_match_flag.
            return at < len(message) and message[at] >> 6 == 0b11
    return False


def _sei_messages(unit: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the payload type of each message of an SEI unit, its offset and its size (7.3.2.3)."""
    at = 0
    while at + 1 < len(unit):
        kind, at = _read_ff_coded(unit, at)
        size, at = _read_ff_coded(unit, at)
        yield kind, at, size
        at += size


def _read_ff_coded(message: bytes, at: int) -> tuple[int, int]:
    """Read a number coded as 255-valued bytes and a last byte; return it and the next offset."""
    total = 0
    while at < len(message) and message[at] == 255:
        total, at = total + 255, at + 1
    return (total + message[at], at + 1) if at < len(message) else (total, at)
