"""Reads what an H.264 packet tells of its picture without decoding it (ITU-T H.264, 7.3)."""

from collections.abc import Iterator
from dataclasses import dataclass

#: NAL unit types (table 7-1): pictures, those of them that refer to nothing before, messages.
_SLICES = frozenset({1, 2, 5})
_IDR, _SEI = 5, 6
#: The SEI payload that marks where decoding may start (table D.1).
_RECOVERY_POINT = 6


@dataclass(frozen=True)
class PictureKind:
    """What a packet's headers say of its picture.

    Attributes:
        reference: other pictures may refer to it. True where the packet tells nothing: nothing
            is lost by decoding it.
        entry: a decoder that starts here gets this and all pictures shown later exactly.
    """

    reference: bool
    entry: bool


def length_size(extradata: bytes | None) -> int | None:
    """Bytes that hold the length of each NAL unit, from an avcC record (ISO/IEC 14496-15).

    None for streams of the other form, which mark units by start codes.
    """
    if not extradata or len(extradata) < 7 or extradata[0] != 1:
        return None
    return (extradata[4] & 3) + 1


def picture_kind(packet: memoryview, length_size: int | None) -> PictureKind:
    """Whether a packet's picture is referred to, and whether decoding may start at it.

    It may at an IDR picture, and at one with a recovery point message of zero frames, as the
    I-frames of open GOPs have; not at the start of an intra refresh, which takes many frames
    to repair a picture and which containers call a keyframe all the same.
    """
    recovers = False
    for start, end in _units(packet, length_size):
        kind = packet[start] & 31
        if kind == _SEI:
            recovers |= _recovers_at_once(bytes(packet[start + 1 : end]))
        elif kind in _SLICES:
            return PictureKind(bool(packet[start] >> 5 & 3), recovers or kind == _IDR)
    return PictureKind(True, False)


def _units(packet: memoryview, length_size: int | None) -> Iterator[tuple[int, int]]:
    """First byte and end of each NAL unit."""
    if length_size is None:
        yield from _units_by_start_code(bytes(packet))
        return
    start = 0
    while start + length_size < len(packet):
        length = int.from_bytes(packet[start : start + length_size], "big")
        start += length_size
        yield start, min(start + length, len(packet))
        start += length


def _units_by_start_code(packet: bytes) -> Iterator[tuple[int, int]]:
    start = packet.find(b"\0\0\1") + 3
    while 3 <= start < len(packet):
        following = packet.find(b"\0\0\1", start)
        yield start, following if following >= 0 else len(packet)
        start = following + 3


def _recovers_at_once(message: bytes) -> bool:
    """Whether an SEI unit holds a recovery point of zero frames with an exact match (D.1.8)."""
    at = 0
    while at + 1 < len(message):
        kind, at = _summed(message, at)
        size, at = _summed(message, at)
        if kind == _RECOVERY_POINT:
            # ue(v) recovery_frame_cnt, 0 as the single bit 1; then exact_match_flag.
            return at < len(message) and message[at] >> 6 == 0b11
        at += size
    return False


def _summed(message: bytes, at: int) -> tuple[int, int]:
    """A number coded as bytes of 255 and a last one, and where it ends."""
    total = 0
    while at < len(message) and message[at] == 255:
        total, at = total + 255, at + 1
    return (total + message[at], at + 1) if at < len(message) else (total, at)
